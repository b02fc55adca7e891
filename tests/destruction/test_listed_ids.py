"""Lists of ids in the bucket: by them a rebuilt catalogue knows who was destroyed, and nothing else about them."""

from datetime import timedelta

import pytest

from tests.crashes.faults import Died
from tests.people import frozen
from tests.recovery.test_rebuilding import close_catalogues, rebuilt
from tests.vault.databases import Databases, on_sqlite
from tests.vault.holding import place_hold, release_hold
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import PURPOSE, World
from vault.destruction.carrying_out import carry_out, recover_destructions
from vault.destruction.listed_ids import PREFIX, fetch_list, list_name, pack_places, store_list, unpack_places
from vault.destruction.reclaim import reclaim, sweep_litter
from vault.errors import DamagedError, DestroyedError, DestructionRefusedError, NotFoundError
from vault.ids import DestructionId, new_id
from vault.law.retention import Cause
from vault.log.merkle import tree_hash
from vault.records.filing import complete_record
from vault.records.manifests import manifest_name
from vault.records.retrieval import read_record
from vault.status import status_of

__all__ = ["close_catalogues"]

VAULT = bytes(range(16))
LIST = DestructionId(new_id())


def ids(count: int) -> list[bytes]:
    return sorted(new_id().encode() for _ in range(count))


def test_the_destroyed_and_reclaimed_are_known_after_every_rebuild(quick_world: World, databases: Databases) -> None:
    """Not those that were withdrawn from a list, nor those that were lost with the catalogue."""
    due, freed, kept = (quick_world.file() for _ in range(3))
    abandoned, lost = quick_world.open(), quick_world.open()
    holds: list[str] = []

    def hold(step: str) -> None:
        if step == "stage" and not holds:
            holds.append(place_hold(quick_world.vault, [freed.id], "19-cv-1").hold_id)
            place_hold(quick_world.vault, [kept.id, lost.id], "19-cv-2")

    quick_world.advance(days=800)
    first = quick_world.sweep(hold)
    assert (first.listed, first.condemned, first.withdrawn) == (5, 2, 3)
    release_hold(quick_world.vault, holds[0], "counsel")
    second = quick_world.sweep()
    assert second.condemned == 1
    reclaim(quick_world.vault)
    by = {due.id: first.id, abandoned.id: first.id, freed.id: second.id}
    world = quick_world
    for turn in range(2):
        world, done = rebuilt(world, databases)
        assert (done.gone, done.unlisted, done.condemned, done.lost) == (3, [], 0, [])
        for record_id, destruction in by.items():
            with pytest.raises(DestroyedError) as reading:
                read_record(world.vault, world.reviewer, record_id, PURPOSE)
            with pytest.raises(DestroyedError) as filing:
                complete_record(world.vault, world.center, record_id)
            assert reading.value.destruction_id == filing.value.destruction_id == destruction
        world.assert_readable(kept)
        with pytest.raises(NotFoundError):
            read_record(world.vault, world.reviewer, lost.id, PURPOSE)
        # H7
        answers = place_hold(world.vault, [*by, lost.id, kept.id], f"21-cv-{turn}").answers
        assert {record_id: answers[record_id].rpartition(" ")[2] for record_id in by} == by
        assert answers[lost.id] == "unknown"
        assert status_of(world.vault).records["destroyed"] == 3


@on_sqlite
def test_a_manifest_that_comes_late_after_a_rebuild_is_litter(quick_world: World, databases: Databases) -> None:
    """A completion may be overtaken by sweep, reclaim and rebuild; its record passes for no living and no lost one."""
    record = quick_world.file()
    bucket = quick_world.vault.bucket
    assert isinstance(bucket, MemoryBucket)
    name = manifest_name(record.id)
    late = bucket.get(name, limit=10_000)
    quick_world.advance(days=800)
    quick_world.sweep()
    reclaim(quick_world.vault)
    world, _ = rebuilt(quick_world, databases)
    bucket.put(name, late)
    bucket.s3.ahead = timedelta(hours=25)
    assert sweep_litter(world.vault) == 1
    assert not list(bucket.versions(name))
    bucket.put(name, late)
    again, done = rebuilt(world, databases)
    assert (done.condemned, done.gone, done.lost) == (1, 0, [])
    again.assert_destroyed(record)
    reclaim(again.vault)
    assert not list(bucket.versions(name))
    again.assert_destroyed(record)


def test_a_list_that_is_missing_or_another_one_is_told_and_stops_nothing(
    quick_world: World, databases: Databases
) -> None:
    dead = [quick_world.file(), quick_world.file()]
    quick_world.advance(days=800)
    done = [quick_world.sweep()]
    dead.append(quick_world.file())
    kept = quick_world.file()
    place_hold(quick_world.vault, [kept.id], "19-cv-1")
    quick_world.advance(days=800)
    done.append(quick_world.sweep())
    reclaim(quick_world.vault)
    bucket = quick_world.vault.bucket
    bucket.delete_every_version([list_name(done[0].id)])
    bucket.put(list_name(done[1].id), bucket.get(list_name(done[1].id), limit=1000)[:-16] + bytes(16))
    world, told = rebuilt(quick_world, databases)
    assert (told.gone, told.unlisted) == (0, [one.id for one in done])
    world.assert_readable(kept)
    for record in dead:
        with pytest.raises(NotFoundError):
            read_record(world.vault, world.reviewer, record.id, PURPOSE)


@on_sqlite
def test_the_list_is_in_the_bucket_before_anybody_is_condemned(quick_world: World) -> None:
    """One that was not stored, or does not come back, stops the destruction; one that was undone is deleted."""
    record = quick_world.file()
    quick_world.advance(days=800)
    bucket = quick_world.vault.bucket
    assert isinstance(bucket, MemoryBucket)

    def spoil(call: str, when: str) -> None:
        for name, versions in bucket.s3.versions.items():
            if name.startswith(PREFIX) and (call, when) == ("put_object", "after"):
                versions[-1] = (versions[-1][0], b"something else", versions[-1][2])

    bucket.s3.around = spoil
    with pytest.raises(DamagedError, match="read back"):
        quick_world.sweep()
    bucket.s3.around = lambda _call, _when: None
    recover_destructions(quick_world.vault)
    quick_world.assert_readable(record)

    def die(step: str) -> None:
        if step == "condemn":
            raise Died

    with pytest.raises(Died):
        quick_world.sweep(die)
    stored = list(bucket.names(PREFIX))
    assert len(stored) == 2
    recover_destructions(quick_world.vault)
    quick_world.assert_readable(record)
    done = quick_world.sweep()
    quick_world.assert_destroyed(record)
    sweep_litter(quick_world.vault)
    assert set(bucket.names(PREFIX)) == {*stored, list_name(done.id)}, "not before they are a day old"
    bucket.s3.ahead += quick_world.clock.now() - bucket.s3.now()
    bucket.s3.versions = {
        name: [(version, content, at.replace(year=2020)) for version, content, at in versions]
        for name, versions in bucket.s3.versions.items()
    }
    sweep_litter(quick_world.vault)
    assert list(bucket.names(PREFIX)) == [list_name(done.id)]


@on_sqlite
def test_another_catalogue_than_the_list_was_frozen_in_is_refused(quick_world: World) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)

    frozen_one = frozen(quick_world.vault, Cause.SWEEP)
    quick_world.run("UPDATE destructions SET list_root = zeroblob(32)")
    with pytest.raises(DestructionRefusedError, match="frozen list"):
        carry_out(quick_world.vault, frozen_one)
    quick_world.assert_readable(record)
    assert not list(quick_world.vault.bucket.names(PREFIX))


@pytest.mark.parametrize("count", [1, 2, 1023, 5000])
def test_what_is_stored_is_read_again(count: int) -> None:
    bucket, listed = MemoryBucket(), ids(count)
    for _ in range(2):
        store_list(bucket, VAULT, LIST, listed)
    assert bucket.size(list_name(LIST)) == 39 + 16 * count
    assert fetch_list(bucket, VAULT, LIST, tree_hash(listed)) == listed


def test_what_is_not_the_list_is_refused() -> None:
    bucket, listed = MemoryBucket(), ids(3)
    assert fetch_list(bucket, VAULT, LIST, tree_hash(listed)) is None
    store_list(bucket, VAULT, LIST, listed)
    with pytest.raises(DamagedError):
        store_list(bucket, VAULT, LIST, listed[:2])
    with pytest.raises(DamagedError):
        fetch_list(bucket, bytes(16), LIST, tree_hash(listed))
    good = bucket.get(list_name(LIST), limit=1000)
    for at in range(len(good)):
        bucket.put(list_name(LIST), good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(DamagedError):
            fetch_list(bucket, VAULT, LIST, tree_hash(listed))
    for other in (good[:-1], good[:-16], good + bytes(16), good + b"\0", b""):
        bucket.put(list_name(LIST), other)
        with pytest.raises(DamagedError):
            fetch_list(bucket, VAULT, LIST, tree_hash(listed))


@pytest.mark.parametrize("places", [set(), {0}, {7, 8}, {9}, set(range(10))])
def test_places_are_packed_and_unpacked(places: set[int]) -> None:
    assert unpack_places(pack_places(places, 10), 10) == places


@pytest.mark.parametrize("text", ["?", "QUJD", pack_places({1}, 10)[:-8]])
def test_what_are_no_places_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        unpack_places(text, 10)
