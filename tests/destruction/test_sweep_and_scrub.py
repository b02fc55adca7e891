"""Sweeps and scrubs: who dies, who lives, and everything that may come in between."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import keystore
from keystore import CustodianError, Rewrite, StagedTree, TreeChange
from keystore.custodians import FileCustodian
from tests.vault.holding import place_hold, release_hold, release_order
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import Record, Sealed, World
from vault.catalogue.holding import end_parts, hold_records
from vault.destruction.carrying_out import carry_out, recover_destructions
from vault.destruction.frozen_lists import forecast, freeze_sweep
from vault.errors import BusyError, DestroyedError, DestructionRefusedError
from vault.holds import NothingToHoldError
from vault.ids import HoldId
from vault.law.retention import Cause
from vault.log.merkle import tree_hash
from vault.orders import use_order
from vault.records.filing import complete_record
from vault.trees import staging

STEPS = ["intent", "create master", "stage", "condemn", "fence", "destroy master", "record"]


def states(world: World) -> dict[str, int]:
    return {str(r[0]): r[1] for r in world.rows("SELECT state, COUNT(*) FROM record_states GROUP BY state")}


def test_a_sweep_destroys_what_is_due_and_nothing_else(world: World) -> None:
    due = [world.file() for _ in range(5)]
    world.advance(days=400)
    young = [world.file() for _ in range(2)]
    world.assert_readable(*due, *young)
    world.advance(days=400)
    receiving = world.open()
    told: list[str] = []
    old_masters = world.custodian.names()
    done = world.sweep(told.append)
    assert told == STEPS
    world.assert_destroyed(*due)
    world.assert_readable(*young, receiving)
    assert done.condemned == done.listed == 5
    assert done.list_root == tree_hash(sorted(r.id.encode() for r in due))
    assert done.not_listed == {}
    assert done.observed["old_master"]["refused_uses"] == 3
    assert done.old_master in old_masters
    assert done.new_master in world.custodian.names() - old_masters
    assert done.old_master not in world.custodian.names()
    world.assert_two_masters()


def test_a_record_is_swept_on_its_day_and_not_the_second_before(quick_world: World) -> None:
    record = quick_world.file()  # completed on 2026-01-05 in New York
    quick_world.clock.advance(until(quick_world, "2028-01-06T04:59:58+00:00"))
    assert quick_world.sweep().listed == 0
    quick_world.assert_readable(record)
    quick_world.advance(seconds=3)
    assert quick_world.sweep().listed == 1
    quick_world.assert_destroyed(record)


def until(world: World, instant: str) -> timedelta:
    return datetime.fromisoformat(instant) - world.clock.now()


def test_an_empty_sweep_says_zero_and_touches_no_key(quick_world: World) -> None:
    record = quick_world.file()
    masters = quick_world.custodian.names()
    done = quick_world.sweep()
    assert (done.listed, done.condemned, done.new_master) == (0, 0, None)
    assert done.completed_at is not None
    assert done.list_root == tree_hash([])
    assert quick_world.custodian.names() == masters
    quick_world.assert_readable(record)


def test_a_scrub_destroys_all_but_the_held_and_the_unfinished(world: World) -> None:
    records = [world.file() for _ in range(4)]
    held, receiving = world.file(), world.open()
    place_hold(world.vault, [held.id], "1-cv-1")
    assert forecast(world.vault, Cause.SCRUB).would_die == {"ordered": 4}
    assert forecast(world.vault, Cause.SCRUB).would_live == {"held": 1, "receiving": 1}
    done = world.scrub()
    assert done.not_listed == {"held": 1, "receiving": 1}
    world.assert_destroyed(*records)
    world.assert_readable(held, receiving)
    world.upload(receiving)
    world.complete(receiving)
    world.assert_readable(receiving)


def test_what_was_never_completed_is_given_up_and_called_abandoned(quick_world: World) -> None:
    left, worked_on, due = quick_world.open(), quick_world.open(), quick_world.file()
    quick_world.upload(left)
    quick_world.advance(hours=71)
    late = quick_world.open()
    assert quick_world.sweep().listed == 0
    quick_world.upload(worked_on)
    quick_world.complete(worked_on)
    quick_world.advance(hours=2)
    assert quick_world.sweep().condemned == 1
    quick_world.assert_destroyed(left)
    assert states(quick_world) == {"abandoned": 1, "receiving": 1, "retained": 2}
    quick_world.assert_readable(worked_on, due, late)
    with pytest.raises(DestroyedError):
        quick_world.complete(left)


def test_destroyed_is_called_condemned_until_the_master_is_gone(quick_world: World) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)
    seen: list[dict[str, int]] = []
    quick_world.sweep(lambda _: seen.append(states(quick_world)))
    assert seen[:4] == [{"retained": 1}] * 4
    assert seen[4:] == [{"condemned": 1}] * 3
    assert states(quick_world) == {"destroyed": 1}
    quick_world.assert_destroyed(record)


def test_a_second_scrub_spares_those_who_were_spared_and_ends_them_later(quick_world: World) -> None:
    """A cohort is condemned as a whole, its survivors one by one later."""
    records = [quick_world.file() for _ in range(6)]
    hold = place_hold(quick_world.vault, [records[0].id, records[1].id], "d").hold_id
    quick_world.scrub()
    quick_world.assert_readable(*records[:2])
    quick_world.scrub()
    quick_world.assert_readable(*records[:2])
    release_hold(quick_world.vault, hold, "counsel")
    place_hold(quick_world.vault, [records[1].id], "e")
    assert quick_world.scrub().condemned == 1
    quick_world.assert_destroyed(records[0], *records[2:])
    quick_world.assert_readable(records[1])
    quick_world.assert_two_masters()


# --- what comes in between ----------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["intent", "create master", "stage", "condemn"])
@pytest.mark.parametrize("cause", [Cause.SWEEP, Cause.SCRUB])
def test_a_hold_that_commits_before_condemnation_withdraws(quick_world: World, step: str, cause: Cause) -> None:
    dead, saved = quick_world.file(), quick_world.file()
    quick_world.advance(days=800)

    def hold(now: str) -> None:
        if now == step and not quick_world.rows("SELECT 1 FROM holds"):
            place_hold(quick_world.vault, [saved.id], "late-1")

    done = quick_world.destroy(cause, hold)
    assert (done.listed, done.condemned, done.withdrawn) == (2, 1, 1)
    quick_world.assert_destroyed(dead)
    quick_world.assert_readable(saved)
    quick_world.assert_two_masters()


@pytest.mark.parametrize("step", ["fence", "destroy master", "record"])
def test_a_hold_after_condemnation_is_told_so(quick_world: World, step: str) -> None:
    dead, other = quick_world.file(), quick_world.file()
    quick_world.advance(days=700)
    young = quick_world.file()
    quick_world.advance(days=100)
    answers: list[dict[str, str]] = []

    def hold(now: str) -> None:
        if now == step:
            answers.append(place_hold(quick_world.vault, [dead.id, young.id], "late-2").answers)

    done = quick_world.sweep(hold)
    assert answers == [{dead.id: f"destroyed on 2028-03-15 by {done.id}", young.id: "held"}]
    quick_world.assert_destroyed(dead, other)
    quick_world.scrub()
    quick_world.assert_readable(young)


def test_a_hold_placed_and_released_again_during_a_destruction_never_leaves_a_key_behind(quick_world: World) -> None:
    """A record that one staging spared has its key under the new master, so it must not die in the next staging."""
    first, second = quick_world.file(), quick_world.file()
    quick_world.advance(days=800)
    sealed = Sealed()
    turns: list[str] = []
    held: list[HoldId] = []

    def end_without_destroying_copies() -> None:
        """As no release does, which takes its turn after the sweep."""
        (hold_id,) = held
        order, now = release_order(quick_world.vault, hold_id), quick_world.clock.now()
        with quick_world.vault.catalogue.write() as tx:
            use_order(tx, order.id, hold_id, now)
            tx.execute(sa.update(hold_records).values(ends_at=now, ending_order=order.id))
            assert end_parts(tx, hold_id, now, now)

    def meddle(step: str) -> None:
        sealed.gather(quick_world)
        if step == "stage":
            turns.append(step)
            if len(turns) == 1:
                hold_id = place_hold(quick_world.vault, [second.id], "short").hold_id
                assert hold_id is not None
                held.append(hold_id)
            if len(turns) == 2:
                end_without_destroying_copies()
        if step == "condemn" and len(turns) == 1:
            # Something else moves the tree, so that it is staged again.
            quick_world.advance(days=30)
            quick_world.open()

    quick_world.sweep(meddle)
    assert len(turns) >= 2
    bucket = quick_world.vault.bucket
    assert isinstance(bucket, MemoryBucket)
    sealed.gather(quick_world, [c for name, c in bucket.s3.ever if name.startswith("keystore/active")])
    sealed.roots = {root for root in sealed.roots if root.tree == "active"}
    reachable = sealed.reachable(quick_world)
    for record in (first, second):
        assert (quick_world.place(record) in reachable) is quick_world.is_readable(record)
    quick_world.assert_destroyed(first)


def test_holds_racing_in_threads_end_in_one_of_the_two_promises(new_world: Callable[[], World]) -> None:
    outcomes: set[bool] = set()
    for turn in range(25):
        world = new_world()
        victim, other = world.file(), world.file()
        world.advance(days=800)
        answers: list[str] = []
        begin = threading.Event()

        def hold(
            world: World = world, victim: Record = victim, answers: list[str] = answers, begin: threading.Event = begin
        ) -> None:
            begin.wait()
            try:
                answers.append(place_hold(world.vault, [victim.id], "race").answers[victim.id])
            except NothingToHoldError as late:
                answers.append(late.answers[victim.id])

        thread = threading.Thread(target=hold)
        thread.start()
        step = STEPS[turn % 5]
        world.sweep(lambda now, step=step, begin=begin: begin.set() if now == step else None)  # type: ignore[misc]
        begin.set()
        thread.join()
        held = answers == ["held"]
        outcomes.add(held)
        world.assert_destroyed(other)
        if held:
            world.assert_readable(victim)
            world.scrub()
            world.assert_readable(victim)
        else:
            assert answers[0].startswith("destroyed on 20")
            world.assert_destroyed(victim)
        world.assert_two_masters()
    assert outcomes == {True, False}, "the race was never lost, or never won: it tests nothing"


@pytest.mark.parametrize("step", ["intent", "create master", "stage", "condemn", "fence"])
def test_filing_goes_on_during_a_scrub_and_loses_nothing(quick_world: World, step: str) -> None:
    dead = quick_world.file()
    receiving = quick_world.open()
    quick_world.upload(receiving)
    new: list[Record] = []

    def file(now: str) -> None:
        if now == step and not new:
            new.append(quick_world.file())
            quick_world.upload(receiving, "second.png")
            quick_world.complete(receiving)

    done = quick_world.scrub(file)
    assert done.listed == 1
    quick_world.assert_destroyed(dead)
    quick_world.assert_readable(*new, receiving)
    quick_world.upload(quick_world.open())
    assert quick_world.scrub().condemned == 2
    quick_world.assert_destroyed(*new, receiving)


def test_completion_during_staging_takes_a_record_off_the_list_of_the_given_up(quick_world: World) -> None:
    slow, left = quick_world.open(), quick_world.open()
    quick_world.upload(slow)
    quick_world.advance(hours=80)

    def complete(now: str) -> None:
        if now == "condemn":
            complete_record(quick_world.vault, quick_world.center, slow.id)

    assert quick_world.sweep(complete).withdrawn == 1
    quick_world.assert_readable(slow)
    quick_world.assert_destroyed(left)


def test_a_cohort_opened_during_staging_forces_a_new_staging(quick_world: World) -> None:
    dead = quick_world.file()
    quick_world.advance(days=800)
    told: list[str] = []
    new: list[Record] = []

    def open_cohort(now: str) -> None:
        told.append(now)
        if now == "condemn" and not new:
            new.append(quick_world.file())

    quick_world.sweep(open_cohort)
    assert told.count("stage") == 2
    quick_world.assert_destroyed(dead)
    quick_world.assert_readable(*new)


def test_a_world_that_never_rests_stops_the_destruction_and_nothing_died(quick_world: World) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)
    masters = quick_world.custodian.names()

    def disturb(now: str) -> None:
        if now == "condemn":
            quick_world.advance(days=30)
            quick_world.open()

    with pytest.raises(BusyError, match="nothing was destroyed"):
        quick_world.sweep(disturb)
    assert quick_world.custodian.names() == masters
    quick_world.assert_readable(record)
    quick_world.sweep()
    quick_world.assert_destroyed(record)


def test_a_second_destruction_at_once_is_refused(quick_world: World) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)
    refused: list[str] = []

    def again(now: str) -> None:
        vault = quick_world.vault
        with pytest.raises(DestructionRefusedError):
            freeze_sweep(vault)
        with pytest.raises(BusyError):
            recover_destructions(vault)
        with pytest.raises(BusyError):
            carry_out(vault, quick_world.value("SELECT id FROM destructions"))
        refused.append(now)

    quick_world.sweep(again)
    assert refused == STEPS
    quick_world.assert_destroyed(record)


def test_a_list_that_was_undone_is_never_carried_out(quick_world: World) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)
    frozen = freeze_sweep(quick_world.vault)
    assert recover_destructions(quick_world.vault).undone == [frozen]
    with pytest.raises(DestructionRefusedError, match="undone"):
        carry_out(quick_world.vault, frozen)
    quick_world.assert_readable(record)


def test_carrying_out_twice_answers_with_the_first(quick_world: World) -> None:
    quick_world.file()
    quick_world.advance(days=800)
    done = quick_world.sweep()
    masters = quick_world.custodian.names()
    assert carry_out(quick_world.vault, done.id) == done
    assert quick_world.custodian.names() == masters


def test_the_clock_set_back_after_freezing_withdraws_what_is_no_longer_due(quick_world: World) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)

    def back(now: str) -> None:
        if now == "stage":
            quick_world.advance(days=-700)
            quick_world.run("UPDATE cohorts SET revision = revision + 1")

    assert quick_world.sweep(back).withdrawn == 1
    quick_world.assert_readable(record)


# --- the key-graph check ------------------------------------------------------------------------------

Sabotage = Callable[[TreeChange], TreeChange]


def forget_a_survivor(change: TreeChange) -> TreeChange:
    rewritten = {
        cohort: Rewrite(bytes(byte & ~0b1110 if at == 0 else byte for at, byte in enumerate(rewrite.keep)))
        for cohort, rewrite in change.rewritten.items()
    }
    return replace(change, rewritten=rewritten)


def keep_the_condemned(change: TreeChange) -> TreeChange:
    return replace(change, rewritten={cohort: Rewrite(b"\xff" * 128) for cohort in change.rewritten})


def rewrite_nothing(change: TreeChange) -> TreeChange:
    return TreeChange()


def drop_everything(change: TreeChange) -> TreeChange:
    return TreeChange(dropped=[*change.rewritten, *change.dropped])


@pytest.mark.parametrize("sabotage", [forget_a_survivor, keep_the_condemned, rewrite_nothing, drop_everything])
def test_a_wrong_staging_is_refused_before_anything_dies(
    quick_world: World, monkeypatch: pytest.MonkeyPatch, sabotage: Sabotage
) -> None:
    saved, dead, other = quick_world.file(), quick_world.file(), quick_world.file()
    place_hold(quick_world.vault, [saved.id], "d")
    quick_world.advance(days=800)
    masters = quick_world.custodian.names()
    version = quick_world.rows("SELECT tree, version FROM trees ORDER BY tree")
    honest = keystore.stage

    def dishonest(vault_id: bytes, base: object, change: TreeChange, *rest: object, **named: object) -> StagedTree:
        return honest(vault_id, base, sabotage(change), *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(staging, "stage", dishonest)
    with pytest.raises(DestructionRefusedError, match="before anything died"):
        quick_world.sweep()
    assert quick_world.custodian.names() == masters
    assert quick_world.rows("SELECT tree, version FROM trees ORDER BY tree") == version
    quick_world.assert_readable(saved, dead, other)
    quick_world.assert_two_masters()
    monkeypatch.undo()
    quick_world.sweep()
    quick_world.assert_destroyed(dead, other)
    quick_world.assert_readable(saved)


def test_a_mirror_that_comes_back_changed_stops_the_destruction(quick_world: World) -> None:
    saved, dead = quick_world.file(), quick_world.file()
    place_hold(quick_world.vault, [saved.id], "d")
    quick_world.advance(days=800)
    bucket = quick_world.vault.bucket
    assert isinstance(bucket, MemoryBucket)
    s3 = bucket.s3

    def flip(call: str, when: str) -> None:
        if (call, when) == ("put_object", "after"):
            name = max(name for name in s3.versions if name.startswith("keystore/active"))
            version, content, at = s3.versions[name][-1]
            assert content
            s3.versions[name][-1] = (version, content[:-1] + bytes([content[-1] ^ 1]), at)

    s3.around = flip
    with pytest.raises(DestructionRefusedError, match="mirror"):
        quick_world.sweep()
    s3.around = lambda _call, _when: None
    quick_world.assert_readable(saved, dead)
    quick_world.assert_two_masters()


def test_a_master_that_does_not_die_leaves_the_destruction_unfinished(
    quick_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)
    undead = quick_world.value("SELECT master FROM roots WHERE tree = 'active' AND version = 1")
    real = FileCustodian.destroy
    monkeypatch.setattr(FileCustodian, "destroy", lambda _self, _name: None)
    with pytest.raises(CustodianError, match="still has the master"):
        quick_world.sweep()
    assert undead in quick_world.custodian.names()
    assert states(quick_world) == {"condemned": 1}
    monkeypatch.setattr(FileCustodian, "destroy", real)
    assert len(recover_destructions(quick_world.vault).finished) == 1
    assert undead not in quick_world.custodian.names()
    assert states(quick_world) == {"destroyed": 1}
    quick_world.assert_destroyed(record)


# --- seizure, small -----------------------------------------------------------------------------------


def snapshot(world: World, sealed: Sealed) -> None:
    bucket = world.vault.bucket
    assert isinstance(bucket, MemoryBucket)
    sealed.gather(world, [content for name, content in bucket.s3.ever if name.startswith("keystore/")])


@pytest.mark.parametrize("cause", [Cause.SWEEP, Cause.SCRUB])
def test_after_completion_nothing_ever_written_opens_the_destroyed(
    quick_world: World, tmp_path: Path, cause: Cause
) -> None:
    sealed = Sealed()
    dead = [quick_world.file() for _ in range(4)]
    snapshot(quick_world, sealed)
    held = quick_world.file()
    once_held = quick_world.file()
    place_hold(quick_world.vault, [held.id], "d")
    hold = place_hold(quick_world.vault, [once_held.id], "e").hold_id
    snapshot(quick_world, sealed)
    release_hold(quick_world.vault, hold, "counsel", lambda _: snapshot(quick_world, sealed))
    quick_world.advance(days=800)
    young = quick_world.open()
    shutil.copytree(quick_world.folder / "keys", tmp_path / "stolen")
    stolen = FileCustodian(tmp_path / "stolen", away_from=quick_world.folder / "home")
    done = quick_world.destroy(cause, lambda _: snapshot(quick_world, sealed))
    snapshot(quick_world, sealed)
    places = {quick_world.place(record) for record in [*dead, once_held]}
    assert done.condemned == 5
    reachable = sealed.reachable(quick_world)
    assert not places & reachable
    assert {quick_world.place(held), quick_world.place(young)} <= reachable
    # The positive control: with the old masters, copied before, all of it opens.
    assert places <= sealed.reachable(quick_world, stolen)


def test_the_whole_life_of_a_vault_leaves_nothing_behind(quick_world: World) -> None:
    """Rounds of filing, holding, releasing and destroying; every blob ever written is tried with every live master."""
    sealed = Sealed()
    gone: set[tuple[int, int]] = set()
    holds: list[str] = []
    for turn in range(6):
        records = [quick_world.file() for _ in range(3)]
        holds.append(place_hold(quick_world.vault, [records[0].id], f"r-{turn}").hold_id)
        snapshot(quick_world, sealed)
        quick_world.advance(days=250)
        if turn % 2:
            release_hold(quick_world.vault, holds.pop(0), "counsel", lambda _: snapshot(quick_world, sealed))
        (quick_world.scrub if turn == 4 else quick_world.sweep)(lambda _: snapshot(quick_world, sealed))
        snapshot(quick_world, sealed)
        reachable = sealed.reachable(quick_world)
        for record in quick_world.records:
            readable = quick_world.is_readable(record)
            place = quick_world.place(record)
            assert (place in reachable) is readable
            assert not (readable and place in gone)
            if not readable:
                gone.add(place)
    assert len(gone) > 8
