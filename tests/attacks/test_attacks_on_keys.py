"""Attacks on the keys: with stale copies, clocks of several hosts, and whoever writes in one of the stores.

Each once succeeded.
"""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.vault.databases import on_sqlite
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import PURPOSE, Sealed, World, png
from vault.alarms import alarms_of, spoken_alarms
from vault.clocks.clock import SimulatedClock
from vault.errors import BusyError, DestroyedError
from vault.keys.key_uses import KeyUses
from vault.records.retrieval import read_document
from vault.serving import fences
from vault.serving.fences import Node


def everything(world: World) -> Sealed:
    """All that the vault ever wrote, and the catalogue as it is."""
    bucket = world.vault.bucket
    assert isinstance(bucket, MemoryBucket)
    sealed = Sealed()
    sealed.gather(world, [content for name, content in bucket.s3.ever if name.startswith("keystore/")])
    return sealed


@on_sqlite
def test_a_master_that_comes_back_with_a_backup_of_its_custodian_dies_again(quick_world: World, tmp_path: Path) -> None:
    """Somebody brings back what the custodian had while a destruction was under way: both masters, the dead one too."""
    world = quick_world
    dead = world.file()
    world.advance(days=400)
    kept = world.file()
    world.advance(days=400)
    keys, backup = world.folder / "keys", tmp_path / "backup"

    def copied(step: str) -> None:
        if step == "destroy master":
            shutil.copytree(keys, backup)

    world.sweep(copied)
    place = world.place(dead)
    assert place not in everything(world).reachable(world)
    for master in backup.iterdir():
        shutil.copy2(master, keys)
    assert place in everything(world).reachable(world)

    assert world.sweep().listed == 0, "an ordinary night"
    assert place not in everything(world).reachable(world)
    world.assert_readable(kept)
    world.assert_two_masters()
    assert world.rows("SELECT event FROM journal WHERE event = 'destroyed master found again'") != []
    assert "found again" in " ".join(spoken_alarms(alarms_of(world.vault)))
    world.advance(days=60)
    assert "found again" not in " ".join(spoken_alarms(alarms_of(world.vault)))


@on_sqlite
def test_a_host_whose_clock_is_behind_is_not_dead_before_its_lease_is_over(
    quick_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is stopped for a moment while a destruction goes by, and wakes up with a lease by its own clock."""
    world = quick_world
    dead = world.open()
    world.upload(dead, content=png(2_000_000))
    world.complete(dead)
    monkeypatch.setattr(fences, "LEASE", timedelta(seconds=3))
    elsewhere = replace(
        world.vault, clock=SimulatedClock(world.clock.now() + timedelta(days=800, seconds=-30)), uses=KeyUses()
    )
    node = Node(elsewhere)
    node.beat()
    elsewhere.uses.lease(lambda: node.may_serve)
    world.run("UPDATE nodes SET boot = 'elsewhere'")
    pieces = read_document(elsewhere, world.reviewer, dead.id, "card.png", PURPOSE).chunks()
    next(pieces)
    world.advance(days=800)
    done = world.sweep()
    assert done.completed_at is not None
    assert done.observed["nodes_presumed_dead"] == 1
    assert not node.may_serve
    with pytest.raises((BusyError, DestroyedError)):
        next(pieces)


@on_sqlite
def test_whoever_writes_due_dates_into_the_catalogue_destroys_nobody_early(quick_world: World) -> None:
    """The service may write that column, and a sweep stands under the policy alone: everything would go."""
    world = quick_world
    old = world.file()
    world.advance(days=400)
    young = world.file()
    world.advance(days=340)
    world.run("UPDATE records SET due_on = '2027-01-01'")
    assert world.sweep().condemned == 1
    world.assert_destroyed(old)
    world.assert_readable(young)
    said = " ".join(spoken_alarms(alarms_of(world.vault)))
    assert "1 record has a due date that no policy gives." in said
    world.advance(days=389)
    assert world.sweep().condemned == 0
    world.advance(days=3)
    assert world.sweep().condemned == 1
    world.assert_destroyed(young)
