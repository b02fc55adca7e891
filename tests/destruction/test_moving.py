"""Other masters for the same keys: nothing lost, and the old masters useless afterwards."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from keystore import CustodianError, KeystoreError, MasterState, Tree
from keystore.custodians import FileCustodian
from tests.vault.holding import place_hold
from tests.vault.world import Sealed, World
from vault.catalogue.schema import roots
from vault.destruction.carrying_out import recover_destructions
from vault.destruction.frozen_lists import freeze_move
from vault.destruction.moving import RENEW_BEFORE, masters_in_use, move_masters, renew_masters
from vault.errors import DestructionRefusedError
from vault.keys.custody import Custody


class Ending(FileCustodian):
    """Masters here end by themselves at a date that the test sets."""

    end: datetime | None = None

    def expires_at(self, name: str) -> datetime | None:  # type: ignore[override]
        super().expires_at(name)
        return self.end


@pytest.fixture
def other(quick_world: World) -> FileCustodian:
    """A second custodian that the settings name."""
    first = quick_world.custodian
    second = FileCustodian(quick_world.folder / "other-keys", away_from=quick_world.folder / "home")
    object.__setattr__(quick_world.vault, "custody", Custody.of(first, second))
    return second


def test_a_move_keeps_every_record_and_kills_the_old_masters(quick_world: World, other: FileCustodian) -> None:
    held, plain, open_one = quick_world.file(), quick_world.file(), quick_world.open()
    place_hold(quick_world.vault, [held.id], "16-cv-1")
    first = quick_world.custodian
    copied = Sealed()
    copied.gather(quick_world)
    assert copied.reachable(quick_world, first)

    done = move_masters(quick_world.vault, other.uri, "test")

    assert [d.tree for d in done] == [Tree.ACTIVE, Tree.HELD]
    assert all(d.completed_at and d.condemned == 0 and d.listed == 0 for d in done)
    assert {one.custodian for one in masters_in_use(quick_world.vault)} == {other.uri}
    assert first.names() == frozenset()
    assert len(other.names()) == 2
    copied.gather(quick_world)
    assert not copied.reachable(quick_world, first)
    assert quick_world.place(plain) in copied.reachable(quick_world, other)
    quick_world.assert_readable(held, plain)
    quick_world.upload(open_one)
    quick_world.complete(open_one)
    quick_world.assert_readable(open_one, quick_world.file())


def test_what_dies_after_a_move_is_gone_under_both_custodians(quick_world: World, other: FileCustodian) -> None:
    held, gone = quick_world.file(), quick_world.file()
    place_hold(quick_world.vault, [held.id], "16-cv-1")
    first = quick_world.custodian
    copied = Sealed()
    copied.gather(quick_world)
    move_masters(quick_world.vault, other.uri, "test")
    copied.gather(quick_world)
    quick_world.scrub()
    copied.gather(quick_world)
    reached = copied.reachable(quick_world, first, other)
    assert quick_world.place(held) in reached
    assert quick_world.place(gone) not in reached
    quick_world.assert_readable(held)
    quick_world.assert_destroyed(gone)
    assert len(other.names()) == 2


def test_a_second_move_does_nothing(quick_world: World, other: FileCustodian) -> None:
    move_masters(quick_world.vault, other.uri, "test")
    masters = other.names()
    assert move_masters(quick_world.vault, other.uri, "test") == []
    assert other.names() == masters


def test_a_move_that_was_cut_off_between_the_trees_is_completed_by_the_next(
    quick_world: World, other: FileCustodian
) -> None:
    record = quick_world.file()
    freeze_move(quick_world.vault, Tree.ACTIVE, other.uri, "test")
    with pytest.raises(DestructionRefusedError, match="unfinished"):
        move_masters(quick_world.vault, other.uri, "test")
    recover_destructions(quick_world.vault)
    assert len(move_masters(quick_world.vault, other.uri, "test")) == 2
    quick_world.assert_readable(record)


def test_a_custodian_that_the_settings_do_not_name_is_not_opened(quick_world: World, tmp_path: Path) -> None:
    masters = quick_world.custodian.names()
    with pytest.raises(CustodianError, match="do not name"):
        move_masters(quick_world.vault, f"file:{tmp_path}/elsewhere", "test")
    assert not (tmp_path / "elsewhere").exists()
    assert quick_world.custodian.names() == masters


def test_a_database_that_points_elsewhere_is_not_followed(quick_world: World, tmp_path: Path) -> None:
    """Whoever writes to the catalogue must not choose where keys are sent."""
    record = quick_world.file()
    quick_world.run(f"UPDATE masters SET custodian = 'file:{tmp_path}/theirs'")
    with pytest.raises(KeystoreError, match="do not name"):
        quick_world.fetch(record)
    assert not (tmp_path / "theirs").exists()


def test_masters_are_renewed_before_they_end(quick_world: World) -> None:
    record = quick_world.file()
    ending = Ending(quick_world.folder / "keys", away_from=quick_world.folder / "home")
    object.__setattr__(quick_world.vault, "custody", Custody.of(ending))
    before = ending.names()
    assert renew_masters(quick_world.vault, "test") == []
    ending.end = quick_world.clock.now() + RENEW_BEFORE + timedelta(seconds=1)
    assert renew_masters(quick_world.vault, "test") == []
    assert ending.names() == before
    ending.end = quick_world.clock.now() + RENEW_BEFORE - timedelta(seconds=1)
    assert [d.tree for d in renew_masters(quick_world.vault, "test")] == [Tree.ACTIVE, Tree.HELD]
    assert not ending.names() & before
    assert all(ending.describe(name) is MasterState.ABSENT for name in before)
    quick_world.assert_readable(record)
    with quick_world.vault.catalogue.read() as tx:
        assert {row.epoch for row in tx.execute(roots.select())} >= {2}
