"""The retention policy, and the arithmetic of due dates (T2, T3 and P2 of the rules)."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .errors import PolicyError

__all__ = ["Policy", "due_on"]

MONTHS_LIMIT = 120
HOURS_LIMIT = 30 * 24


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of the policy. A record keeps the version it was filed under."""

    version: int
    time_zone: str
    retention_months: int = 24
    abandon_after_hours: int = 72
    """A record that was opened and never completed is swept after this many hours."""

    def __post_init__(self) -> None:
        if not 1 <= self.retention_months <= MONTHS_LIMIT:
            message = f"The retention must be 1 to {MONTHS_LIMIT} months."
            raise PolicyError(message)
        if not 1 <= self.abandon_after_hours <= HOURS_LIMIT:
            message = f"Unfinished records must be given up after 1 to {HOURS_LIMIT} hours."
            raise PolicyError(message)
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
            message = f"There is no time zone named {self.time_zone!r}; an example is America/New_York."
            raise PolicyError(message) from unknown

    @property
    def zone(self) -> ZoneInfo:
        """The program's time zone."""
        return ZoneInfo(self.time_zone)


def due_on(completed: date, months: int) -> date:
    """The first day on which a record may be swept: `months` calendar months later, clamped, plus one day.

    Completed on Feb 29 2016, 24 months: due on Mar 1 2018. Never 730 days.
    """
    year, month0 = divmod(completed.year * 12 + completed.month - 1 + months, 12)
    last = calendar.monthrange(year, month0 + 1)[1]
    return date(year, month0 + 1, min(completed.day, last)) + timedelta(days=1)
