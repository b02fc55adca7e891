"""Certificates say what was observed, exist once, and do not exist where an observation is missing."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from keystore import OpenTree, Rewrite, Tree, TreeChange
from tests.certificates.conftest import RECORDS, issue
from tests.recovery.test_rebuilding import close_catalogues, rebuilt
from tests.vault.databases import Databases
from tests.vault.holding import place_hold, release_hold
from tests.vault.world import World
from vault.catalogue import Transaction, keys
from vault.catalogue.destructions import update
from vault.certificates import (
    extract_ledger,
    issue_certificate,
    issue_missing,
    issuing,
    list_certificates,
    load_certificate,
)
from vault.certificates.verify_certificate import verify
from vault.context import Vault, note
from vault.destruction.frozen_lists import freeze_sweep
from vault.destruction.reclaim import reclaim
from vault.errors import CertificateRefusedError, DamagedError, NotFoundError, RuleBrokenError
from vault.ledger.publishing import bucket_objects, publish
from vault.ledger.verifying import verify_ledger
from vault.status import status_of
from vault.trees.keyring import grow

__all__ = ["close_catalogues"]


def certificates(world: World) -> list[Any]:
    with world.vault.catalogue.read() as tx:
        return list_certificates(tx)


def test_a_certificate_says_what_was_observed(quick_world: World) -> None:
    held = quick_world.file()
    place_hold(quick_world.vault, [held.id], "16-cv-1")
    content = issue(quick_world).certificate.content

    destroyed = quick_world.value("SELECT id FROM destructions WHERE kind = 'sweep'")
    masters = dict(quick_world.rows("SELECT name, destroyed_at IS NOT NULL FROM masters WHERE tree = 'active'"))
    assert content["id"] == destroyed
    assert content["counts"] == {
        "listed": RECORDS,
        "destroyed": RECORDS,
        "withdrawn": 0,
        "held_out": 1,
        "pending": 0,
        "failed": 0,
    }
    assert content["keys"]["new_epoch"] == content["keys"]["old_epoch"] + 1
    assert masters[content["keys"]["old_master"]]
    assert not masters[content["keys"]["new_master"]]
    assert content["verification"]["state_read_back"] == "absent"
    assert content["dates"]["filed"] == {"first": "2026-01-05", "last": "2026-01-05"}
    assert content["dates"]["due"] == {"first": "2028-01-06", "last": "2028-01-06"}
    assert content["overdue_days"] == 69
    assert content["times"]["sources"] == sorted(content["times"]["readings"]) == ["simulated source", "system clock"]
    condemned_at = datetime.fromisoformat(content["times"]["condemned_at"])
    read = [datetime.fromisoformat(at) for at in content["times"]["readings"].values()]
    assert all(timedelta(0) <= condemned_at - at < timedelta(seconds=5) for at in read)
    assert content["sanitization"]["media_property_number"] == content["keys"]["old_master"]
    assert [entry["event"] for entry in content["ledger"]["entries"]] == ["list frozen", "condemned", "completed"]
    assert "1 record held: a hold protects what it names." in content["not_destroyed"]
    assert {approver["person"] for approver in content["authority"]["approvers"]} == {
        "ada.head",
        "carl.counsel",
        "rita.authority",
    }
    record_ids = {record.id for record in quick_world.records}
    assert not any(record_id in json.dumps(content) for record_id in record_ids)


def test_a_certificate_is_issued_once_and_never_changes(quick_world: World) -> None:
    issued = issue(quick_world)
    quick_world.advance(days=1)
    assert issue_certificate(quick_world.vault, issued.certificate.id) == issued.certificate
    assert load_certificate(quick_world.vault, issued.certificate.id) == issued.certificate
    assert certificates(quick_world) == [issued.certificate]
    assert quick_world.value("SELECT COUNT(*) FROM journal WHERE event = 'certificate issued'") == 1
    for statement in ("DELETE FROM certificates", "UPDATE certificates SET issued_at = 0"):
        with pytest.raises(RuleBrokenError):
            quick_world.run(statement)


def test_no_checkpoint_is_signed_over_what_the_bucket_does_not_have(
    quick_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the loss of the catalogue would make a liar of the vault: two histories, both signed."""
    vault = quick_world.vault
    signed: list[str] = []

    def said() -> None:
        with vault.catalogue.write() as tx:
            note(tx, quick_world.clock.now(), "tested", "not in the bucket yet")

    def require_kept() -> None:
        keys = [vault.signing.verifier]
        assert verify_ledger(bucket_objects(vault.bucket), vault.vault_id, keys, signed).kept == len(signed)

    quick_world.file()
    quick_world.advance(days=800)
    done = quick_world.sweep()
    said()
    with monkeypatch.context() as patch:
        # The bucket takes nothing any more once the certificate is in the catalogue.
        patch.setattr(issuing, "publish", lambda vault: publish(vault) if not certificates(quick_world) else None)
        issued = issue_certificate(vault, done.id)
    signed.append(issued.content["ledger"]["checkpoint"])
    require_kept()
    said()
    signed.append(json.loads(extract_ledger(vault, done.id))["checkpoint"])
    require_kept()


def test_there_is_one_for_zero_records_too(quick_world: World) -> None:
    content = issue_certificate(quick_world.vault, quick_world.sweep().id).content
    assert content["counts"]["listed"] == content["counts"]["destroyed"] == 0
    assert content["keys"] is content["verification"] is content["dates"] is None
    assert content["sanitization"]["sanitization_technique"].startswith("none")


def test_of_few_records_no_dates_are_told(quick_world: World) -> None:
    quick_world.file()
    quick_world.advance(days=800)
    content = issue_certificate(quick_world.vault, quick_world.sweep().id).content
    assert content["counts"]["destroyed"] == 1
    assert content["dates"] is content["overdue_days"] is content["deadline"] is None


def test_without_an_observation_there_is_no_certificate(quick_world: World) -> None:
    quick_world.file()
    quick_world.advance(days=800)
    done = quick_world.sweep()
    for missing, named in (
        ("old_master", "that the custodian has the old master no more"),
        ("graph", "that every survivor has its key"),
        ("assurance", "what the custodian's word is worth"),
        ("nodes_confirmed", "which processes there were"),
        ("time_sources", "what the clocks said"),
    ):
        with quick_world.vault.catalogue.write() as tx:
            update(tx, done.id, observed={name: seen for name, seen in done.observed.items() if name != missing})
        with pytest.raises(CertificateRefusedError, match=named):
            issue_certificate(quick_world.vault, done.id)
    assert issue_missing(quick_world.vault) == [done.id]
    assert certificates(quick_world) == []


def test_after_reclaiming_it_is_too_late_for_a_certificate(quick_world: World) -> None:
    quick_world.file()
    quick_world.advance(days=800)
    done = quick_world.sweep()
    reclaim(quick_world.vault)
    with pytest.raises(CertificateRefusedError, match="before their dates were read"):
        issue_certificate(quick_world.vault, done.id)


def test_what_destroys_no_record_has_no_certificate(quick_world: World) -> None:
    record = quick_world.file()
    hold = place_hold(quick_world.vault, [record.id], "16-cv-1").hold_id
    released = release_hold(quick_world.vault, hold, "counsel")
    with pytest.raises(CertificateRefusedError, match="destroys no record"):
        issue_certificate(quick_world.vault, released.id)
    with pytest.raises(NotFoundError):
        issue_certificate(quick_world.vault, "nothing")
    with pytest.raises(NotFoundError):
        extract_ledger(quick_world.vault, released.id)
    assert issue_missing(quick_world.vault) == []


def test_what_is_not_complete_has_no_certificate(quick_world: World) -> None:
    """The schema refuses it even to somebody who gets past the check."""
    destruction = freeze_sweep(quick_world.vault)
    with pytest.raises(CertificateRefusedError, match="that the destruction is complete"):
        issue_certificate(quick_world.vault, destruction)
    with pytest.raises(RuleBrokenError):
        quick_world.run(f"INSERT INTO certificates VALUES ('{destruction}', 'x', 0)")


def test_a_missed_deadline_is_told_with_every_hold_that_is_why(quick_world: World) -> None:
    """One that ended before the deadline, one over it, one that began after it, and one on another record."""
    vault = quick_world.vault
    held, other = [quick_world.file().id for _ in range(RECORDS)], quick_world.file().id
    early, over = (place_hold(vault, held, docket).hold_id for docket in ("16-cv-1", "16-cv-2"))
    elsewhere = place_hold(vault, [other], "16-cv-3").hold_id
    release_hold(vault, early)
    quick_world.advance(days=900)
    later = place_hold(vault, held, "16-cv-4").hold_id
    release_hold(vault, over)
    quick_world.advance(days=30)
    release_hold(vault, later)
    content = issue_certificate(vault, quick_world.sweep().id).content
    deadline = content["deadline"]
    assert (deadline["last_day"], deadline["met"]) == ("2028-03-31", False)
    assert all(f"hold {hold}, released" in deadline["why"] for hold in (over, later))
    assert not any(hold in deadline["why"] for hold in (early, elsewhere))


def test_a_record_whose_key_is_missing_is_failed_and_never_destroyed(quick_world: World) -> None:
    """Approved and not executed is an alarm; the certificate counts it, and certifies nothing about it."""
    vault = quick_world.vault
    lost, *_ = [quick_world.file() for _ in range(RECORDS)]
    lose_key(vault, *quick_world.place(lost))
    quick_world.advance(days=800)
    done = quick_world.sweep()
    assert (done.listed, done.condemned, done.observed["not_executed"]) == (RECORDS, RECORDS - 1, 1)
    assert quick_world.value("SELECT facts FROM journal WHERE event = 'approved and not executed'")
    assert status_of(vault).not_executed == 1
    certificate = issue_certificate(vault, done.id)
    counts = certificate.content["counts"]
    assert (counts["destroyed"], counts["withdrawn"], counts["failed"]) == (RECORDS - 1, 0, 1)
    assert "1 record was on the list and not destroyed" in certificate.content["not_destroyed"][0]
    found = verify(certificate.document, f"{vault.signing.verifier}\n".encode(), extract_ledger(vault, done.id))
    assert any(sentence.startswith("FAILED: the keys of 1 on the list") for sentence in found)
    assert quick_world.value(f"SELECT state FROM record_states WHERE id = '{lost.id}'") == "retained"
    with pytest.raises(DamagedError):
        quick_world.assert_readable(lost)
    # The next night finds it again, counts it once, and destroys nothing else.
    again = quick_world.sweep()
    assert (again.listed, again.condemned, again.observed["not_executed"]) == (1, 0, 1)
    assert status_of(vault).not_executed == 1
    assert issue_certificate(vault, again.id).content["counts"]["failed"] == 1


def lose_key(vault: Vault, cohort: int, slot: int) -> None:
    """A fault by which a record loses its key and nothing says so."""

    def forgetful(tx: Transaction, _: OpenTree) -> TreeChange:
        live = int.from_bytes(keys.live_bitmaps(tx, Tree.ACTIVE, [cohort])[cohort], "little")
        return TreeChange(rewritten={cohort: Rewrite((live & ~(1 << slot)).to_bytes(128, "little"))})

    grow(vault, Tree.ACTIVE, forgetful, lambda _: None)


def test_a_rebuilt_catalogue_has_the_certificates_byte_for_byte(quick_world: World, databases: Databases) -> None:
    issued = issue(quick_world)
    world, _ = rebuilt(quick_world, databases)
    assert certificates(world) == [issued.certificate]


def test_a_destruction_that_a_rebuild_took_over_has_none(quick_world: World, databases: Databases) -> None:
    """What the lost catalogue had observed is not known any more."""
    quick_world.file()
    quick_world.advance(days=800)
    done = quick_world.sweep()
    world, _ = rebuilt(quick_world, databases)
    assert issue_missing(world.vault) == [done.id]
