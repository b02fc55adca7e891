"""The only module that reads wall time.

Instants are UTC; legal dates are civil dates in the program's time zone (T1 of the rules).
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

__all__ = ["Clock", "SimulatedClock", "SystemClock", "civil_date", "in_reach", "steady_seconds"]

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 8999


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The present instant, in UTC, with its zone set."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return datetime.fromtimestamp(time.time(), UTC)


class SimulatedClock:
    """A clock that runs on from a chosen instant and can be moved forward. For the demo and for tests."""

    def __init__(self, start: datetime) -> None:
        self._offset = start - SystemClock().now()

    def now(self) -> datetime:
        """The simulated instant, in UTC."""
        return SystemClock().now() + self._offset

    def advance(self, step: timedelta) -> None:
        """Move forward."""
        self._offset += step


def in_reach(day: date) -> bool:
    """Whether a date is one that can be reckoned with: from 1970 to 8999.

    Whoever writes 9999-12-31 means for ever; no instant can be made of its end, in New York.
    """
    return _FIRST_YEAR <= day.year <= _LAST_YEAR


def steady_seconds() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine sleeps. Leases are measured by it.

    CLOCK_MONOTONIC stands still while a machine is suspended; a lease measured by it would come back to life with a
    laptop that was opened again. A hypervisor that pauses a machine unseen stops this clock too.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def civil_date(instant: datetime, zone: ZoneInfo) -> date:
    """The calendar date on which an instant falls in a time zone."""
    return instant.astimezone(zone).date()
