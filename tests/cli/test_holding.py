import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tests.cli.operator import Operator
from tests.vault.holding import adopt, release_order
from vault.home import open_vault

UNKNOWN = "0" * 26
GROUND = ("--kind", "court-order", "--authority", "Supreme Court")
CASE = (*GROUND, "--docket", "16-cv-1")


def today() -> str:
    return datetime.now(ZoneInfo("America/New_York")).date().isoformat()


def test_every_id_is_answered_and_the_code_says_whether_all_are_held(operator: Operator) -> None:
    gone = operator.file(1)[0]
    destruction = operator.run("sweep", "--json").data["id"]
    one, two = operator.file(2, ago=timedelta(days=1))

    partly = operator.run("hold", "place", one, UNKNOWN, gone, *CASE, "--json")

    assert partly.code == 12
    assert partly.data["answers"] == {one: "held", UNKNOWN: "unknown", gone: f"destroyed on {today()} by {destruction}"}
    listed = "# the second one\n\n" + two + "  # Queens\n"
    added = operator.run("hold", "place", *CASE, "--file", "-", typed=listed)
    assert added.code == 0
    assert partly.data["hold"] in added.out
    (hold,) = operator.run("hold", "list", "--json").data
    assert (hold["kind"], hold["authority"], hold["state"]) == ("court-order", "Supreme Court", "in force")
    assert (hold["docket"], hold["records"]) == ("16-cv-1", 2)


def test_when_nothing_can_be_held_there_is_no_hold_and_all_is_answered(operator: Operator) -> None:
    nothing = operator.run("hold", "place", UNKNOWN, "x y", *CASE)
    assert nothing.code == 3
    assert nothing.out.count("unknown") == 2
    assert operator.run("hold", "list", "--all", "--json").data == []


def test_what_cannot_be_meant_is_refused(operator: Operator) -> None:
    assert operator.run("hold", "place", *CASE).code == 2
    assert operator.run("hold", "place", *CASE, "--file", "/nowhere").code == 2
    assert operator.run("hold", "place", UNKNOWN, *GROUND, "--docket", "People against Doe").code == 4
    assert operator.run("hold", "place", *CASE, "--program", "--filed-from", "2015-01-01").code == 4
    assert operator.run("hold", "place", *CASE, "--program", "--review", "soon").code == 2
    assert operator.run("hold", "place", *CASE, "--center", "Atlantis").code == 4
    assert operator.run("hold", "release", UNKNOWN, "--order", UNKNOWN).code == 3
    assert operator.run("hold", "list", "--all", "--json").data == []


def staff(operator: Operator) -> None:
    """Put a policy in force in which the people of these tests stand, with a key of counsel's."""
    seal = operator.run("hold", "keygen", "--out", str(operator.folder / "counsel.key")).out.strip()
    with open_vault(operator.home) as vault:
        adopt(vault, counsel_seal=seal)


def test_a_hold_on_the_program_protects_until_an_order_of_two_people_is_carried_out(operator: Operator) -> None:
    """H2, H3, H6: one command places it; its release takes an order; what is overdue is on the next list."""
    staff(operator)
    gone = operator.file(2)[0]
    placed = operator.run("hold", "place", "--program", *CASE, "--json").data
    assert (placed["protects"], placed["answers"]) == (2, {})
    assert operator.run("sweep", "--json").data["counts"]["records_destroyed"] == 0
    assert operator.run("hold", "extend", placed["hold"], "--review", today()).code == 0
    assert operator.run("status", "--check").code == 11
    shown = operator.run("hold", "show", placed["hold"])
    assert (shown.code, "the whole program" in shown.out, "review due" in shown.out) == (0, True, True)
    assert re.search(r"^  tail days +365$", shown.out, re.MULTILINE)
    assert re.search(r"^  entered at +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$", shown.out, re.MULTILINE)

    draft = [*("order", "draft", "release", placed["hold"], "--act", "Stipulation", "--reason", "It is settled.")]
    draft += ["--legal-basis", "stipulation", "--stay", "Stay of the Appellate Division"]
    draft += ["--out", str(operator.folder / "release.json")]
    assert operator.run(*draft).code == 2
    drafted = operator.run(*draft, "--stay-until", today(), "--json").data
    assert drafted["scope"]["stay"] == {"what": "Stay of the Appellate Division", "until": today()}
    with open_vault(operator.home) as vault:
        order = release_order(vault, placed["hold"], {"do": "release", "tail_days": 0, "tail_reason": "settled"})
    release = operator.run("hold", "release", placed["hold"], "--order", order.id, "--json")
    assert (release.code, [one["kind"] for one in release.data["destructions"]]) == (0, ["release"])
    assert operator.states() == {"retained": 2}
    assert operator.run("hold", "list", "--json").data == []
    assert len(operator.run("hold", "list", "--all", "--json").data) == 1
    assert operator.run("sweep", "--json").data["counts"]["records_destroyed"] == 2
    # A hold that comes now is too late; that is said until somebody has answered that counsel knows.
    assert operator.run("hold", "place", gone, *CASE).code == 3
    said = operator.run("status").err
    assert "came too late for 1 record that" in said
    number = said.partition("shredvault hold acknowledge ")[2].partition("`")[0]
    for code in (0, 3):
        assert operator.run("hold", "acknowledge", number, "--by", "Carl Iverson, counsel").code == code
    assert "too late" not in operator.run("status").err


def test_a_sealed_hold_is_in_no_list_but_for_whoever_has_counsels_key(operator: Operator) -> None:
    """H11: authority, docket and reason are nowhere; the records are only not eligible."""
    staff(operator)
    due = operator.file(1)[0]
    foreseen = [operator.run("scrub", "--dry-run", *words) for words in ((), ("--json",))]
    assert "would destroy at most 1 record and keep 0 or more" in foreseen[0].out
    hold = operator.run("hold", "place", due, *CASE, "--sealed", "--reason", "grand jury", "--json").data["hold"]
    # No death of what it protects is promised, in the same words as without it; it counts as what is not due does.
    assert [operator.run("scrub", "--dry-run", *words) for words in ((), ("--json",))] == foreseen
    nothing_due = {"cause": "sweep", "at_most": False, "dies": 0, "lives": 1}
    nothing_due |= {"would_die": {}, "would_live": {"not eligible": 1}}
    assert operator.run("sweep", "--dry-run", "--json").data == nothing_due
    assert operator.run("sweep", "--json").data["counts"] == {
        "listed": 0,
        "withdrawn": 0,
        "records_destroyed": 0,
        "held_key_copies_destroyed": 0,
        "not_listed": {},
    }
    assert operator.run("hold", "list", "--json").data == []
    assert operator.run("hold", "show", hold).code == 3
    assert operator.run("hold", "answer", due, "--json").data["answers"] == {due: "in the vault"}
    for words in (("status",), ("hold", "list", "--all"), ("sweep", "--dry-run")):
        seen = operator.run(*words)
        assert not any(told in seen.out + seen.err for told in ("16-cv-1", "Supreme", "grand jury", "1 hold", hold))
    key = operator.folder / "counsel.key"
    (line,) = operator.run("hold", "list", "--key", str(key), "--json").data
    assert (line["id"], line["docket"], line["reason"]) == (hold, "16-cv-1", "grand jury")
    assert operator.run("hold", "keygen", "--out", str(key)).code == 2
    operator.run("hold", "keygen", "--out", str(operator.folder / "other.key"))
    assert operator.run("hold", "list", "--key", str(operator.folder / "other.key")).code == 4
