"""Reclaiming space, and what broken uploads left behind."""

from contextlib import suppress

import pytest

from tests.vault.faults import Died, Fuse, arm, disarm
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import World, png
from vault.filing import manifest_name
from vault.holds import place_hold, release_hold
from vault.reclaim import reclaim, sweep_litter

BARE = (
    "SELECT COUNT(*) FROM records WHERE reclaimed AND sheet IS NULL AND opened_by IS NULL AND body_tag IS NULL "
    "AND receipt_hash IS NULL AND idempotency_hash IS NULL AND due_on IS NULL"
)


def names(world: World, prefix: str = "") -> set[str]:
    return {version.name for version in world.vault.bucket.versions(prefix)}


def test_every_version_goes_and_only_ids_and_times_stay(world: World) -> None:
    dead = [world.file() for _ in range(3)]
    world.advance(days=800)
    young = world.file()
    bucket = world.vault.bucket
    bucket.put(manifest_name(dead[0].id), b"an older or newer version")
    world.sweep()
    objects = set(names(world, "documents/"))
    assert len(objects) == 4
    counted: list[int] = []
    assert reclaim(world.vault, counted.append) == 3
    assert sum(counted) == 3
    assert names(world, "records/") == {manifest_name(young.id)}
    assert len(names(world, "documents/")) == 1
    assert world.value(BARE) == 3
    assert world.value("SELECT COUNT(*) FROM documents") == 1
    assert world.value("SELECT COUNT(*) FROM destructions WHERE reclaimed_at IS NOT NULL") == 1
    world.assert_destroyed(*dead)
    world.assert_readable(young)
    assert reclaim(world.vault) == 0


def test_nothing_is_reclaimed_before_completion(quick_world: World) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)
    told: list[int] = []
    quick_world.sweep(lambda _: told.append(reclaim(quick_world.vault)))
    assert told == [0] * 7
    assert reclaim(quick_world.vault) == 1
    quick_world.assert_destroyed(record)


def test_survivors_of_a_condemned_cohort_are_not_reclaimed(quick_world: World) -> None:
    saved, *dead = [quick_world.file() for _ in range(4)]
    hold = place_hold(quick_world.vault, [saved.id], "d").hold_id
    quick_world.scrub()
    assert reclaim(quick_world.vault) == 3
    quick_world.assert_readable(saved)
    release_hold(quick_world.vault, hold, "counsel")
    reclaim(quick_world.vault)
    quick_world.assert_readable(saved)
    quick_world.scrub()
    assert reclaim(quick_world.vault) == 1
    quick_world.assert_destroyed(saved, *dead)


def test_needed_packs_stay_and_superseded_ones_go(quick_world: World) -> None:
    old = quick_world.file()
    quick_world.advance(days=30)
    middle = quick_world.file()
    quick_world.advance(days=705)
    young = quick_world.file()
    before = names(quick_world, "keystore/active/")
    quick_world.sweep()
    reclaim(quick_world.vault)
    after = names(quick_world, "keystore/active/")
    used = {
        f"keystore/active/{v:016x}"
        for (v,) in quick_world.rows(
            "SELECT version FROM tree_pages WHERE tree = 'active' UNION SELECT version FROM trees WHERE tree = 'active'"
        )
    }
    assert after == used
    assert not before <= after
    roots = quick_world.rows(
        "SELECT r.version FROM roots r JOIN masters m ON m.name = r.master "
        "WHERE r.tree = 'active' AND m.destroyed_at IS NOT NULL"
    )
    assert roots == []
    quick_world.assert_destroyed(old)
    quick_world.assert_readable(middle, young)
    quick_world.sweep()


def test_it_is_resumed_wherever_it_was_cut_off(quick_world: World) -> None:
    dead = [quick_world.file() for _ in range(3)]
    quick_world.advance(days=800)
    young = quick_world.file()
    quick_world.sweep()
    for at in range(1, 30):
        fuse = Fuse(at, dies=True)
        arm(quick_world, fuse)
        with suppress(Died):
            reclaim(quick_world.vault)
        disarm(quick_world)
        quick_world.assert_destroyed(*dead)
        quick_world.assert_readable(young)
        if fuse.blown is None:
            break
    else:
        pytest.fail("it never got through")
    assert quick_world.value(BARE) == 3
    assert names(quick_world, "records/") == {manifest_name(young.id)}
    assert len(names(quick_world, "documents/")) == 1


def test_a_release_is_reclaimed_without_touching_records(quick_world: World) -> None:
    record = quick_world.file()
    release_hold(quick_world.vault, place_hold(quick_world.vault, [record.id], "d").hold_id, "counsel")
    packs = names(quick_world, "keystore/held/")
    assert reclaim(quick_world.vault) == 0
    assert len(names(quick_world, "keystore/held/")) < len(packs)
    quick_world.assert_readable(record)
    place_hold(quick_world.vault, [record.id], "e")
    quick_world.scrub()
    quick_world.assert_readable(record)


def test_litter_goes_when_it_is_a_day_old(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = world.file()
    world.advance(hours=0)
    bucket = world.vault.bucket
    bucket.put("documents/stray", png())
    bucket.put("elsewhere/stray", png())
    bucket.start_parts("documents/unfinished").add(bytes(6 * 2**20))
    # The object store dates by its own clock: the vault's is set by it here.
    now = min(u.started for u in bucket.unfinished(""))
    world.clock.advance(now - world.clock.now())
    world.advance(hours=25)
    assert sweep_litter(world.vault) == 0, "our clock alone, ahead of the store's, makes nothing old"
    monkeypatch.setattr(bucket, "now", world.clock.now)
    world.clock.advance(now - world.clock.now())
    world.advance(hours=23.9)
    assert sweep_litter(world.vault) == 0
    assert "documents/stray" in names(world)
    world.advance(hours=0.3)
    assert sweep_litter(world.vault) == 2
    assert {"documents/stray"}.isdisjoint(names(world))
    assert "elsewhere/stray" in names(world)
    assert list(bucket.unfinished("")) == []
    world.assert_readable(record)
    assert sweep_litter(world.vault) == 0


def test_a_late_manifest_of_a_destroyed_record_opens_nothing(quick_world: World) -> None:
    """Known gap: a completion that was overtaken leaves a sealed manifest that no later reclaim looks for."""
    record = quick_world.file()
    bucket = quick_world.vault.bucket
    assert isinstance(bucket, MemoryBucket)
    manifest = bucket.s3.current(manifest_name(record.id))
    assert manifest
    quick_world.advance(days=800)
    quick_world.sweep()
    reclaim(quick_world.vault)
    bucket.put(manifest_name(record.id), manifest)
    quick_world.assert_destroyed(record)
