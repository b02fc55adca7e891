"""The cheap look at the ledger: what it finds when the bucket, the catalogue, or both were changed."""

from dataclasses import replace

import pytest

from tests.log.test_verifying import WITNESS_KEY, append, cosign
from tests.vault.databases import Databases, on_sqlite
from tests.vault.world import World
from vault.errors import LedgerBrokenError, OldCatalogueError
from vault.ledger.publishing import bucket_objects
from vault.ledger.showing import checkpoint_at, latest_checkpoint
from vault.ledger.verifying import verify_vault
from vault.ledger.watching import watch_ledger
from vault.ledger.witnesses import keep_cosigned, name_witness


def test_what_agrees_is_said_to_agree(quick_world: World) -> None:
    vault = quick_world.vault
    append(quick_world, 600)
    earlier = latest_checkpoint(vault)
    append(quick_world, 3)
    assert watch_ledger(vault).kept == 0
    name_witness(vault, str(WITNESS_KEY))
    keep_cosigned(vault, cosign(earlier))
    watched = watch_ledger(vault, [checkpoint_at(vault, 1), latest_checkpoint(vault)])
    assert (watched.size, watched.kept) == (verify_vault(vault).size, 3)


def test_a_changed_bucket_is_found(quick_world: World) -> None:
    vault = quick_world.vault
    append(quick_world, 3)
    append(quick_world, 2)
    *_, (newest, blob) = bucket_objects(vault.bucket)
    watch_ledger(vault)
    vault.bucket.put(newest, blob.replace(b"tested", b"tasted"))
    with pytest.raises(LedgerBrokenError, match="newest object"):
        watch_ledger(vault)
    vault.bucket.delete_every_version({newest})
    with pytest.raises(LedgerBrokenError, match="newest object"):
        watch_ledger(vault)
    vault.bucket.delete_every_version([name for name, _ in bucket_objects(vault.bucket)])
    with pytest.raises(LedgerBrokenError, match="end was cut off"):
        watch_ledger(vault)


def test_another_history_is_known_by_what_was_kept(quick_world: World) -> None:
    vault = quick_world.vault
    append(quick_world, 5)
    size, root = watch_ledger(vault).size, bytes(32)
    for claim in (vault.signing.sign_checkpoint(size, root), vault.signing.sign_checkpoint(size + 1, root)):
        with pytest.raises(LedgerBrokenError, match="not of this history"):
            watch_ledger(vault, [claim])
    tampered = latest_checkpoint(vault).replace(f"\n{size}\n", f"\n{size - 1}\n")
    with pytest.raises(LedgerBrokenError, match="signature on the checkpoint is wrong"):
        watch_ledger(vault, [tampered])


@on_sqlite
def test_a_changed_or_old_catalogue_is_found(quick_world: World, databases: Databases) -> None:
    quick_world.vault.catalogue.close()
    (quick_world.folder / "backup").mkdir()
    backup = databases.copied(quick_world.database, quick_world.folder / "backup")
    append(quick_world, 5)
    size = watch_ledger(quick_world.vault).size
    quick_world.run("DROP TRIGGER journal_is_append_only", "DROP TRIGGER ledger_nodes_are_append_only")
    entry, nodes = "UPDATE journal SET subject", "UPDATE ledger_nodes SET"
    for spoil, mend, said in (
        (f"{entry} = 'x' WHERE id = {size}", f"{entry} = 's4' WHERE id = {size}", "journal"),
        (f"{nodes} level = level + 60", f"{nodes} level = level - 60", "holes"),
        (f"{nodes} hash = zeroblob(32)", "SELECT 1", "Merkle tree"),
    ):
        quick_world.run(spoil)
        with pytest.raises(LedgerBrokenError, match=said):
            watch_ledger(quick_world.vault)
        quick_world.run(mend)
    restored = replace(quick_world, database=backup)
    restored.restart()
    with pytest.raises(OldCatalogueError):
        watch_ledger(restored.vault)
    restored.vault.catalogue.close()
