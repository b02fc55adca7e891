"""`shredvault time` and `shredvault sunset`, as far as they go without people who sign (T5, S1)."""

import sqlalchemy as sa

from tests.cli.operator import Operator
from vault.catalogue.law import time_marks
from vault.home import open_vault


def test_clocks_that_agree_and_a_program_without_end(operator: Operator) -> None:
    shown = operator.run("time", "show", "--json")
    assert (shown.code, shown.data["suspect_since"], shown.data["filed_meanwhile"]) == (0, None, 0)
    assert "trusted" in operator.run("time", "show").out
    reasons = ("--reason", "Checked.", "--legal-basis", "Schedule 12")
    assert operator.run("time", "order", *reasons).code == 3
    assert operator.run("time", "clear", "0" * 26).code == 3
    assert "no sunset" in operator.run("sunset", "status").out
    assert operator.run("sunset", "status", "--json").data == {"deadline": None, "attention": []}
    assert operator.run("sunset", "decide", "destroy", *reasons).code == 3


def test_what_would_be_destroyed_in_suspect_time_is_said_to_be_refused(operator: Operator) -> None:
    operator.file(1)
    with open_vault(operator.home) as vault, vault.catalogue.write() as tx:
        tx.execute(sa.update(time_marks).values(suspect_since=vault.clock.now(), why="Time jumped forward by 2 hours."))
    foretold = {"sweep": "destroy 1 record and keep 0,", "scrub": "destroy at most 1 record and keep 0 or more,"}
    for word, said in foretold.items():
        foreseen = operator.run(word, "--dry-run")
        assert (foreseen.code, f"{said} if it were not refused." in foreseen.out) == (0, True)
        assert "suspect" in foreseen.err
    assert operator.run("sweep").code == 4
    assert operator.states() == {"retained": 1}
