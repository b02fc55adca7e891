"""Every boundary of every operation that changes something: the process dies there, or a service's answer is lost.

Afterwards `recover` runs, as at every start, and one of the two promises holds for every record.

On SQLite that is every boundary. On PostgreSQL it is the end of every transaction: who dies between two of them leaves
the database as it was before the second, and what is done then about bucket and custodian knows no database.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.crashes.faults import Died, Fuse, arm, disarm
from tests.people import TERMS, submitted
from tests.vault.holding import place_hold, release_hold, release_order
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import Record, Sealed, World, png
from vault.destruction import releasing
from vault.destruction.carrying_out import carry_out, recover_destructions
from vault.destruction.drafting import draft_scrub
from vault.destruction.frozen_lists import freeze_ordered
from vault.errors import DestructionRefusedError, KeystoreError, VaultError
from vault.holds import copy_held_keys
from vault.objects import ObjectStoreError
from vault.records.filing import open_record

POINTS_LIMIT = 150
COMMITS = frozenset({"commit", "committed"})
ANSWERS = (VaultError, KeystoreError, ObjectStoreError)


class Town:
    """The scene: two due records, a due one that is held, a young one, an unfinished one, and one given up."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.given_up, self.held, *self.due = world.open(), world.file(), world.file(), world.file()
        world.advance(days=800)
        self.young, self.receiving = world.file(), world.open()
        world.upload(self.receiving)
        self.hold = place_hold(world.vault, [self.held.id], "19-cv-1").hold_id
        bucket = world.vault.bucket
        assert isinstance(bucket, MemoryBucket)
        self.s3 = bucket.s3
        # Signed and handed in before, so that what is cut off is what the orders are for.
        self.release = release_order(world.vault, str(self.hold)).id
        self.scrub = submitted(world.vault, draft_scrub(world.vault, TERMS).order).id
        self.sealed = Sealed()
        self.sealed.gather(world)

    @property
    def counted(self) -> frozenset[str] | None:
        """The boundaries of interest; None for all."""
        return COMMITS if self.world.databases.kind == "postgresql" else None

    def all_of(self, boundaries: set[str]) -> set[str]:
        """Those of them that are of interest."""
        return boundaries if self.counted is None else boundaries & self.counted

    def again(self, folder: Path) -> World:
        return self.world.copy(folder, MemoryBucket(self.s3.clone()))


@pytest.fixture
def town(quick_world: World) -> Town:
    return Town(quick_world)


def twin(world: World, record: Record) -> Record:
    return next(r for r in world.records if r.id == record.id)


def recover(world: World) -> None:
    recover_destructions(world.vault)
    copy_held_keys(world.vault)


def each_boundary(
    town: Town,
    folder: Path,
    operation: Callable[[World, Fuse], object],
    judge: Callable[[World, str], None],
    *,
    dies: bool,
) -> set[str]:
    """Run the operation until it gets through, with a fault at the first, second, third ... boundary."""
    seen: set[str] = set()
    for at in range(1, POINTS_LIMIT):
        place = folder / f"{at}"
        world = town.again(place)
        fuse = Fuse(at, dies=dies, only=town.counted)
        arm(world, fuse)
        if dies:
            with suppress(Died):
                operation(world, fuse)
        else:
            with suppress(*ANSWERS):
                operation(world, fuse)
        disarm(world)
        recover(world)
        where = f"{fuse.blown} (boundary {at})"
        judge(world, where)
        world.assert_two_masters()
        assert world.value("SELECT COUNT(*) FROM destructions WHERE completed_at IS NULL AND abandoned_at IS NULL") == 0
        world.vault.catalogue.close()
        shutil.rmtree(place)
        if fuse.blown is None:
            return seen
        seen.add(fuse.blown)
    pytest.fail("the operation has more boundaries than the limit")


def judge_destruction(town: Town, doomed: list[Record], given_up: list[Record]) -> Callable[[World, str], None]:
    def judge(world: World, where: str) -> None:
        everybody = {r.id: r for r in world.records}
        dead = [everybody[r.id] for r in doomed]
        others = [r for r in world.records if r not in dead and r.id not in {g.id for g in given_up}]
        world.assert_readable(*others)
        alive = [world.is_readable(record) for record in dead]
        assert all(alive) or not any(alive), f"half of the list is gone: {where}"
        town_seen = Sealed(set(town.sealed.roots), set(town.sealed.pages))
        bucket = world.vault.bucket
        assert isinstance(bucket, MemoryBucket)
        packs = [content for name, content in bucket.s3.ever if name.startswith("keystore/")]
        town_seen.gather(world, packs)
        reachable = town_seen.reachable(world)
        assert {world.place(record) for record in others} <= reachable
        for record in dead:
            # Not gone by the look of it and reachable, nor readable and unreachable.
            assert (world.place(record) in reachable) is all(alive), where

    return judge


def judge_release(town: Town, outcomes: set[bool]) -> Callable[[World, str], None]:
    def judge(world: World, where: str) -> None:
        world.assert_readable(*(r for r in world.records if r.id != town.given_up.id))
        released = world.value("SELECT released_at IS NOT NULL FROM holds")
        outcomes.add(bool(released))
        world.sweep()
        held = twin(world, town.held)
        if released:
            world.assert_destroyed(held)
            sealed = Sealed(set(town.sealed.roots), set(town.sealed.pages))
            bucket = world.vault.bucket
            assert isinstance(bucket, MemoryBucket)
            sealed.gather(world, [c for name, c in bucket.s3.ever if name.startswith("keystore/")])
            assert world.place(held) not in sealed.reachable(world), where
        else:
            world.assert_readable(held)

    return judge


def judge_hold(town: Town, docket: str, acknowledged: Callable[[], bool]) -> Callable[[World, str], None]:
    """For a hold on the first of the due."""

    def judge(world: World, where: str) -> None:
        committed = world.value(f"SELECT COUNT(*) FROM holds WHERE docket = '{docket}'") == 1
        assert committed or not acknowledged(), where
        world.sweep()
        wanted, other = (twin(world, record) for record in town.due)
        world.assert_destroyed(other)
        if committed:
            world.assert_readable(wanted)
            cohort, slot = world.place(wanted)
            live = world.value(
                f"SELECT live FROM sealed_pages NATURAL JOIN tree_pages WHERE tree = 'held' AND cohort_id = {cohort}"
            )
            assert live[slot // 8] >> slot % 8 & 1, "the key was not copied into the held tree"
        else:
            world.assert_destroyed(wanted)

    return judge


def judge_filing(town: Town, content: bytes) -> Callable[[World, str], None]:
    """For a record that was opened and may have been given `new.png`, and been completed."""

    def judge(world: World, where: str) -> None:
        before = len(town.world.records)
        known = [r for r in world.records if r.id != town.given_up.id]
        for record in known:
            # What was acknowledged is in `records`; what was not may have reached the vault all the same.
            view_state = world.value(f"SELECT state FROM record_states WHERE id = '{record.id}'")
            assert view_state in ("receiving", "retained"), where
        world.assert_readable(*known[: before - 1])
        for record in known[before - 1 :]:
            stored = world.value(f"SELECT COUNT(*) FROM documents WHERE record_id = '{record.id}'")
            if stored:
                record.documents["new.png"] = content
            world.assert_readable(record)
            # A repetition of everything ends well.
            world.upload(record, "new.png", content)
            world.complete(record)
            world.assert_readable(record)

    return judge


BOUNDARIES = {"commit", "wrap", "unwrap", "put_object", "get_object", "create", "destroy", "describe"}


@pytest.mark.parametrize("dies", [True, False], ids=["dies", "answer-lost"])
@pytest.mark.parametrize("kind", ["sweep", "scrub"])
def test_a_destruction_cut_off_anywhere_is_undone_or_carried_out(
    town: Town, scratch: Path, kind: str, *, dies: bool
) -> None:
    doomed = town.due if kind == "sweep" else [*town.due, town.young]

    def operation(world: World, fuse: Fuse) -> None:
        if kind == "sweep":
            world.sweep(fuse.step)
        else:
            carry_out(world.vault, freeze_ordered(world.vault, town.scrub), fuse.step)

    seen = each_boundary(
        town, scratch / "points", operation, judge_destruction(town, doomed, [town.given_up]), dies=dies
    )
    assert seen >= town.all_of(BOUNDARIES)
    if dies:
        steps = ("intent", "create master", "stage", "condemn", "fence", "destroy master", "record")
        assert seen >= town.all_of({f"step {name}" for name in steps})


@pytest.mark.parametrize("dies", [True, False], ids=["dies", "answer-lost"])
def test_a_release_cut_off_anywhere_never_loses_the_record(town: Town, scratch: Path, *, dies: bool) -> None:
    outcomes: set[bool] = set()

    def operation(world: World, fuse: Fuse) -> None:
        releasing.release_hold(world.vault, town.hold, town.release, fuse.step)

    seen = each_boundary(town, scratch / "points", operation, judge_release(town, outcomes), dies=dies)
    assert seen >= town.all_of(BOUNDARIES)
    assert outcomes == {True, False}


@pytest.mark.parametrize("dies", [True, False], ids=["dies", "answer-lost"])
def test_a_hold_cut_off_anywhere_protects_if_it_was_acknowledged(town: Town, scratch: Path, *, dies: bool) -> None:
    acknowledged: list[bool] = []

    def operation(world: World, fuse: Fuse) -> None:
        acknowledged.append(False)
        place_hold(world.vault, [town.due[0].id], "20-cv-2")
        acknowledged[-1] = True

    judge = judge_hold(town, "20-cv-2", lambda: acknowledged[-1])
    seen = each_boundary(town, scratch / "points", operation, judge, dies=dies)
    assert seen >= town.all_of({"commit", "wrap", "put_object"})
    assert acknowledged[-1]


@pytest.mark.parametrize("dies", [True, False], ids=["dies", "answer-lost"])
def test_filing_cut_off_anywhere_leaves_what_was_acknowledged(town: Town, scratch: Path, *, dies: bool) -> None:
    content = png(9000)

    def operation(world: World, _: Fuse) -> None:
        # Far from the other dates, so that a cohort must be opened.
        record = world.open(name="A. New")
        world.upload(record, "new.png", content)
        world.complete(record)

    town.world.advance(days=100)
    seen = each_boundary(town, scratch / "points", operation, judge_filing(town, content), dies=dies)
    assert seen >= town.all_of({"commit", "wrap", "unwrap", "put_object"})


def test_an_unfinished_destruction_blocks_the_next_until_recovered(town: Town) -> None:
    world = town.world
    arm(world, Fuse(12, dies=True))
    with pytest.raises(Died):
        world.sweep()
    disarm(world)
    masters = world.custodian.names()
    with pytest.raises(DestructionRefusedError, match="unfinished"):
        world.sweep()
    with pytest.raises(DestructionRefusedError, match="unfinished"):
        release_hold(world.vault, town.hold, "counsel")
    assert world.custodian.names() == masters
    recover(world)
    world.sweep()
    world.assert_destroyed(*town.due)
    world.assert_readable(town.young, town.held)


def test_recovery_itself_may_be_cut_off_anywhere(town: Town, scratch: Path) -> None:
    for first in (8, 14, 20, 26):
        for second in range(1, 25):
            world = town.again(scratch / f"{first}-{second}")
            arm(world, Fuse(first, dies=True))
            with suppress(Died):
                world.sweep()
            disarm(world)
            fuse = Fuse(second, dies=True, only=town.counted)
            arm(world, fuse)
            with suppress(Died):
                recover(world)
            disarm(world)
            recover(world)
            judge_destruction(town, town.due, [town.given_up])(world, f"{first}, then {second}")
            world.assert_two_masters()
            world.vault.catalogue.close()
            if fuse.blown is None:
                break


def test_an_open_request_whose_answer_was_lost_is_repeated(town: Town, scratch: Path) -> None:
    """The repetition gives the same record, at every boundary, and never a second one."""
    town.world.advance(days=300)
    for at in range(1, 40):
        world = town.again(scratch / f"{at}")
        fuse = Fuse(at, dies=False, only=town.counted)
        arm(world, fuse)

        def ask(world: World = world) -> str:
            return open_record(
                world.vault, world.center, idempotency_key="k", applicant={"n": "x"}, body=b"b"
            ).record_id

        with suppress(*ANSWERS):
            ask()
        disarm(world)
        assert ask() == ask()
        assert world.value("SELECT COUNT(*) FROM records") == len(world.records) + 1
        world.vault.catalogue.close()
        if fuse.blown is None:
            return
    pytest.fail("more boundaries than the limit")
