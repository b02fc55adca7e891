"""What a hold matches: named records, or whatever was filed at some time or at some center, or the whole program.

Pure. What a scope means for a record is said once, in the view `record_holds` of the schema; here scopes are checked
and become its rows. Civil dates become instants in the program's zone (T1), so that the view needs no calendar.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from vault.clocks.clock import in_reach
from vault.errors import HoldRefusedError

__all__ = ["RECORDS_MAX", "Clause", "Scope"]

RECORDS_MAX: Final = 100_000
"""Records one hold can name."""
CENTERS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Clause:
    """A row of `hold_scopes`, but for its hold, number and end."""

    filed_from: date | None
    filed_to: date | None
    since: datetime | None
    until: datetime | None
    center: str | None
    captured_by: datetime | None

    def encode(self) -> dict[str, Any]:
        """For the ledger."""
        return {
            "filed_from": _spelt(self.filed_from),
            "filed_to": _spelt(self.filed_to),
            "since": _spelt(self.since),
            "until": _spelt(self.until),
            "center": self.center,
            "captured_by": _spelt(self.captured_by),
        }

    @staticmethod
    def decode(content: dict[str, Any]) -> Clause:
        """What `encode` wrote."""
        return Clause(
            _date(content["filed_from"]),
            _date(content["filed_to"]),
            _instant(content["since"]),
            _instant(content["until"]),
            content["center"],
            _instant(content["captured_by"]),
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """What a hold is to match: named records, and a rule where there is one."""

    record_ids: tuple[str, ...] = ()
    program: bool = False
    """Every record."""
    filed_from: date | None = None
    filed_to: date | None = None
    """First and last civil date of filing: a record matches by its opening or by its completion."""
    centers: tuple[str, ...] = ()
    """Labels of centers' tokens."""
    includes_future: bool = True
    """Whether the rule matches records that are filed after it was placed."""

    def __post_init__(self) -> None:
        if len(self.record_ids) > RECORDS_MAX:
            message = f"One hold names at most {RECORDS_MAX} records."
            raise HoldRefusedError(message)
        if len(self.centers) > CENTERS_MAX:
            message = f"One hold names at most {CENTERS_MAX} centers."
            raise HoldRefusedError(message)
        if self.program and self._is_limited:
            message = "A hold on the whole program has no dates and no centers."
            raise HoldRefusedError(message)
        if not all(in_reach(day) for day in (self.filed_from, self.filed_to) if day is not None):
            message = "Dates of filing go from 1970 to 8999; leave one out where there is no limit."
            raise HoldRefusedError(message)
        if self.filed_from and self.filed_to and self.filed_to < self.filed_from:
            message = "The last date of filing lies before the first."
            raise HoldRefusedError(message)

    @property
    def _is_limited(self) -> bool:
        return bool(self.filed_from or self.filed_to or self.centers)

    @property
    def has_rule(self) -> bool:
        """Whether it matches more than the records that it names."""
        return self.program or self._is_limited

    def clauses(self, zone: ZoneInfo, now: datetime) -> list[Clause]:
        """The rule as rows: one for each center, or one for all; none where it only names records."""
        if not self.has_rule:
            return []
        since = _midnight(self.filed_from, zone) if self.filed_from else None
        until = _midnight(self.filed_to + timedelta(days=1), zone) if self.filed_to else None
        captured_by = None if self.includes_future else now
        centers: list[str | None] = list(dict.fromkeys(self.centers)) or [None]
        return [Clause(self.filed_from, self.filed_to, since, until, center, captured_by) for center in centers]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _spelt(value: date | datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
