"""The only module that reads wall time.

Instants are UTC; legal dates are civil dates in the program's time zone (T1 of the rules).
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

__all__ = ["Clock", "SimulatedClock", "SystemClock", "civil_date", "steady_seconds"]


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


def steady_seconds() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine sleeps. Leases are measured by it.

    CLOCK_MONOTONIC stands still while a machine is suspended; a lease measured by it would come back to life with a
    laptop that was opened again. A hypervisor that pauses a machine unseen stops this clock too.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def civil_date(instant: datetime, zone: ZoneInfo) -> date:
    """The calendar date on which an instant falls in a time zone."""
    return instant.astimezone(zone).date()
