"""Attacks on the law: by whoever writes in the catalogue, sets a clock, or has one token. Each once succeeded."""

from datetime import date, timedelta

import pytest

from tests.people import COUNSEL, HEAD
from tests.sunset.program import DEADLINE, OVER, end_program, ordered, to
from tests.vault.databases import on_sqlite
from tests.vault.holding import place_hold, release_order
from tests.vault.world import World
from vault import holds
from vault.deciding import decide_record
from vault.errors import OrderRefusedError, RecordsAreKeptError, VaultError
from vault.orders import Action
from vault.timekeeping import observe_time


@on_sqlite
def test_a_decision_to_destroy_lets_no_center_hasten_what_was_filed_before_it(quick_world: World) -> None:
    """P2, P3, S2: no-retain begins for what is filed from the decision on; the decision may still be replaced."""
    world = quick_world
    before = world.file()
    end_program(world)
    ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
    after = world.file()
    assert decide_record(world.vault, world.center, after.id).due_on == date(2026, 1, 5)
    with pytest.raises(RecordsAreKeptError):
        decide_record(world.vault, world.center, before.id)
    world.advance(days=1)
    ordered(world, Action.PRESERVE, {**DEADLINE, "until": "2026-06-30"}, HEAD, COUNSEL)
    world.sweep()
    world.assert_destroyed(after)
    world.assert_readable(before)


@on_sqlite
def test_a_clock_that_is_set_back_for_a_moment_spares_no_cooling_off(quick_world: World) -> None:
    """H3, T5: an order is accepted now, not before the highest time that was ever trusted."""
    world = quick_world
    record = world.file()
    hold = place_hold(world.vault, [record.id], "16-cv-100").hold_id
    assert hold is not None
    observe_time(world.vault)
    world.advance(hours=-72)
    try:
        order = release_order(world.vault, hold, cooling_off_hours=None)
    except VaultError:
        order = None
    world.advance(hours=72, seconds=5)
    if order is not None:
        with pytest.raises(OrderRefusedError):
            holds.release_hold(world.vault, hold, order.id)


@on_sqlite
def test_a_clock_that_is_set_back_for_a_moment_decides_nothing_after_the_cut_off(quick_world: World) -> None:
    """S2: decisions are replaceable until the cut-off, by trusted time."""
    world = quick_world
    world.file()
    end_program(world)
    ordered(world, Action.PRESERVE, {**DEADLINE, "until": "2026-06-30"}, HEAD, COUNSEL)
    to(world, OVER - timedelta(days=3))
    observe_time(world.vault)
    with pytest.raises(OrderRefusedError, match="cut off"):
        ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
    world.advance(days=-20)
    with pytest.raises(OrderRefusedError):
        ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
