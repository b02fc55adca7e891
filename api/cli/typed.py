"""Dates and times as people type them."""

from __future__ import annotations

from datetime import UTC, date, datetime

from .exits import CommandError, ExitCode

__all__ = ["day_of", "instant_of"]


def day_of(text: str | None) -> date | None:
    """A date; None where none was typed."""
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as wrong:
        raise CommandError(ExitCode.USAGE, "A date is written YYYY-MM-DD.") from wrong


def instant_of(text: str | None) -> datetime | None:
    """A time, in UTC; None where none was typed."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise CommandError(ExitCode.USAGE, "A time is written 2016-12-07T14:30:00-05:00, with its zone.") from wrong
    if at.tzinfo is None:
        raise CommandError(ExitCode.USAGE, "A time needs its zone, as in 2016-12-07T14:30:00-05:00.")
    return at.astimezone(UTC)
