"""What hosts of one vault, whose clocks are never quite the same, can do to each other's records."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.people import COUNSEL, HEAD
from tests.sunset.program import DEADLINE, end_program, ordered
from tests.vault.databases import on_sqlite
from tests.vault.holding import adopt
from tests.vault.world import World
from vault.alarms import alarms_of
from vault.clocks.clock import SimulatedClock
from vault.law.policy import Mode
from vault.orders import Action


@on_sqlite
@pytest.mark.parametrize("how", ["policy", "decision"])
def test_what_a_host_with_a_slow_clock_files_while_nothing_is_kept_is_swept_in_time(
    quick_world: World, how: str
) -> None:
    """P3: it is completed before the mode began, by that clock, and yet in it. No due date is taken for a forgery."""
    world = quick_world
    world.advance(days=3)
    if how == "policy":
        adopt(world.vault, mode=Mode.NO_RETAIN)
    else:
        end_program(world)
        ordered(world, Action.DESTROY_AT_SUNSET, DEADLINE, HEAD, COUNSEL)
    slow = replace(world.vault, clock=SimulatedClock(world.clock.now() - timedelta(seconds=40)))
    record = replace(world, vault=slow).file()
    world.advance(days=31)
    assert alarms_of(world.vault).early == 0
    assert world.sweep().condemned == 1
    world.assert_destroyed(record)
