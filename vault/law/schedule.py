"""The sunset's calendar and its decisions, as pure functions of explicit inputs (S1 to S6, T4).

S1: review opens, decisions are cut off, the deadline; the default is DESTROY. S2: PRESERVE, DESTROY and PARTIAL may be
recorded while everything is held, and count when they were accepted before the cut-off; the last one stands. S4: at the
deadline what stands then latches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from vault.clocks.clock import civil_date, in_reach
from vault.errors import OrderRefusedError

from .policy import PERIODS_MAX, Sunset, due_on

__all__ = [
    "DECISIONS",
    "DESTROY",
    "NOTICE_DAYS",
    "PARTIAL",
    "PRESERVE",
    "Decision",
    "Outcome",
    "covered",
    "end_of",
    "latest_cut_off",
    "next_statement",
    "notice_due",
    "outcome_of",
    "require_decision",
]

DECISIONS: Final = ("preserve", "destroy-at-sunset", "partial")
"""Actions of orders that decide about a sunset."""
DESTROY: Final = "DESTROY"
PRESERVE: Final = "PRESERVE"
PARTIAL: Final = "PARTIAL"
NOTICE_DAYS: Final = (90, 30, 7, 1)
"""Days before the deadline at which it is announced (S6)."""
_MARGIN: Final = timedelta(hours=48)
_FORECASTS: Final = 3
_EVER: Final = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC))
_SCOPES: Final = {
    "preserve": {"deadline", "until"},
    "destroy-at-sunset": {"deadline"},
    "partial": {"deadline", "until", "keep"},
}


class Decision(NamedTuple):
    """An order about a sunset that was accepted and not taken back."""

    order_id: str
    action: str
    """One of `DECISIONS`."""
    scope: Mapping[str, Any]
    accepted_at: datetime
    effective_at: datetime
    """When its cooling-off is over."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of the records at the deadline."""

    name: str
    """PRESERVE, DESTROY or PARTIAL."""
    order_id: str | None
    """The decision; None where nobody decided, and the default stands."""
    kept: tuple[tuple[datetime, datetime], ...] = ()
    """Filing periods [from, to) that are kept."""
    kept_until: datetime | None = None
    """So long what is kept is kept in any case; then ordinary retention says when it goes, and nothing else."""


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a civil date is over (T4): December 31 2016 in New York ends at 2017-01-01T05:00Z."""
    return datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)


def latest_cut_off(deadline: datetime, forecast: timedelta) -> datetime:
    """S3: after this instant a destruction that takes as long as forecast might not be complete in time."""
    return deadline - (_FORECASTS * forecast + _MARGIN)


def notice_due(deadline: date, today: date, given: int | None) -> int | None:
    """S6: which notice is to be given now, in days; None: none. Of several that were missed the nearest is given."""
    left = (deadline - today).days
    reached = [days for days in NOTICE_DAYS if left <= days]
    if left < 0 or not reached or (given is not None and reached[-1] >= given):
        return None
    return reached[-1]


def next_statement(last: date) -> date:
    """S5: the day of the next deferral statement, a calendar month after the last one."""
    return due_on(last, 1) - timedelta(days=1)


def outcome_of(sunset: Sunset, zone: ZoneInfo, decisions: Sequence[Decision]) -> Outcome:
    """What stands: the last decision that was effective at the cut-off, or the default.

    Args:
        sunset: the one that is decided about.
        zone: the program's time zone.
        decisions: about this sunset and others, in any order.
    """
    cut_off = end_of(sunset.decision_cut_off, zone)
    standing = [
        one
        for one in decisions
        if one.scope["deadline"] == sunset.deadline.isoformat()
        and one.accepted_at < cut_off
        and one.effective_at <= cut_off
    ]
    if not standing:
        return Outcome(sunset.default, None)
    last = max(standing, key=lambda one: (one.accepted_at, one.order_id))
    if last.action == "destroy-at-sunset":
        return Outcome(DESTROY, last.order_id)
    until = end_of(date.fromisoformat(last.scope["until"]), zone)
    if last.action == "preserve":
        return Outcome(PRESERVE, last.order_id, (_EVER,), until)
    kept = tuple((_begin(first, zone), end_of(date.fromisoformat(to), zone)) for first, to in last.scope["keep"])
    return Outcome(PARTIAL, last.order_id, kept, until)


def covered(sunset: Sunset, zone: ZoneInfo) -> tuple[tuple[datetime, datetime], ...]:
    """The filing periods [from, to) that a sunset is about; none: the whole program (S1)."""
    return tuple((_begin(first.isoformat(), zone), end_of(last, zone)) for first, last in sunset.filed)


def _begin(day: str, zone: ZoneInfo) -> datetime:
    return end_of(date.fromisoformat(day) - timedelta(days=1), zone)


def require_decision(
    sunset: Sunset | None, zone: ZoneInfo, action: str, scope: Mapping[str, Any], now: datetime
) -> None:
    """Make sure that a decision is about the sunset of the policy, is made in time, and says what is kept (S2).

    Raises:
        OrderRefusedError: it does not.
    """
    if sunset is None or scope.get("deadline") != sunset.deadline.isoformat():
        message = "The policy in force has no sunset with this deadline; `shredvault sunset status` shows it."
        raise OrderRefusedError(message)
    if civil_date(now, zone) < sunset.review_opens:
        message = f"The review opens on {sunset.review_opens}; decisions are taken from then on."
        raise OrderRefusedError(message)
    if now >= end_of(sunset.decision_cut_off, zone):
        message = f"Decisions were cut off at the end of {sunset.decision_cut_off}; what stood then stands."
        raise OrderRefusedError(message)
    try:
        _check_scope(sunset, action, scope)
    except (KeyError, TypeError, ValueError) as wrong:
        message = (
            "A decision's scope is {deadline} to destroy, {deadline, until} to preserve, and {deadline, until, keep} "
            "for a part: `keep` lists filing periods as pairs of dates, and `until` is after the deadline. "
            "Dates go from 1970 to 8999."
        )
        raise OrderRefusedError(message) from wrong


def _check_scope(sunset: Sunset, action: str, scope: Mapping[str, Any]) -> None:
    if set(scope) != _SCOPES[action]:
        raise ValueError
    if "until" in scope and _day(scope["until"]) <= sunset.deadline:
        raise ValueError
    keep = scope.get("keep", [["2000-01-01", "2000-01-01"]])
    if not 1 <= len(keep) <= PERIODS_MAX:
        raise ValueError
    for first, last in keep:
        if _day(first) > _day(last):
            raise ValueError


def _day(text: str) -> date:
    day = date.fromisoformat(text)
    if not in_reach(day):
        # What cannot be reckoned with would stop everything that asks what stands.
        raise ValueError
    return day
