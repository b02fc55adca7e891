"""By when due records must be gone, and which are not: the quarterly run (P1, T4).

A record that is due may be swept at once, and has to be gone by the end of the quarter in which it fell due, and in any
case so many months later. What a hold protects is not overdue, it is held.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.schema import cohorts, records
from vault.clocks.clock import civil_date
from vault.context import current_policy
from vault.law.policy import GoneBy, due_on
from vault.law.retention import Cause, Verdict

from .frozen_lists import predicate_at

__all__ = ["Overdue", "count_overdue", "last_day", "limit_day", "overdue_of"]

_MONTHS_IN_QUARTER: Final = 3


@dataclass(frozen=True, slots=True)
class Overdue:
    """Records that no hold protects and that should be gone."""

    past_quarter: int
    """Their last day is over."""
    past_limit: int
    """So is the last day that the policy leaves in any case; counted in `past_quarter` too."""
    next_last_day: date | None
    """The next day by whose end something that is due already must be gone."""


def limit_day(due: date, rules: GoneBy) -> date:
    """The last day that is left in any case: so many calendar months after the day it fell due, clamped (T3)."""
    return due_on(due, rules.months_after_due) - timedelta(days=1)


def last_day(due: date, rules: GoneBy) -> date:
    """The day before whose end a record that falls due on `due` must be gone. Weekends and holidays move nothing."""
    limit = limit_day(due, rules)
    if not rules.end_of_quarter:
        return limit
    month = -(-due.month // _MONTHS_IN_QUARTER) * _MONTHS_IN_QUARTER
    return min(limit, date(due.year, month, calendar.monthrange(due.year, month)[1]))


def count_overdue(due: Mapping[date, int], today: date, rules: GoneBy) -> Overdue:
    """Count what is past its last day (T4: a day is over when the next one begins in the program's zone)."""
    days = {day: (last_day(day, rules), limit_day(day, rules)) for day in due}
    return Overdue(
        past_quarter=sum(count for day, count in due.items() if days[day][0] < today),
        past_limit=sum(count for day, count in due.items() if days[day][1] < today),
        next_last_day=min((last for last, _ in days.values() if last >= today), default=None),
    )


def overdue_of(tx: Transaction, now: datetime) -> Overdue:
    """Count what should be gone by `now`, by the predicate that condemns."""
    policy = current_policy(tx)
    predicate = predicate_at(tx, Cause.SWEEP, now)
    query = (
        sa.select(records.c.due_on, sa.func.count())
        .select_from(records.join(cohorts, cohorts.c.id == records.c.cohort_id))
        .where(predicate.candidates(), predicate.verdict() == Verdict.DUE.value)
        .group_by(records.c.due_on)
    )
    due = {day: int(count) for day, count in tx.execute(query)}
    return count_overdue(due, civil_date(now, policy.zone), policy.gone_by)
