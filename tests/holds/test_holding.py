"""Holds: in force on commit, on any number of grounds, released through the one function only."""

from dataclasses import replace

import pytest

from keystore import Custodian
from tests.vault.holding import place_hold, release_hold
from tests.vault.memory_s3 import MemoryBucket, refused
from tests.vault.world import Record, World
from vault.errors import DestructionRefusedError, HoldRefusedError, NotFoundError, RuleBrokenError
from vault.holds import NothingToHoldError, copy_held_keys, list_holds
from vault.ids import new_id
from vault.keys.custody import Custody
from vault.objects import ObjectStoreUnavailable


def in_held_tree(world: World, record: Record) -> bool:
    cohort, slot = world.place(record)
    rows = world.rows(
        f"SELECT live FROM sealed_pages NATURAL JOIN tree_pages WHERE tree = 'held' AND cohort_id = {cohort}"
    )
    return bool(rows) and bool(rows[0][0][slot // 8] >> slot % 8 & 1)


def test_a_hold_protects_and_its_release_ends_that(world: World) -> None:
    held, free = world.file(), world.file()
    placed = place_hold(world.vault, [held.id], "2026-cv-17")
    assert (placed.answers, placed.repeated) == ({held.id: "held"}, False)
    assert in_held_tree(world, held)
    assert not in_held_tree(world, free)
    world.advance(days=800)
    world.sweep()
    world.assert_readable(held)
    world.assert_destroyed(free)
    done = release_hold(world.vault, placed.hold_id, "counsel")
    assert (done.kind, done.condemned) == ("release", 1)
    assert not in_held_tree(world, held)
    world.assert_readable(held)
    world.assert_two_masters()
    world.sweep()
    world.assert_destroyed(held)


def test_the_same_docket_again_adds_to_the_same_hold(quick_world: World) -> None:
    one, two = quick_world.file(), quick_world.file()
    first = place_hold(quick_world.vault, [one.id], "d-1")
    again = place_hold(quick_world.vault, [one.id], "d-1")
    wider = place_hold(quick_world.vault, [one.id, two.id, two.id], "d-1")
    assert first.hold_id == again.hold_id == wider.hold_id
    assert (first.repeated, again.repeated, wider.repeated) == (False, True, False)
    assert [(line.docket, line.records) for line in list_holds(quick_world.vault)] == [("d-1", 2)]
    release_hold(quick_world.vault, first.hold_id, "counsel")
    assert list_holds(quick_world.vault) == []
    assert place_hold(quick_world.vault, [one.id], "d-1").hold_id != first.hold_id
    assert len(list_holds(quick_world.vault, all_of_them=True)) == 2


def test_unknown_and_destroyed_ids_are_answered_one_by_one(quick_world: World) -> None:
    dead = quick_world.file()
    quick_world.advance(days=800)
    done = quick_world.sweep()
    living = quick_world.file()
    stranger = new_id()
    asked = [dead.id, stranger, "Jane Doe", "' OR 1=1 --", "", living.id]
    answers = place_hold(quick_world.vault, asked, "d").answers
    assert answers == {
        dead.id: f"destroyed on 2028-03-15 by {done.id}",
        stranger: "unknown",
        "Jane Doe": "unknown",
        "' OR 1=1 --": "unknown",
        "": "unknown",
        living.id: "held",
    }
    assert [line.records for line in list_holds(quick_world.vault)] == [1]


def test_a_hold_on_nobody_is_not_placed(quick_world: World) -> None:
    with pytest.raises(NothingToHoldError) as failure:
        place_hold(quick_world.vault, [new_id()], "d")
    assert list(failure.value.answers.values()) == ["unknown"]
    with pytest.raises(NothingToHoldError):
        place_hold(quick_world.vault, [], "d")
    assert quick_world.value("SELECT COUNT(*) FROM holds") == 0


@pytest.mark.parametrize("docket", ["", "Jane Doe", "x" * 61, "-1", "a\n", "é", "a'b", "a_b"])
def test_a_docket_has_no_room_for_names(quick_world: World, docket: str) -> None:
    record = quick_world.file()
    with pytest.raises(HoldRefusedError, match="docket"):
        place_hold(quick_world.vault, [record.id], docket)
    assert quick_world.value("SELECT COUNT(*) FROM holds") == 0


@pytest.mark.parametrize("docket", ["1", "x" * 60, "18-CV-2917/a.b:c"])
def test_dockets_that_courts_use(quick_world: World, docket: str) -> None:
    assert place_hold(quick_world.vault, [quick_world.file().id], docket).hold_id


def test_too_many_records_are_refused_before_anything_is_looked_up(quick_world: World) -> None:
    with pytest.raises(HoldRefusedError, match="100000"):
        place_hold(quick_world.vault, ["x"] * 100_001, "d")


def test_with_two_holds_the_release_of_one_protects_still(quick_world: World) -> None:
    both, one = quick_world.file(), quick_world.file()
    first = place_hold(quick_world.vault, [both.id, one.id], "first").hold_id
    second = place_hold(quick_world.vault, [both.id], "second").hold_id
    quick_world.advance(days=800)
    assert release_hold(quick_world.vault, first, "counsel").condemned == 1
    assert in_held_tree(quick_world, both)
    assert not in_held_tree(quick_world, one)
    quick_world.sweep()
    quick_world.assert_readable(both)
    quick_world.assert_destroyed(one)
    release_hold(quick_world.vault, second, "counsel")
    assert not in_held_tree(quick_world, both)
    quick_world.sweep()
    quick_world.assert_destroyed(both)


def test_a_hold_placed_during_a_release_keeps_the_copy(quick_world: World) -> None:
    record, other = quick_world.file(), quick_world.file()
    first = place_hold(quick_world.vault, [record.id, other.id], "first").hold_id
    for step in ("stage", "condemn"):
        docket = f"again-{step}"

        def hold(now: str, step: str = step, docket: str = docket) -> None:
            if now == step and docket not in {line.docket for line in list_holds(quick_world.vault)}:
                place_hold(quick_world.vault, [record.id], docket)

        done = release_hold(quick_world.vault, first, "counsel", hold)
        assert done.completed_at is not None
        assert in_held_tree(quick_world, record)
        first = next(line.id for line in list_holds(quick_world.vault))
    quick_world.scrub()
    quick_world.assert_readable(record)
    quick_world.assert_destroyed(other)


def test_a_release_is_asked_for_by_a_hold_in_force(quick_world: World) -> None:
    hold = place_hold(quick_world.vault, [quick_world.file().id], "d").hold_id
    release_hold(quick_world.vault, hold, "counsel")
    masters = quick_world.custodian.names()
    for wrong in (hold, new_id(), "", "d"):
        with pytest.raises(NotFoundError):
            release_hold(quick_world.vault, wrong, "counsel")
    assert quick_world.custodian.names() == masters


def test_a_copy_that_was_cut_off_protects_meanwhile_and_is_made_good(quick_world: World) -> None:
    held, free = quick_world.file(), quick_world.file()
    bucket = quick_world.vault.bucket
    assert isinstance(bucket, MemoryBucket)

    def down(call: str, when: str) -> None:
        if (call, when) == ("put_object", "before"):
            raise refused("ServiceUnavailable", 503)

    bucket.s3.around = down
    with pytest.raises(ObjectStoreUnavailable):
        place_hold(quick_world.vault, [held.id], "d")
    bucket.s3.around = lambda _call, _when: None
    assert not in_held_tree(quick_world, held)
    quick_world.advance(days=800)
    quick_world.sweep()
    quick_world.assert_destroyed(free)
    quick_world.assert_readable(held)
    assert copy_held_keys(quick_world.vault) == 1
    assert copy_held_keys(quick_world.vault) == 0
    assert in_held_tree(quick_world, held)
    quick_world.scrub()
    quick_world.assert_readable(held)


def lose_active_key(world: World, record: Record) -> None:
    """As if the active tree had been rebuilt without this cohort."""
    cohort, _ = world.place(record)
    world.run(f"DELETE FROM tree_pages WHERE tree = 'active' AND cohort_id = {cohort}")


def test_what_is_only_in_the_held_tree_is_readable_and_cannot_be_released(quick_world: World) -> None:
    record = quick_world.file()
    hold = place_hold(quick_world.vault, [record.id], "d").hold_id
    lose_active_key(quick_world, record)
    quick_world.assert_readable(record)
    masters = quick_world.custodian.names()
    with pytest.raises(DestructionRefusedError, match="held tree only"):
        release_hold(quick_world.vault, hold, "counsel")
    assert quick_world.custodian.names() == masters
    assert [line.id for line in list_holds(quick_world.vault)] == [hold]
    quick_world.assert_readable(record)


def test_a_condemned_record_cannot_be_held_not_even_past_the_code(quick_world: World) -> None:
    record, other = quick_world.file(), quick_world.file()
    hold = place_hold(quick_world.vault, [other.id], "d").hold_id
    quick_world.advance(days=800)
    quick_world.sweep()
    cohort, _ = quick_world.place(record)
    with pytest.raises(RuleBrokenError):
        quick_world.run(
            f"INSERT INTO hold_records (hold_id, record_id, cohort_id) VALUES ('{hold}', '{record.id}', {cohort})"
        )
    with pytest.raises(NothingToHoldError):
        place_hold(quick_world.vault, [record.id], "late")
    assert quick_world.value("SELECT COUNT(*) FROM hold_records") == 1


def test_a_hold_that_fails_to_commit_does_not_exist(quick_world: World) -> None:
    record = quick_world.file()
    quick_world.run(*quick_world.databases.broken("hold_records"))
    with pytest.raises(RuleBrokenError):
        place_hold(quick_world.vault, [record.id], "d")
    assert quick_world.value("SELECT COUNT(*) FROM holds") == 0
    quick_world.run(quick_world.databases.mended("hold_records"))
    quick_world.scrub()
    quick_world.assert_destroyed(record)


def test_a_hold_on_an_unfinished_record_keeps_it_from_being_given_up(quick_world: World) -> None:
    record = quick_world.open()
    hold = place_hold(quick_world.vault, [record.id], "d").hold_id
    quick_world.advance(days=30)
    assert quick_world.sweep().listed == 0
    quick_world.assert_readable(record)
    quick_world.upload(record)
    quick_world.complete(record)
    release_hold(quick_world.vault, hold, "counsel")
    assert quick_world.sweep().listed == 0
    quick_world.assert_readable(record)


def test_a_vault_without_its_custodian_places_the_hold_all_the_same(quick_world: World) -> None:
    """The hold itself is a row; only the copy needs keys."""
    record = quick_world.file()
    blind = replace(quick_world.vault, custody=Custody(dict[str, Custodian]().__getitem__, list))
    placed = place_hold(blind, [record.id], "d")
    assert (placed.answers, placed.keys_copied) == ({record.id: "held"}, False)
    quick_world.scrub()
    quick_world.assert_readable(record)
