"""T5: clocks that step, stop, lie and disagree; what is refused meanwhile, and how it is cleared."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from tests.people import AUDITOR, COUNSEL, OFFICER
from tests.vault.trusting import clearing
from tests.vault.world import START, World
from vault.alarms import Alarms, Deadline, spoken_alarms
from vault.clocks.trusted_time import Marks, Moment, Suspect, TimeSources, Trusted, judge_time
from vault.destruction.overdue import Overdue
from vault.errors import BusyError, NotFoundError, OrderRefusedError, RuleBrokenError, TimeSuspectError
from vault.ids import new_id
from vault.law.retention import Cause
from vault.timekeeping import TimeState, TimeWatch, clear_time, observe_time, time_state

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
MARKS = Marks(START, START, "this boot", DAY)


def seen(passed: timedelta, *, boot: str = "this boot", steady: timedelta | None = None, **off: timedelta) -> Moment:
    """A look `passed` after the last one, at which some sources are off."""
    now = START + passed
    readings = {
        "system clock": now,
        "object store": now,
        **{name.replace("_", " "): now + by for name, by in off.items()},
    }
    return Moment(readings, boot, DAY + (passed if steady is None else steady))


@pytest.mark.parametrize(
    ("moment", "why"),
    [
        (seen(MINUTE), None),
        # Sources that disagree; which one lies, nobody knows. A lying `Date` of the object store among them.
        (seen(MINUTE, object_store=60 * SECOND), None),
        (seen(MINUTE, object_store=61 * SECOND), "object store is 61 seconds ahead of the system clock"),
        (seen(MINUTE, object_store=-61 * SECOND), "system clock is 61 seconds ahead of the object store"),
        (seen(MINUTE, database=-365 * DAY), "365 days"),
        # Steps back, of all clocks together.
        (seen(-60 * SECOND, steady=MINUTE), None),
        (seen(-61 * SECOND, steady=MINUTE), "went back by 61 seconds"),
        (seen(-40 * DAY, steady=MINUTE), "went back by 40 days"),
        # Steps forward, of all clocks together: this machine's steady clock has not counted them.
        (seen(16 * MINUTE, steady=MINUTE), None),
        (seen(16 * MINUTE + SECOND, steady=MINUTE), "jumped forward by 15 minutes"),
        (seen(3650 * DAY, steady=MINUTE), "jumped forward by 3649 days"),
        # Nobody looked for long, and the machine ran all the time.
        (seen(90 * DAY), None),
        # A power-off, or another machine.
        (seen(15 * MINUTE, boot="the next boot"), None),
        (seen(15 * MINUTE + SECOND, boot="the next boot"), "For 15 minutes nobody watched"),
        (seen(20 * DAY, boot="the next boot"), "For 20 days nobody watched"),
    ],
)
def test_what_is_trusted_and_what_is_not(moment: Moment, why: str | None) -> None:
    judged = judge_time(moment, MARKS)
    if why is None:
        assert isinstance(judged, Trusted)
        assert judged.now == max(min(moment.readings.values()), MARKS.high_water)
    else:
        assert isinstance(judged, Suspect)
        assert why in judged.why


def test_one_clock_alone_is_not_trusted() -> None:
    judged = judge_time(Moment({"system clock": START}, "this boot", DAY), MARKS)
    assert judged == Suspect("There is only one clock to go by, and two must agree.")


def test_a_suspicion_stays_until_it_is_cleared() -> None:
    marks = replace(MARKS, suspect_since=START, why="It was so.")
    assert judge_time(seen(MINUTE), marks) == Suspect("It was so.")


def lie(world: World, **by: timedelta) -> None:
    """Let sources of the world's time be off, and jumps forward count."""
    sources: Mapping[str, Any] = {
        name.replace("_", " "): lambda off=off: world.clock.now() + off for name, off in by.items()
    }
    object.__setattr__(world.vault, "time", TimeSources({"object store": world.clock.now, **sources}))


def test_nothing_is_condemned_in_suspect_time_and_filing_goes_on(quick_world: World) -> None:
    world = quick_world
    old = world.file()
    world.advance(days=740)
    # All clocks have jumped, and the steady clock says so.
    lie(world)
    with pytest.raises(TimeSuspectError, match="jumped forward by 7"):
        world.sweep()
    world.assert_readable(old)
    assert world.value("SELECT COUNT(*) FROM destructions WHERE abandoned_at IS NOT NULL") == 1
    world.assert_two_masters()
    with pytest.raises(TimeSuspectError):
        world.destroy(Cause.SCRUB)
    # Filing goes on, and is told apart.
    new = world.file()
    world.assert_readable(old, new)
    with world.vault.catalogue.read() as tx:
        state = time_state(tx)
    assert (state.suspect_since is not None, state.filed_meanwhile) == (True, 1)
    # One person does not clear it, nor do two others, nor an order about another suspicion.
    with pytest.raises(OrderRefusedError, match="under-signed"):
        clearing(world.vault, OFFICER)
    with pytest.raises(OrderRefusedError, match="under-signed"):
        clearing(world.vault, OFFICER, COUNSEL)
    with pytest.raises(OrderRefusedError, match="another suspicion"):
        clear_time(world.vault, clearing(world.vault, OFFICER, AUDITOR, since=START))
    with pytest.raises(NotFoundError):
        clear_time(world.vault, new_id())
    with pytest.raises(TimeSuspectError):
        world.sweep()
    order_id = clearing(world.vault, OFFICER, AUDITOR)
    clear_time(world.vault, order_id)
    world.sweep()
    world.assert_destroyed(old)
    world.assert_readable(new)
    with pytest.raises(OrderRefusedError):
        clear_time(world.vault, order_id)
    events = [row[0] for row in world.rows("SELECT event FROM journal WHERE subject = 'time' ORDER BY id")]
    assert events == ["time suspect", "time cleared"]


def test_clocks_that_still_disagree_are_not_cleared(quick_world: World) -> None:
    world = quick_world
    lie(world, object_store=DAY)
    assert isinstance(observe_time(world.vault), Suspect)
    order_id = clearing(world.vault, OFFICER, AUDITOR)
    with pytest.raises(OrderRefusedError, match="still do not agree"):
        clear_time(world.vault, order_id)
    lie(world)
    assert isinstance(clear_time(world.vault, order_id), Trusted)
    assert isinstance(observe_time(world.vault), Trusted)


def test_a_step_back_is_seen_and_survives_a_restart(quick_world: World) -> None:
    world = quick_world
    world.advance(hours=2)
    assert isinstance(observe_time(world.vault), Trusted)
    world.advance(hours=-1)
    assert isinstance(observe_time(world.vault), Suspect)
    world.restart()
    world.advance(hours=1)
    assert isinstance(observe_time(world.vault), Suspect)
    world.file()
    with pytest.raises(TimeSuspectError, match="went back"):
        world.destroy(Cause.SCRUB)


def test_the_high_water_mark_cannot_be_lowered_past_the_code(quick_world: World) -> None:
    with pytest.raises(RuleBrokenError):
        quick_world.run("UPDATE time_marks SET high_water = high_water - 1")
    with pytest.raises(RuleBrokenError):
        quick_world.run("DELETE FROM time_marks")


def test_the_database_is_a_source_where_it_has_a_clock(quick_world: World) -> None:
    told = quick_world.vault.catalogue.now()
    assert (told is None) == (quick_world.databases.kind == "sqlite")


def test_the_watch_looks_again_after_a_look_that_failed() -> None:
    looks: list[int] = []
    twice = threading.Event()

    def look() -> None:
        looks.append(1)
        if len(looks) > 1:
            twice.set()
        raise BusyError

    with TimeWatch(look, every_s=0.01):
        assert twice.wait(30)
    seen_by_then = len(looks)
    twice.clear()
    assert not twice.wait(0.05)
    assert len(looks) == seen_by_then


def test_near_a_deadline_suspect_time_is_the_loudest_alarm() -> None:
    """T5, S3."""
    day = date(2026, 3, 8)
    deadline = Deadline(day, START, 3, "DESTROY", None, None, date(2026, 3, 1), date(2026, 3, 2), DAY)
    suspect = TimeState(START, "Time went back by 2 hours.", 0)
    trusted = TimeState(None, None, 0)
    overdue = Overdue(2, 1, None)
    said = spoken_alarms(Alarms(suspect, overdue, deadline))
    assert said[0].startswith("THE DEADLINE 2026-03-08 CANNOT BE KEPT")
    assert len(said) == 3
    assert spoken_alarms(Alarms(trusted, Overdue(0, 0, None), deadline)) == []
    assert spoken_alarms(Alarms(suspect, Overdue(0, 0, None), None))[0].startswith("The time is suspect")
    late = replace(deadline, decision_cut_off=date(2026, 3, 5))
    assert "forecast" in spoken_alarms(Alarms(trusted, Overdue(0, 0, None), late))[0]
    missed = replace(deadline, days_left=-1)
    assert "has not latched" in spoken_alarms(Alarms(trusted, Overdue(0, 0, None), missed))[0]
    assert spoken_alarms(Alarms(trusted, Overdue(0, 0, None), replace(missed, latched_at=START))) == []
