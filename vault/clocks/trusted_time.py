"""Trusted time (T5): whether what the clocks say may be believed. A pure judgement; nothing here reads a clock.

The machine's clock alone is a bad judge of when records may die: somebody may set it, or it may have stopped with the
machine. So it is compared with other sources, with the highest time that was ever trusted, and with the last time
somebody looked. Whatever does not fit makes time SUSPECT, until two persons clear it (`vault.timekeeping`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from .clock import Clock

__all__ = [
    "SPREAD_MAX",
    "Marks",
    "Moment",
    "Suspect",
    "TimeSources",
    "Trusted",
    "disagreement",
    "judge_time",
    "simulated_sources",
]

SPREAD_MAX: Final = timedelta(seconds=60)
"""Sources further apart than this do not agree, and no clock goes back further."""
STEP_MAX: Final = timedelta(minutes=15)
"""How far time may go on unwatched, or jump forward."""
SOURCES_MIN: Final = 2


@dataclass(frozen=True)
class TimeSources:
    """Where time comes from besides the vault's own clock."""

    others: Mapping[str, Callable[[], datetime | None]]
    """By name; one that answers None has no clock of its own."""
    step_max: timedelta | None = STEP_MAX
    """None: jumps forward are believed, as those of a simulated clock are."""


def simulated_sources(clock: Clock) -> TimeSources:
    """Sources that agree with a simulated clock, whatever it is moved to. For the demo and for tests."""
    return TimeSources({"simulated source": clock.now}, step_max=None)


@dataclass(frozen=True, slots=True)
class Moment:
    """One look at all clocks."""

    readings: Mapping[str, datetime]
    """By the name of the source, all for the same instant."""
    boot: str
    """The boot of the machine that looked, by the kernel's random name for it."""
    steady: timedelta
    """Time since that boot, by a clock that nobody sets and that goes on while the machine sleeps."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What is remembered of earlier looks."""

    high_water: datetime
    """The highest time that was ever trusted."""
    seen: datetime
    """The trusted time of the last look."""
    boot: str
    steady: timedelta
    suspect_since: datetime | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Trusted:
    """The clocks may be believed."""

    now: datetime
    """The earliest of the readings, and never below the high-water mark."""
    readings: Mapping[str, datetime] = field(default_factory=dict)
    """What each source said."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """They may not."""

    why: str


def judge_time(moment: Moment, marks: Marks, step_max: timedelta | None = STEP_MAX) -> Trusted | Suspect:
    """Compare the clocks with each other, with the high-water mark, and with the last look (T5).

    A long time between two looks is believed where the machine's steady clock has counted it too: then the machine
    ran, and nobody moved its clock. After a power-off, or from another machine, nothing has.
    """
    if marks.suspect_since is not None:
        return Suspect(marks.why or "")
    apart = disagreement(moment)
    if apart is not None:
        return Suspect(apart)
    earliest = min(moment.readings.values())
    back = marks.high_water - earliest
    if back > SPREAD_MAX:
        return Suspect(f"Time went back by {_spoken(back)}.")
    passed = earliest - marks.seen
    if step_max is not None and moment.boot == marks.boot:
        jump = passed - (moment.steady - marks.steady)
        if jump > step_max:
            return Suspect(f"Time jumped forward by {_spoken(jump)}.")
    elif step_max is not None and passed > step_max:
        return Suspect(f"For {_spoken(passed)} nobody watched the clocks: the vault was off, or they were moved.")
    return Trusted(max(earliest, marks.high_water), moment.readings)


def disagreement(moment: Moment) -> str | None:
    """In what the sources do not agree; None when they do."""
    if len(moment.readings) < SOURCES_MIN:
        return "There is only one clock to go by, and two must agree."
    first, *_, last = sorted(moment.readings, key=lambda name: moment.readings[name])
    spread = moment.readings[last] - moment.readings[first]
    if spread > SPREAD_MAX:
        return f"The {last} is {_spoken(spread)} ahead of the {first}."
    return None


def _spoken(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    for size, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} seconds"
