"""`shredvault rebuild` and `shredvault custodian`, as an operator meets them."""

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.cli.operator import Operator
from tests.services.object_stores import ACCESS_KEY, SECRET_KEY
from vault.destruction import carrying_out as destruction
from vault.destruction.carrying_out import carry_out
from vault.destruction.frozen_lists import freeze_sweep
from vault.errors import CustodianUnavailableError
from vault.home import Home, open_vault
from vault.host.processes import Process
from vault.ids import RecordId, new_id
from vault.ledger.publishing import PREFIX as LEDGER
from vault.log import SigningKey
from vault.log.signing import origin_of
from vault.log.stored import size_of
from vault.objects import Bucket, BucketSettings
from vault.records.manifests import manifest_name
from vault.serving.servings import begin_serving


def test_a_lost_catalogue_is_rebuilt(operator: Operator) -> None:
    (living,) = operator.file(1, ago=timedelta(days=1))
    for left in operator.home.glob("catalogue.db*"):
        left.unlink()
    done = operator.run("rebuild", "--json")
    assert done.code == 0, done.err
    assert "was not cut off" in done.err
    assert (done.data["records"], done.data["lost"], done.data["tokens"]) == (1, [], 0)
    assert done.data["masters_discarded"] >= 2
    status = operator.run("status", "--json")
    assert status.data["records"] == {"retained": 1}
    assert operator.run("hold", "place", living, "--kind", "audit", "--authority", "A", "--docket", "16-cv-1").code == 0
    assert operator.run("scrub", operator.order_scrub(), "--yes", "--json").data["counts"]["records_destroyed"] == 0


def test_a_restored_backup_is_refused_and_then_brought_forward(operator: Operator) -> None:
    operator.file(1)
    backup = backed_up(operator)
    assert operator.run("sweep", "--json").data["counts"]["records_destroyed"] == 1
    restore(operator, backup)
    refused = operator.run("sweep")
    assert refused.code != 0
    assert "restored from a backup" in refused.err
    looked = operator.run("status", "--check")
    assert (looked.code, "restored from a backup" in looked.err, "MISSING" in looked.err) == (11, True, False), looked
    done = operator.run("rebuild", "--json")
    assert done.code == 0, done.err
    assert done.data["records"] == 0
    assert done.data["tokens"] >= 1
    assert list(operator.home.glob("catalogue.db.before-*"))
    assert operator.run("recover").out == "1 destruction looked through: no sealed byte was left.\n"
    assert operator.run("recover").out == "Nothing was cut off; there was nothing to do.\n"
    assert operator.run("status", "--json").data["records"].get("retained", 0) == 0


def test_with_home_key_and_catalogue_lost_a_person_must_say_whose_ledger_it_is(operator: Operator) -> None:
    """Who writes in the bucket can sign a ledger with a key of his own, or cut one off."""
    (held,) = operator.file(1)
    key = operator.run("ledger", "key").out.strip()
    ground = ("--kind", "audit", "--authority", "Comptroller", "--docket", "16-cv-1")
    assert operator.run("hold", "place", held, *ground).code == 0
    kept = operator.folder / "kept.txt"
    kept.write_text(operator.run("ledger", "checkpoint").out)
    vault_id = key.partition("+")[0].partition("/")[2]
    strangers, anothers = (
        str(SigningKey(origin_of(bytes.fromhex(vault)), Ed25519PrivateKey.generate()).verifier)
        for vault in (vault_id, vault_id[::-1])
    )
    with open_vault(operator.home) as vault:
        names = sorted(vault.bucket.names(LEDGER))
        last = {name: vault.bucket.get(name, limit=10**6) for name in names[-1:]}
    for left in operator.home.glob("catalogue.db*"):
        left.unlink()
    (operator.home / "signing.json").unlink()
    masters = {path: path.read_bytes() for path in (operator.folder / "keys").iterdir()}

    refused = operator.run("rebuild")
    assert (refused.code, "--ledger-key" in refused.err) == (4, True), refused
    for lie, code in ((strangers, 10), (anothers, 2), ("shredvault", 2)):
        refused = operator.run("rebuild", "--ledger-key", lie)
        assert refused.code == code, refused
    with objects_of(operator) as bucket:
        bucket.delete_every_version(set(last))
    refused = operator.run("rebuild", "--ledger-key", key, "--checkpoint", str(kept))
    assert (refused.code, "was cut off" in refused.err) == (10, True), refused
    assert {path: path.read_bytes() for path in (operator.folder / "keys").iterdir()} == masters
    assert not (operator.home / "signing.json").exists()
    with objects_of(operator) as bucket:
        for name, blob in last.items():
            bucket.put(name, blob)
    done = operator.run("rebuild", "--ledger-key", key, "--checkpoint", str(kept), "--json")
    assert (done.code, done.data["records"], done.data["held"]) == (0, 1, 1), done
    assert "cut off" not in done.err
    assert operator.run("ledger", "verify", "--checkpoint", str(kept)).code == 0
    assert operator.run("sweep", "--json").data["counts"]["records_destroyed"] == 0


def test_a_host_that_kept_the_old_signing_key_writes_nothing(operator: Operator) -> None:
    """Nobody would believe its entries: two people's decision to preserve, taken in there, would be passed over."""
    (record,) = operator.file(1)
    key, signing = operator.run("ledger", "key").out.strip(), operator.home / "signing.json"
    old = signing.read_bytes()
    for lost in (*operator.home.glob("catalogue.db*"), signing):
        lost.unlink()
    assert operator.run("rebuild", "--ledger-key", key).code == 0
    place = ("hold", "place", record, "--kind", "audit", "--authority", "Comptroller", "--docket", "16-cv-1")
    new = signing.read_bytes()
    assert new != old
    with open_vault(operator.home) as vault, vault.catalogue.read() as tx:
        size = size_of(tx)
    signing.write_bytes(old)
    for words in (
        place,
        ("sweep",),
        ("access", "create", "--role", "center", "--label", "x"),
        ("serve", "--port", "0"),
    ):
        refused = operator.run(*words)
        assert (refused.code, "is not the one with which" in refused.err) == (9, True), refused
    signing.write_bytes(new)
    with open_vault(operator.home) as vault, vault.catalogue.read() as tx:
        assert size_of(tx) == size
    assert operator.run(*place).code == 0


@contextmanager
def objects_of(operator: Operator) -> Iterator[Bucket]:
    """The bucket of a home that has no catalogue."""
    settings = Home.at(operator.home).settings
    names = {key: settings[key] for key in ("region", "bucket")}
    with closing(
        Bucket(BucketSettings(settings["objects"], **names, access_key=ACCESS_KEY, secret_key=SECRET_KEY))
    ) as bucket:
        yield bucket


def backed_up(operator: Operator) -> dict[str, bytes]:
    """The catalogue as a backup has it; nobody may be writing."""
    return {path.name: path.read_bytes() for path in operator.home.glob("catalogue.db*")}


def restore(operator: Operator, backup: dict[str, bytes]) -> None:
    for path in operator.home.glob("catalogue.db*"):
        path.unlink()
    for name, content in backup.items():
        (operator.home / name).write_bytes(content)


def serve_until_it_listens(operator: Operator) -> str:
    """What `serve` says until it listens, or ends; it is ended in order then."""
    service = operator.start("serve", "--port", "0")
    assert service.stdout
    said = []
    for line in service.stdout:
        said.append(line)
        if "listening on" in line:
            service.send_signal(signal.SIGTERM)
    service.wait(40)
    service.stdout.close()
    return "".join(said)


def test_serve_brings_a_restored_backup_forward_before_it_listens(operator: Operator) -> None:
    (held,) = operator.file(1)
    operator.file(1)
    backup = backed_up(operator)
    ground = ("--kind", "audit", "--authority", "Comptroller", "--docket", "16-cv-1")
    assert operator.run("hold", "place", held, *ground).code == 0
    assert operator.run("sweep", "--json").data["counts"]["records_destroyed"] == 1
    restore(operator, backup)
    said = serve_until_it_listens(operator)
    assert said.index("1 record lives on, 1 of them held") < said.index("listening on")
    assert operator.states() == {"retained": 1, "destroyed": 1}
    assert operator.run("sweep", "--json").data["counts"]["records_destroyed"] == 0
    assert "live on" not in serve_until_it_listens(operator)


def test_serve_sees_that_a_backup_lacks_filings(operator: Operator) -> None:
    """Taken while a service ran that was killed later: nothing but the manifests shows it."""
    operator.file(1, ago=timedelta(days=1))
    with open_vault(operator.home) as vault:
        begin_serving(vault, new_id(), replace(Process.this(), started=1))
    backup = backed_up(operator)
    operator.file(1, ago=timedelta(hours=1))
    restore(operator, backup)
    refused = operator.run("sweep")
    assert refused.code == 4
    assert "shredvault rebuild" in refused.err
    said = serve_until_it_listens(operator)
    assert said.index("2 records live on") < said.index("listening on")
    assert operator.states() == {"retained": 2}


def test_what_would_cost_a_key_is_not_done_unasked(operator: Operator) -> None:
    """Cut off between condemning and the end of the master, and restored: or somebody forged the ledger."""
    operator.file(2)
    backup = backed_up(operator)
    with pytest.MonkeyPatch.context() as patch, open_vault(operator.home) as vault:
        patch.setattr(destruction, "destroy_master", _refuse)
        with pytest.raises(CustodianUnavailableError):
            carry_out(vault, freeze_sweep(vault))
    restore(operator, backup)
    said = serve_until_it_listens(operator)
    assert "2 condemned records have keys" in said
    assert "listening" not in said
    assert backed_up(operator).keys() >= {"catalogue.db"}
    done = operator.run("rebuild", "--json")
    assert (done.code, done.data["condemned"]) == (0, 2)


def test_a_record_whose_manifest_somebody_hid_is_not_given_up_unasked(operator: Operator) -> None:
    (hidden,) = operator.file(1, ago=timedelta(days=1))
    backup = backed_up(operator)
    assert operator.run("access", "create", "--role", "center", "--label", "a", "--json").code == 0
    (token,) = [line["id"] for line in operator.run("access", "list", "--json").data if line["label"] == "a"]
    assert operator.run("access", "revoke", token).code == 0
    with open_vault(operator.home) as vault:
        vault.bucket.delete_every_version([manifest_name(RecordId(hidden))])
    restore(operator, backup)
    said = serve_until_it_listens(operator)
    assert "1 records of this catalogue are missing" in said
    assert "listening" not in said


def _refuse(*_: object) -> None:
    raise CustodianUnavailableError


def test_the_vault_moves_to_another_custodian(operator: Operator, tmp_path: Path) -> None:
    operator.file(1, ago=timedelta(days=1))
    there = f"file:{tmp_path}/elsewhere"
    moved = operator.run("custodian", "move", there, "--json")
    assert moved.code == 0, moved.err
    assert [one["kind"] for one in moved.data] == ["move", "move"]
    shown = operator.run("custodian", "show", "--json").data
    assert {one["custodian"] for one in shown["masters"]} == {there}
    assert there in shown["allowed"]
    assert operator.run("status", "--json").data["records"] == {"retained": 1}
    again = operator.run("custodian", "move", there)
    assert (again.code, "already" in again.out) == (0, True)
    assert operator.run("custodian", "renew").code == 0
    assert operator.run("scrub", operator.order_scrub(), "--yes", "--json").data["counts"]["records_destroyed"] == 1
