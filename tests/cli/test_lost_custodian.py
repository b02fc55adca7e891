"""The key folder is out of reach: nothing is changed, nothing is made anew, and the advice is not to rebuild."""

from datetime import timedelta
from pathlib import Path

import pytest

from keystore import MasterGoneError
from tests.cli.operator import Operator
from tests.people import written_policy

UNAVAILABLE, INCIDENT = 6, 10


def test_nothing_is_changed_while_the_key_folder_is_away(operator: Operator) -> None:
    due = operator.file(1)[0]
    keys, away = operator.folder / "keys", operator.folder / "keys.away"
    keys.rename(away)
    for words in (
        ("sweep",), ("recover",), ("rebuild",), ("custodian", "renew"), ("custodian", "allow", f"file:{keys}"),
        ("init", *written_policy(operator.folder)),
    ):  # fmt: skip
        refused = operator.run(*words)
        assert refused.code == UNAVAILABLE, (words, refused)
        assert "rebuild" not in refused.err
        assert not keys.exists(), words
    assert "not there" in operator.run("sweep").err
    looked = operator.run("status", "--check")
    assert (looked.code, "is out of reach: nothing can be filed" in looked.err) == (11, True), looked

    # A hold never waits for the custodian (H2).
    placed = operator.run("hold", "place", due, "--kind", "audit", "--authority", "Comptroller", "--docket", "A-1")
    assert (placed.code, "in force" in placed.err) == (0, True), placed
    # Another, empty folder in its place: the custodian answers, and has no master.
    keys.mkdir(mode=0o700)
    for words in (("sweep",), ("recover",)):
        refused = operator.run(*words)
        assert (refused.code, "No `rebuild` brings" in refused.err) == (INCIDENT, True), refused
    assert operator.run("rebuild").code == INCIDENT
    assert operator.run("hold", "place", "--program", "--kind", "audit", "--authority", "C", "--docket", "1").code == 0
    assert list(keys.iterdir()) == []
    keys.rmdir()

    away.rename(keys)
    seen = operator.run("status", "--json").data
    assert (seen["unfinished_destructions"], seen["records"]) == ([], {"retained": 1})
    recovered = operator.run("recover", "--json").data
    assert (recovered["undone"], recovered["held_keys_copied"]) == ([], True)
    assert operator.run("sweep", "--json").data["counts"]["not_listed"] == {"held": 1}


def test_a_split_that_lost_a_member_is_an_incident_and_goes_on_without_its_records(stranger: Operator) -> None:
    members = [Path(stranger.folder / name) for name in ("stick", "disk")]
    assert stranger.run("init", "--custodian", f"split:file:{members[0]},file:{members[1]}").code == 0
    stranger.file(1, ago=timedelta(days=1))
    assert stranger.run("status", "--check").code == 0
    (master,) = members[0].glob("active-*.master")
    master.unlink()

    checked = stranger.run("status", "--check")
    assert checked.code == INCIDENT
    assert "A MASTER KEY IN USE IS MISSING at split:" in checked.err
    told = f"is gone at file:{members[0]}, and nothing under it can be read any more. It is still at file:{members[1]}"
    assert told in checked.err
    assert "(master key missing)" in checked.out
    shown = stranger.run("custodian", "show")
    assert (shown.code, told in shown.err) == (INCIDENT, True)
    for words in (("sweep",), ("recover",), ("custodian", "move", f"file:{stranger.folder}/other")):
        refused = stranger.run(*words)
        assert (refused.code, "`shredvault custodian show`" in refused.err) == (INCIDENT, True), refused
    with pytest.raises(MasterGoneError, match="is gone at"):
        stranger.file(1)
    assert stranger.run("certificate", "list", "--json").data["certificates"] == []

    # Nobody brings it back: the vault goes on without the records, and the other member's share dies too.
    assert stranger.run("rebuild", "--json").code == INCIDENT
    rebuilt = stranger.run("rebuild", "--leave-lost", "--json")
    assert (rebuilt.code, rebuilt.data["records"], len(rebuilt.data["lost"])) == (0, 0, 1), rebuilt
    assert stranger.run("recover").code == 0
    assert not (members[1] / master.name).exists()
    assert stranger.run("status", "--check").code == 0
