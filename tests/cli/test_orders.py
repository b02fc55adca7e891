"""Orders and policies from the command line, as a careful person would go through them."""

import json
from pathlib import Path

from tests.cli.operator import Operator
from tests.people import APPROVERS, AUDITOR, AUTHORITY, COUNSEL, HEAD, OFFICER, edited, key_of, people, signers

CASE = ("--kind", "court-order", "--authority", "Supreme Court", "--docket", "16-cv-1")
WHY = ("--reason", "The program ends.", "--legal-basis", "Local law 35 of 2015")


def sign(operator: Operator, document: Path, *names: str) -> list[str]:
    """Each on a machine of their own, with a copy of the file."""
    signatures = []
    for name in names:
        folder = operator.folder / name
        folder.mkdir(exist_ok=True)
        copy = folder / document.name
        copy.write_bytes(document.read_bytes())
        done = operator.run("order", "sign", str(copy), "--key", str(key_of(name).path), SHREDVAULT_HOME="/nowhere")
        assert done.code == 0, done.err
        signatures.append(f"{copy}.sig")
    return signatures


def test_an_order_is_drafted_signed_checked_submitted_and_carried_out(operator: Operator) -> None:
    held, _, _ = operator.file(3)
    assert operator.run("hold", "place", held, *CASE).code == 0
    order = operator.folder / "order.json"
    hasty = operator.run("order", "draft", "scrub", *WHY, "--days", "1", "--out", str(order))
    assert (hasty.code, "before its cooling-off" in hasty.err) == (4, True), "nobody signs what cannot be carried out"
    drafted = operator.run("order", "draft", "scrub", *WHY, "--cooling-off", "0", "--out", str(order))
    assert drafted.code == 0, drafted.err
    assert "destroy 2 records for ever" in drafted.out
    assert "Not on the list: 1 held." in drafted.out
    assert operator.run("order", "draft", "scrub", *WHY, "--out", str(order)).code == 2, "no file is written over"

    two = sign(operator, order, *APPROVERS[:2])
    unsigned = operator.run("order", "check", str(order), *two)
    assert unsigned.code == 4
    assert "lacks records-authority" in unsigned.out
    assert operator.run("order", "submit", str(order), *two).code == 4
    every = [*two, *sign(operator, order, AUTHORITY)]
    assert operator.run("order", "check", str(order), *every, "--json").data["refusal"] is None
    assert operator.run("order", "list", "--json").data == []
    submitted = operator.run("order", "submit", str(order), *every, "--json")
    assert submitted.code == 0, submitted.err
    number = submitted.data["order"]
    assert operator.run("order", "submit", str(order), *every).code == 4

    assert operator.run("scrub", number, "--dry-run", "--json").data["dies"] == 2
    assert operator.run("destroy", number, "--yes").code == 4
    assert operator.run("scrub").code == 2
    done = operator.run("scrub", number, "--yes", "--json")
    assert (done.code, done.data["counts"]["records_destroyed"]) == (0, 2), done.err
    assert operator.run("scrub", number, "--yes").code == 4
    (line,) = operator.run("order", "list", "--json").data
    assert line["used_by"] == done.data["id"]
    shown = operator.run("order", "show", number).out
    assert all(name in shown for name in APPROVERS)
    assert operator.run("order", "withdraw", number, "--reason", "late").code == 4
    assert operator.run("order", "show", "nothing").code == 3


def test_named_records_are_destroyed_by_order(operator: Operator) -> None:
    mistake, other = operator.file(2)
    order = operator.folder / "order.json"
    words = (*WHY, "--cooling-off", "0", "--out", str(order))
    assert operator.run("order", "draft", "destroy", "nonsense", *words).code == 4
    drafted = operator.run("order", "draft", "destroy", mistake, "nonsense", *words, "--json")
    assert drafted.data["answers"] == {mistake: "ordered", "nonsense": "unknown"}
    signatures = sign(operator, order, OFFICER, HEAD, AUTHORITY)
    number = operator.run("order", "submit", str(order), *signatures, "--json").data["order"]
    assert operator.run("destroy", number, "--yes", "--json").data["counts"]["records_destroyed"] == 1
    assert operator.states() == {"destroyed": 1, "retained": 1}
    assert mistake != other


def test_a_policy_is_drafted_proposed_and_adopted(stranger: Operator) -> None:
    """From a vault without approvers: the people of the new policy sign it in."""
    assert stranger.run("init").code == 0
    stranger.file(1)
    changes, allowed, policy, order = (stranger.folder / name for name in ("with.json", "signers", "p.json", "o.json"))
    some = [one for one in people() if one.name != AUDITOR]
    allowed.write_text(signers(one.name for one in some))
    changes.write_text(json.dumps({"people": [one.encode() for one in some]}))
    warned = stranger.run(
        *("policy", "draft", "--out", f"{policy}.some", "--with", str(changes), "--allowed-signers", str(allowed))
    )
    assert (warned.code, warned.err.count("Warning:")) == (0, 1)
    assert "nobody could sign an order to clear-time; it lacks auditor" in warned.err
    allowed.write_text(signers())
    changes.write_text(json.dumps({"people": [one.encode() for one in people()], "retention_months": 12}))
    drafted = stranger.run(
        "policy", "draft", "--out", str(policy), "--with", str(changes), "--allowed-signers", str(allowed)
    )
    assert drafted.code == 0, drafted.err
    assert ("version 2" in drafted.out, "Warning" in drafted.err) == (True, False)
    assert stranger.run("policy", "check", str(policy)).code == 0
    proposed = stranger.run("policy", "propose", str(policy), *WHY, "--out", str(order))
    assert f"Then: shredvault policy adopt {policy} {order} SIGNATURE..." in proposed.out
    signatures = sign(stranger, order, *APPROVERS)
    assert stranger.run("policy", "adopt", str(policy), str(order), *signatures[:2]).code == 4
    assert stranger.run("policy", "adopt", str(policy), str(order), *signatures).code == 0
    assert stranger.run("policy", "adopt", str(policy), str(order), *signatures).code == 2
    shown = stranger.run("policy", "show", "--json").data
    assert (shown["policy"]["version"], shown["policy"]["retention_months"]) == (2, 12)
    assert [one["person"] for one in shown["approvals"]] == list(APPROVERS)
    assert stranger.run("sweep", "--json").data["counts"]["records_destroyed"] == 1


def test_documents_that_were_touched_are_refused(operator: Operator) -> None:
    operator.file(1)
    order = operator.folder / "order.json"
    operator.run("order", "draft", "scrub", *WHY, "--out", str(order))
    signatures = sign(operator, order, *APPROVERS)
    order.write_bytes(edited(order.read_bytes(), reason="Another reason."))
    assert operator.run("order", "submit", str(order), *signatures).code == 4
    order.write_bytes(order.read_bytes() + b"\n")
    assert operator.run("order", "check", str(order)).code == 4
    assert operator.run("order", "sign", str(order), "--key", "/nowhere").code == 2
    assert operator.run("order", "check", str(operator.folder / "nothing")).code == 2
    assert operator.states() == {"retained": 1}


def test_a_hold_is_released_by_an_order_that_is_drafted_here(operator: Operator) -> None:
    """H3: in words that a signer understands; what the hold does not have is refused before anybody signs."""
    one, two = operator.file(2)
    hold = operator.run("hold", "place", one, two, *CASE, "--tail-days", "9", "--json").data["hold"]
    order = operator.folder / "order.json"
    words = (hold, "--act", "Stipulation of 4 May 2017", *WHY, "--cooling-off", "0", "--out", str(order))
    settled = ("--tail-days", "0", "--tail-reason", "settled")
    assert operator.run("order", "draft", "release", *words, "--record", "0" * 26).code == 4
    assert operator.run("order", "draft", "release", *words, "--ends", "2030-01-01", *settled).code == 2
    assert not order.exists()

    drafted = operator.run("order", "draft", "release", *words, "--record", one, *settled)
    assert f"take out of hold {hold} these records: {one}; these rules: none. The rest goes on." in drafted.out
    assert "stays protected for 0 days more (settled). Releasing act: Stipulation of 4 May 2017." in drafted.out
    signatures = sign(operator, order, COUNSEL, OFFICER)
    assert "lacks agency-head or records-officer" in operator.run("order", "submit", str(order), signatures[0]).err
    submitted = operator.run("order", "submit", str(order), *signatures)
    assert submitted.code == 0, submitted.err
    (then,) = (line for line in submitted.out.splitlines() if line.startswith(f"Then: shredvault hold release {hold}"))
    done = operator.run(*then.split()[2:])
    assert done.code == 0, done.err
    assert operator.run("hold", "answer", one, two, "--json").data["answers"] == {one: "in the vault", two: "held"}
