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
from vault.destruction import carrying_out
from vault.destruction.carrying_out import destroy_returned, recover_destructions
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
def test_a_returned_master_that_cannot_be_destroyed_stops_nothing_and_is_told_until_it_is_gone(
    quick_world: World, tmp_path: Path
) -> None:
    """Restored by hard links: its custodian refuses it, and would have refused every sweep and deadline with it."""
    world = quick_world
    dead = world.file()
    keys, backup = world.folder / "keys", tmp_path / "backup"
    shutil.copytree(keys, backup)
    world.advance(days=800)
    world.sweep()
    late, place = world.file(), world.place(dead)
    world.advance(days=800)
    (came_back,) = (one for one in backup.glob("*active*") if not (keys / one.name).exists())
    (keys / came_back.name).hardlink_to(came_back)
    assert world.sweep().condemned == 1
    world.assert_destroyed(late)
    assert world.sweep().listed == 0
    found = "SELECT COUNT(*) FROM journal WHERE event = 'destroyed master found again'"
    assert world.value(found) == 1, "written down once, not every night"
    assert came_back.stem in destroy_returned(world.vault).left
    world.advance(days=60)
    said = " ".join(spoken_alarms(alarms_of(world.vault)))
    assert "1 destroyed master key is at the custodian again, and could not be destroyed" in said
    assert "was destroyed again" not in said, "nobody has seen that"

    came_back.unlink()
    assert place in everything(world).reachable(world)
    assert came_back.stem in destroy_returned(world.vault).destroyed
    said = " ".join(spoken_alarms(alarms_of(world.vault)))
    assert "could not" not in said
    assert "was destroyed again" in said
    assert place not in everything(world).reachable(world)


@on_sqlite
def test_a_crash_before_a_returned_master_is_destroyed_is_not_told_as_its_destruction(
    quick_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = quick_world
    world.file()
    keys, backup = world.folder / "keys", tmp_path / "backup"
    shutil.copytree(keys, backup)
    world.advance(days=800)
    world.sweep()
    for master in backup.iterdir():
        shutil.copy2(master, keys)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(carrying_out, "discard_unused_master", die)
        with pytest.raises(KeyboardInterrupt):
            world.sweep()
    said = " ".join(spoken_alarms(alarms_of(world.vault)))
    assert "could not be destroyed again yet" in said
    assert "was destroyed again" not in said
    # And one after it died, before that was written down: it is looked at once more, and then told.
    for master in backup.glob("active*"):
        (keys / master.name).unlink()
    recover_destructions(world.vault)
    world.sweep()
    said = " ".join(spoken_alarms(alarms_of(world.vault)))
    assert "could not" not in said
    assert "was destroyed again" in said
    world.assert_two_masters()


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
