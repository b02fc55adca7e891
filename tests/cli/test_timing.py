"""`shredvault time` and `shredvault sunset`, as far as they go without people who sign (T5, S1)."""

from tests.cli.operator import Operator


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
