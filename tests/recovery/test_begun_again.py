"""A rebuild that was cut off and is begun again, with what has changed meanwhile."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from keystore.custodians import FileCustodian
from tests.vault.databases import Databases, on_sqlite
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import Sealed, World, open_world_vault
from vault.catalogue.schema import access_tokens
from vault.context import Vault
from vault.destruction.carrying_out import recover_destructions
from vault.destruction.moving import move_masters
from vault.errors import CustodianUnavailableError
from vault.ids import new_id
from vault.keys.custody import Custody
from vault.recovery import rebuild as rebuilding
from vault.recovery.rebuild import rebuild
from vault.recovery.recognising import Known


def begun(world: World, databases: Databases, *custodians: FileCustodian) -> Vault:
    """The vault with a catalogue that is rebuilt at the first of these custodians; the tokens are the old one's."""
    with world.vault.catalogue.read() as tx:
        tokens = [dict(row) for row in tx.execute(sa.select(access_tokens)).mappings()]
    home = world.folder / f"home-{new_id()}"
    home.mkdir()
    fresh = databases.new(home)
    vault = open_world_vault(world.folder, world.vault.vault_id, world.vault.bucket, world.clock, fresh)
    vault.catalogue.migrate()
    vault = replace(vault, custody=Custody.of(*custodians))
    rebuild(vault, [one.uri for one in custodians], tokens, known=Known(world.vault.signing.verifier))
    return vault


def two_custodians(world: World) -> tuple[FileCustodian, FileCustodian]:
    """That at which the masters stand, and another."""
    away_from = world.folder / "home"
    return (
        FileCustodian(world.folder / "keys", away_from=away_from),
        FileCustodian(world.folder / "elsewhere", away_from=away_from),
    )


@on_sqlite
def test_masters_of_a_rebuild_that_was_cut_off_die_also_where_it_is_begun_again_elsewhere(
    quick_world: World, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its custodian did not answer any more, and the operator named another first. Its packs have every living key."""
    world = quick_world
    record = world.file()
    first, second = two_custodians(world)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rebuilding, "fill_catalogue", die)
        for custodians in ((first, second), (second, first), (first, second)):
            with pytest.raises(KeyboardInterrupt):
                begun(world, databases, *custodians)
    world = replace(world, vault=begun(world, databases, second, first))
    recover_destructions(world.vault)
    assert (len(first.names()), len(second.names())) == (0, 2)
    world.assert_readable(record)
    bucket, place, everything = world.vault.bucket, world.place(record), Sealed()
    assert isinstance(bucket, MemoryBucket)
    everything.gather(world, [content for name, content in bucket.s3.ever if name.startswith("keystore/")])
    assert place in everything.reachable(world, first, second)
    world.scrub()
    assert place not in everything.reachable(world, first, second)


@on_sqlite
def test_a_custodian_that_was_forgotten_after_a_move_to_it_was_undone_is_not_asked_for_after_a_rebuild(
    quick_world: World, databases: Databases
) -> None:
    """Nothing stands there any more, and the bucket must know it too before the custodian is gone."""
    world = quick_world
    record = world.file()
    first, second = two_custodians(world)
    object.__setattr__(world.vault, "custody", Custody.of(first, second))

    def fail(now: str) -> None:
        if now == "stage":
            raise CustodianUnavailableError("It does not answer.")

    with pytest.raises(CustodianUnavailableError):
        move_masters(world.vault, second.uri, "test", fail)
    assert len(second.names()) == 1
    recover_destructions(world.vault)
    assert second.names() == frozenset()
    world = replace(world, vault=begun(world, databases, first))
    recover_destructions(world.vault)
    world.assert_readable(record)
    world.assert_two_masters()
