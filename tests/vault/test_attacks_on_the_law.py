"""Attacks on the law: by whoever writes in the catalogue, sets a clock, or has one token. Each once succeeded."""

from datetime import date

import pytest

from tests.people import COUNSEL, HEAD
from tests.sunset.program import DEADLINE, end_program, ordered
from tests.vault.databases import on_sqlite
from tests.vault.world import World
from vault.deciding import decide_record
from vault.errors import RecordsAreKeptError
from vault.orders import Action


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
