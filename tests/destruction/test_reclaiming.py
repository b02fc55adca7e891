"""Reclaiming space, and what broken uploads left behind."""

import shutil
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from keystore import Tree
from tests.crashes.faults import Died, Fuse, arm, disarm
from tests.services.object_stores import settings
from tests.vault.databases import Databases, on_sqlite
from tests.vault.holding import place_hold, release_hold
from tests.vault.memory_s3 import MemoryBucket, MemoryS3
from tests.vault.world import World, make_world, png
from vault.destruction.reclaim import reclaim, sweep_litter
from vault.errors import CatalogueFullError, DestructionRefusedError
from vault.ids import RecordId, new_id
from vault.objects import Bucket, ObjectStoreDenied, ObjectStoreError
from vault.records.manifests import manifest_name
from vault.status import destruction_record, find_destruction, locked_facts, status_of
from vault.trees import mirror

pytestmark = on_sqlite

BARE = (
    "SELECT COUNT(*) FROM records WHERE reclaimed AND sheet IS NULL AND opened_by IS NULL AND body_tag IS NULL "
    "AND idempotency_hash IS NULL AND due_on IS NULL"
)


def memory(world: World) -> MemoryS3:
    assert isinstance(world.vault.bucket, MemoryBucket)
    return world.vault.bucket.s3


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


# What no destruction owns


def test_a_late_manifest_of_a_reclaimed_record_goes_when_it_is_a_day_old(quick_world: World) -> None:
    """A completion that was overtaken by sweep and reclaim stores its manifest when nobody looks for it any more."""
    record = quick_world.file()
    s3 = memory(quick_world)
    manifest = s3.current(manifest_name(record.id))
    assert manifest
    quick_world.advance(days=800)
    young = quick_world.file()
    quick_world.sweep()
    reclaim(quick_world.vault)
    quick_world.vault.bucket.put(manifest_name(record.id), manifest)
    quick_world.vault.bucket.put("records/not-an-id", b"not ours")
    quick_world.assert_destroyed(record)
    assert sweep_litter(quick_world.vault) == 0, "it may be a completion in flight"
    s3.ahead = timedelta(hours=25)
    assert sweep_litter(quick_world.vault) == 1
    assert names(quick_world, "records/") == {manifest_name(young.id), "records/not-an-id"}
    quick_world.assert_readable(young)


def test_litter_under_a_delete_marker_and_parts_of_packs_go_too(quick_world: World) -> None:
    record = quick_world.file()
    s3, bucket = memory(quick_world), quick_world.vault.bucket
    bucket.put("documents/stray", b"x")
    s3.delete_object(Key="documents/stray")
    for prefix in ("documents/", "records/", f"{mirror.PREFIX}active/"):
        bucket.start_parts(f"{prefix}unfinished").add(b"parts")
    quick_world.advance(days=800)
    s3.ahead = timedelta(hours=23)
    assert sweep_litter(quick_world.vault) == 0
    s3.ahead = timedelta(hours=25)
    assert sweep_litter(quick_world.vault) == 4
    assert not s3.unfinished
    assert "documents/stray" not in names(quick_world)
    quick_world.assert_readable(record)


def test_a_catalogue_that_lost_records_deletes_nothing(quick_world: World, tmp_path: Path) -> None:
    """Filing writes no key page: a restored backup, or a standby that lagged, is seen by the manifests only."""
    first = quick_world.file()
    quick_world.vault.catalogue.close()
    catalogue = quick_world.folder / "home" / "catalogue.db"
    backup = shutil.copy(catalogue, tmp_path / "backup.db")
    lost = quick_world.file()
    quick_world.vault.catalogue.close()
    newest = shutil.copy(catalogue, tmp_path / "newest.db")
    memory(quick_world).ahead = timedelta(days=30)
    quick_world.advance(days=30)
    assert sweep_litter(quick_world.vault) == 0

    quick_world.vault.catalogue.close()
    shutil.copy(backup, catalogue)
    quick_world.restart()
    before = names(quick_world)
    with pytest.raises(DestructionRefusedError, match="restored from a backup"):
        sweep_litter(quick_world.vault)
    assert names(quick_world) == before
    quick_world.vault.catalogue.close()
    shutil.copy(newest, catalogue)
    quick_world.restart()
    quick_world.assert_readable(first, lost)


def test_a_catalogue_that_lost_the_documents_of_a_record_deletes_nothing(quick_world: World, tmp_path: Path) -> None:
    record = quick_world.open()
    quick_world.vault.catalogue.close()
    catalogue = quick_world.folder / "home" / "catalogue.db"
    backup = shutil.copy(catalogue, tmp_path / "backup.db")
    quick_world.upload(record)
    quick_world.complete(record)
    memory(quick_world).ahead = timedelta(days=30)
    quick_world.vault.catalogue.close()
    shutil.copy(backup, catalogue)
    quick_world.restart()
    quick_world.advance(days=30)
    before = names(quick_world)
    with pytest.raises(DestructionRefusedError, match="restored from a backup"):
        sweep_litter(quick_world.vault)
    assert names(quick_world) == before


def test_a_manifest_that_nothing_opens_is_litter_though_nobody_knows_it(quick_world: World) -> None:
    """As after a rebuild, which learns of living records only."""
    record = quick_world.file()
    s3 = memory(quick_world)
    manifest = s3.current(manifest_name(record.id))
    assert manifest
    quick_world.advance(days=800)
    quick_world.sweep()
    reclaim(quick_world.vault)
    stranger = manifest_name(RecordId(new_id()))
    quick_world.vault.bucket.put(stranger, manifest)
    s3.ahead = timedelta(hours=25)
    assert sweep_litter(quick_world.vault) == 1
    assert stranger not in names(quick_world)


# Object lock


def test_what_is_locked_stays_until_its_date_and_is_listed(quick_world: World) -> None:
    s3 = memory(quick_world)
    s3.default_retention = timedelta(days=10)
    dead = [quick_world.file() for _ in range(2)]
    quick_world.advance(days=800)
    young = quick_world.file()
    done = quick_world.sweep()
    locked = {version[:2] for version in quick_world.vault.bucket.versions("") if version.name.startswith("records/")}

    assert reclaim(quick_world.vault) == 2

    quick_world.assert_destroyed(*dead)
    quick_world.assert_readable(young)
    assert quick_world.value(BARE) == 2, "the catalogue's part of a record goes in any case"
    record = destruction_record(find_destruction(quick_world.vault, done.id))
    assert record["counts"]["records_destroyed"] == 2
    assert record["reclaim"]["state"] == "all but what is locked"
    assert record["times"]["reclaimed"] is None
    assert record["times"]["freed"] is not None
    listed = record["reclaim"]["locked"]
    assert listed["count"] == len(listed["objects"]) >= 4
    assert {(one["name"], one["version"]) for one in listed["objects"]} >= {
        at for at in locked if at[0] != manifest_name(young.id)
    }
    assert all(one["until"].startswith(str((s3.now() + timedelta(days=10)).date())[:8]) for one in listed["objects"])
    assert status_of(quick_world.vault).locked.count == listed["count"]
    assert status_of(quick_world.vault).to_reclaim == 0, "there is nothing to be done about it"

    calls: list[str] = []
    s3.around = lambda call, when: calls.append(call) if when == "before" else None
    assert reclaim(quick_world.vault) == 0
    assert "delete_objects" not in calls, "before the date it is not tried"
    assert reclaim(quick_world.vault, every_lock=True) == 0
    assert "delete_objects" in calls
    assert find_destruction(quick_world.vault, done.id).locked.count == listed["count"]

    s3.ahead = timedelta(days=11)
    assert reclaim(quick_world.vault) == 0
    after = destruction_record(find_destruction(quick_world.vault, done.id))
    assert after["reclaim"]["state"] == "done"
    assert after["reclaim"]["locked"]["count"] == 0
    assert after["times"]["reclaimed"] is not None
    assert status_of(quick_world.vault).locked.count == 0
    assert names(quick_world, "records/") == {manifest_name(young.id)}
    assert len(names(quick_world, "documents/")) == 1
    quick_world.assert_readable(young)
    assert quick_world.value("SELECT COUNT(*) FROM journal WHERE event = 'reclaimed except locked'") == 1
    assert quick_world.value("SELECT COUNT(*) FROM journal WHERE event = 'reclaimed'") == 1


@pytest.mark.parametrize("dies", [True, False], ids=["dies", "answer-lost"])
def test_with_locks_too_it_is_resumed_wherever_it_was_cut_off(quick_world: World, *, dies: bool) -> None:
    s3 = memory(quick_world)
    dead = [quick_world.file() for _ in range(3)]
    for name in [n for n in names(quick_world, "documents/") if n][:2]:
        for version, _, _ in s3.versions[name]:
            s3.locks[name, version] = None
    quick_world.advance(days=800)
    young = quick_world.file()
    quick_world.sweep()
    for goal in (2, 0):
        for at in range(1, 60):
            fuse = Fuse(at, dies=dies)
            arm(quick_world, fuse)
            with suppress(Died, ObjectStoreError, CatalogueFullError):
                reclaim(quick_world.vault)
            disarm(quick_world)
            quick_world.assert_destroyed(*dead)
            quick_world.assert_readable(young)
            if fuse.blown is None:
                break
        else:
            pytest.fail("it never got through")
        assert status_of(quick_world.vault).locked.count == goal
        assert quick_world.value(BARE) == 3
        assert names(quick_world, "records/") == {manifest_name(young.id)}
        assert len(names(quick_world, "documents/")) == 1 + goal
        reclaimed = quick_world.value("SELECT COUNT(*) FROM destructions WHERE reclaimed_at IS NOT NULL")
        assert reclaimed == (0 if goal else 1)
        s3.locks.clear()


def test_a_denial_that_is_no_lock_stops_it_and_nothing_is_noted(quick_world: World) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)
    done = quick_world.sweep()
    s3 = memory(quick_world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3, "_is_locked", lambda _name, _version: True)  # a policy of the bucket, say
        with pytest.raises(ObjectStoreDenied, match="no lock retains"):
            reclaim(quick_world.vault)
    assert find_destruction(quick_world.vault, done.id).freed_at is None
    assert status_of(quick_world.vault).locked.count == 0
    quick_world.assert_destroyed(record)
    assert reclaim(quick_world.vault) == 1
    assert find_destruction(quick_world.vault, done.id).reclaimed_at is not None


def test_parts_and_older_versions_of_what_was_destroyed_go(quick_world: World) -> None:
    quick_world.file()
    s3, bucket = memory(quick_world), quick_world.vault.bucket
    (document,) = names(quick_world, "documents/")
    bucket.start_parts(document).add(b"parts")
    for pack in names(quick_world, f"{mirror.PREFIX}active/"):
        bucket.start_parts(pack).add(b"parts")
        s3.delete_object(Key=pack)  # by somebody else: what is below the marker is in no plain listing
        s3.versions[pack] = [s3.versions[pack][-1], *s3.versions[pack][:-1]]
    bucket.start_parts("documents/of-a-living-record").add(b"parts")
    quick_world.advance(days=800)
    quick_world.file()
    quick_world.sweep()
    reclaim(quick_world.vault)
    needed = {row[0] for row in quick_world.rows("SELECT version FROM tree_pages WHERE tree = 'active'")}
    current = quick_world.value("SELECT version FROM trees WHERE tree = 'active'")
    keep = {mirror.pack_name(Tree.ACTIVE, version) for version in needed | {current}}
    assert names(quick_world, f"{mirror.PREFIX}active/") == keep
    assert {u.name for u in bucket.unfinished("")} - keep == {"documents/of-a-living-record"}
    assert document not in names(quick_world)


def test_locked_objects_on_the_real_store(tmp_path: Path, seaweedfs: str, databases: Databases) -> None:
    bucket = Bucket(settings(seaweedfs))
    bucket._s3.create_bucket(Bucket=bucket._name, ObjectLockEnabledForBucket=True)
    world = make_world(tmp_path / "vault", bucket, databases)
    dead = [world.file() for _ in range(2)]
    manifest = manifest_name(dead[0].id)

    def hold(status: str) -> None:
        for version in world.vault.bucket.versions(manifest):
            bucket._s3.put_object_legal_hold(  # type: ignore[attr-defined]  # only an administrator calls it
                Bucket=bucket._name, Key=manifest, VersionId=version.version_id, LegalHold={"Status": status}
            )

    hold("ON")
    world.advance(days=800)
    young = world.file()
    done = world.sweep()
    assert reclaim(world.vault) == 2
    assert names(world, "records/") == {manifest, manifest_name(young.id)}
    (locked,) = locked_facts(find_destruction(world.vault, done.id).locked)["objects"]
    assert (locked["name"], locked["until"]) == (manifest, "legal hold")
    world.assert_destroyed(*dead)
    reclaim(world.vault)
    assert find_destruction(world.vault, done.id).reclaimed_at is None
    hold("OFF")
    reclaim(world.vault)
    assert find_destruction(world.vault, done.id).reclaimed_at is not None
    assert names(world, "records/") == {manifest_name(young.id)}
    world.assert_readable(young)
    world.vault.catalogue.close()
    bucket.close()
