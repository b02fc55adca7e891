"""A ledger is verified whole: truncation, edits, reordering, forks and older states, each tried and each found."""

import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vault.databases import Databases, on_sqlite
from tests.vault.world import World, open_world_vault
from vault.context import note
from vault.errors import DamagedError, DestructionRefusedError, LedgerBrokenError
from vault.ledger import publishing as ledger
from vault.ledger.publishing import Mark, bucket_objects, parse_object, publish, read_objects
from vault.ledger.showing import checkpoint_at, latest_checkpoint
from vault.ledger.verifying import export_ledger, log_keys, verify_folder, verify_ledger, verify_vault
from vault.ledger.witnesses import keep_cosigned, latest_cosigned, name_witness, witnesses
from vault.log import SIGNING_FILE, SigningKey, VerifierKey
from vault.log.merkle import Frontier, leaf_hash
from vault.log.notes import COSIGNATURE, cosigned_message, signature_line
from vault.log.stored import size_of
from vault.recovery.rebuild import rebuild
from vault.recovery.recognising import Known

Objects = list[tuple[str, bytes]]
WITNESS = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
WITNESS_KEY = VerifierKey("witness.example", COSIGNATURE, WITNESS.public_key().public_bytes_raw())
STAMP = 1_800_000_000


def append(world: World, count: int) -> None:
    for number in range(count):
        with world.vault.catalogue.write() as tx:
            note(tx, world.clock.now(), "tested", f"s{number}", {"n": number, "word": "é"})
    publish(world.vault)


def told(world: World) -> Objects:
    """A ledger of several objects."""
    for count in (3, 1, 2):
        append(world, count)
    return list(bucket_objects(world.vault.bucket))


def again(world: World, objects: Objects, change: Callable[[ledger.Entry], ledger.Entry], key: SigningKey) -> Objects:
    """The history written once more with a change, each digest, root and signature made anew."""
    mark, frontier, written = Mark(0, bytes(32)), Frontier(), []
    for one in read_objects(objects, world.vault.vault_id):
        changed = [change(entry) for entry in one.entries]
        for entry in changed:
            frontier.add(leaf_hash(entry.leaf()))
        signed = key.sign_checkpoint(frontier.size, frontier.root())
        blob = ledger._encode(world.vault.vault_id, mark, changed, signed)
        written.append((ledger.ledger_name(mark.last + 1), blob))
        mark = parse_object(world.vault.vault_id, mark, blob).mark
    return written


def cosign(signed: str) -> str:
    text = signed.rpartition("\n\n")[0] + "\n"
    signature = struct.pack(">Q", STAMP) + WITNESS.sign(cosigned_message(text, STAMP))
    return signed + signature_line(WITNESS_KEY, signature)


def test_what_is_changed_is_found(quick_world: World) -> None:
    objects, vault_id = told(quick_world), quick_world.vault.vault_id
    keys, kept = log_keys(quick_world.vault), [latest_checkpoint(quick_world.vault)]
    found = verify_ledger(objects, vault_id, keys, kept)
    assert found.kept == 1
    for number in range(len(objects) - 1):
        with pytest.raises(DamagedError, match="gap"):
            verify_ledger(objects[:number] + objects[number + 1 :], vault_id, keys)
        swapped = [*objects]
        swapped[number], swapped[number + 1] = objects[number + 1], objects[number]
        with pytest.raises(DamagedError):
            verify_ledger(swapped, vault_id, keys)
        names = [name for name, _ in objects]
        with pytest.raises(DamagedError):
            verify_ledger(zip(names, [blob for _, blob in swapped], strict=True), vault_id, keys)
    with pytest.raises(DamagedError):
        verify_ledger(objects, bytes(16), keys)
    random = Random(5)
    for _ in range(300):
        number = random.randrange(len(objects))
        name, blob = objects[number]
        edited = bytearray(blob)
        edited[random.randrange(len(blob))] ^= 1 << random.randrange(8)
        with pytest.raises(DamagedError):
            verify_ledger([*objects[:number], (name, bytes(edited)), *objects[number + 1 :]], vault_id, keys)


def test_an_end_that_is_cut_off_is_found_by_whoever_kept_a_checkpoint(quick_world: World) -> None:
    objects, vault_id = told(quick_world), quick_world.vault.vault_id
    keys, kept = log_keys(quick_world.vault), [latest_checkpoint(quick_world.vault)]
    verify_ledger(objects[:-1], vault_id, keys)
    with pytest.raises(LedgerBrokenError, match="cut off, or an older state"):
        verify_ledger(objects[:-1], vault_id, keys, kept)
    name = objects[-1][0]
    quick_world.vault.bucket.delete_every_version({name})
    with pytest.raises(LedgerBrokenError, match="Its end was cut off"):
        verify_vault(quick_world.vault)


def test_another_history_is_found(quick_world: World) -> None:
    objects, vault_id = told(quick_world), quick_world.vault.vault_id
    keys, old = log_keys(quick_world.vault), checkpoint_at(quick_world.vault, 6)

    def other(entry: ledger.Entry) -> ledger.Entry:
        return replace(entry, facts={"n": 99}) if entry.id == 5 else entry

    stranger = SigningKey(quick_world.vault.signing.verifier.name, Ed25519PrivateKey.generate())
    with pytest.raises(LedgerBrokenError, match="not signed"):
        verify_ledger(again(quick_world, objects, other, stranger), vault_id, keys)
    fork = again(quick_world, objects, other, quick_world.vault.signing)
    verify_ledger(fork, vault_id, keys)
    with pytest.raises(LedgerBrokenError, match="another history"):
        verify_ledger(fork, vault_id, keys, [old])
    assert again(quick_world, objects, lambda entry: entry, quick_world.vault.signing) == objects


@on_sqlite
def test_an_edited_journal_is_found(quick_world: World) -> None:
    told(quick_world)
    verify_vault(quick_world.vault)
    quick_world.run("DROP TRIGGER journal_is_append_only", "UPDATE journal SET subject = 'x' WHERE id = 5")
    with pytest.raises(LedgerBrokenError, match="differs from the ledger"):
        verify_vault(quick_world.vault)


@on_sqlite
def test_an_edited_tree_is_found(quick_world: World) -> None:
    told(quick_world)
    quick_world.run("DROP TRIGGER ledger_nodes_are_append_only", "UPDATE ledger_nodes SET hash = zeroblob(32)")
    with pytest.raises(LedgerBrokenError, match="Merkle tree in the catalogue"):
        verify_vault(quick_world.vault)


def test_an_exported_ledger_is_verified_far_from_the_vault(quick_world: World, tmp_path: Path) -> None:
    told(quick_world)
    vault_id, keys = quick_world.vault.vault_id, [quick_world.vault.signing.verifier]
    size = export_ledger(quick_world.vault, tmp_path / "out")
    assert verify_folder(tmp_path / "out", keys, vault_id).size == size
    append(quick_world, 1)
    assert export_ledger(quick_world.vault, tmp_path / "out") == size + 1
    kept = [checkpoint_at(quick_world.vault, 4)]
    assert verify_folder(tmp_path / "out", keys, vault_id, kept).kept == 1
    last = max((tmp_path / "out" / "ledger").iterdir())
    last.unlink()
    with pytest.raises(LedgerBrokenError, match="cut off"):
        verify_folder(tmp_path / "out", keys, vault_id)


@on_sqlite
def test_a_rebuild_with_a_new_key_continues_the_log(quick_world: World, databases: Databases) -> None:
    """The signing key was lost with the home; entries, witnesses and old checkpoints are of the same history."""
    told(quick_world)
    old, before = quick_world.vault, latest_checkpoint(quick_world.vault)
    name_witness(old, str(WITNESS_KEY))
    (quick_world.folder / "home" / SIGNING_FILE).unlink()
    home = quick_world.folder / "home-again"
    home.mkdir()
    database = databases.new(home)
    fresh = open_world_vault(quick_world.folder, old.vault_id, old.bucket, quick_world.clock, database)
    with closing(fresh.catalogue):
        fresh.catalogue.migrate()
        with pytest.raises(DestructionRefusedError, match="--ledger-key"):
            rebuild(fresh, [quick_world.custodian.uri])
        rebuild(fresh, [quick_world.custodian.uri], known=Known(older_keys=[old.signing.verifier], kept=[before]))
        assert fresh.signing.verifier.public != old.signing.verifier.public
        assert log_keys(fresh) == [fresh.signing.verifier, old.signing.verifier]
        assert verify_vault(fresh, [before, latest_checkpoint(fresh)]).kept == 2
        with fresh.catalogue.read() as tx:
            assert witnesses(tx) == [WITNESS_KEY]


def test_a_witness_is_named_and_what_it_signed_is_kept(quick_world: World) -> None:
    told(quick_world)
    vault = quick_world.vault
    signed = latest_checkpoint(vault)
    with pytest.raises(LedgerBrokenError, match="No witness"):
        keep_cosigned(vault, cosign(signed))
    assert name_witness(vault, str(WITNESS_KEY)) == WITNESS_KEY
    with vault.catalogue.read() as tx:
        size = size_of(tx)
    name_witness(vault, str(WITNESS_KEY))
    other = VerifierKey(WITNESS_KEY.name, COSIGNATURE, bytes(32))
    for key in (str(other), str(vault.signing.verifier)):
        with pytest.raises(LedgerBrokenError):
            name_witness(vault, key)
    with pytest.raises(LedgerBrokenError, match="No witness"):
        keep_cosigned(vault, signed)
    broken = cosign(signed)[:-3] + "=\n"
    with pytest.raises(LedgerBrokenError):
        keep_cosigned(vault, broken)
    fork = cosign(vault.signing.sign_checkpoint(5, bytes(32)))
    with pytest.raises(LedgerBrokenError, match="not of this history"):
        keep_cosigned(vault, fork)
    with vault.catalogue.read() as tx:
        assert (size_of(tx), witnesses(tx), latest_cosigned(tx)) == (size, [WITNESS_KEY], None)
    (seen,) = keep_cosigned(vault, cosign(signed))
    assert seen.at.timestamp() == STAMP
    with vault.catalogue.read() as tx:
        assert latest_cosigned(tx) == cosign(signed)
    assert verify_vault(vault, [cosign(signed)]).kept == 1
