"""The one predicate: may this record be condemned, and if not, why not.

It is SQL, evaluated on the state of the transaction that asks; nothing else in the vault decides it. What
must be true of a condemned record: it is on the frozen list; it is due, or ordered, or a sunset that has latched takes
it, or it was never completed and has been given up; nobody ordered it to be kept past its due date; and no hold that is
in force matches it. Holds are evaluated here, in the transaction that asks, never by a periodic job (H8).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.holding import is_held
from vault.catalogue.schema import cohorts, records

from .plausible import Plausible

__all__ = [
    "CONDEMNABLE",
    "OF_RECORDS",
    "Cause",
    "Predicate",
    "Sunken",
    "Verdict",
    "count_early",
    "count_spared",
    "count_verdicts",
    "judge",
    "judge_named",
    "not_eligible",
]


class Cause(StrEnum):
    """Why records are destroyed."""

    SWEEP = "sweep"
    SCRUB = "scrub"
    DESTROY = "destroy"
    """Named records, one by one."""
    SUNSET = "sunset"
    """What a deadline has left."""


class Verdict(StrEnum):
    """What the predicate says of one record."""

    DUE = "due"
    ORDERED = "ordered"
    GIVEN_UP = "given up"
    HELD = "held"
    NOT_ELIGIBLE = "not eligible"
    """Not due, or held by sealed holds only: nobody may tell the one from the other (H11)."""
    RECEIVING = "receiving"
    GONE = "gone"


CONDEMNABLE: Final = (Verdict.DUE, Verdict.ORDERED, Verdict.GIVEN_UP)
OF_RECORDS: Final = tuple(Cause)
"""Kinds of destructions in which records die; the others only replace masters or end held copies of keys."""


@dataclass(frozen=True, slots=True)
class Sunken:
    """A sunset whose deadline is over (S4): which records it destroys, and which it keeps."""

    ends_at: datetime
    """What was opened before is meant."""
    covers: tuple[tuple[datetime, datetime], ...]
    """What was completed in one of these periods [from, to) is meant (S1); none: the whole program."""
    kept: tuple[tuple[datetime, datetime], ...]
    """What was completed in one of these is kept; filing periods, never anything personal (S2)."""
    keeps_on: bool = False
    """Whether the day until which it was to be kept is ahead; afterwards ordinary retention says when it goes."""

    def matches(self) -> sa.ColumnElement[bool]:
        """Whether a row of `records` is to go."""
        return self._is_meant() & ~_filed_in(self.kept)

    def preserves(self) -> sa.ColumnElement[bool]:
        """Whether a row of `records` is kept by decision, also past its due date (P2)."""
        return self._is_meant() & _filed_in(self.kept) if self.keeps_on else sa.false()

    def _is_meant(self) -> sa.ColumnElement[bool]:
        before = records.c.opened_at < self.ends_at
        return before & _filed_in(self.covers) if self.covers else before


@dataclass(frozen=True, slots=True)
class Predicate:
    """The predicate's inputs, time included."""

    cause: Cause
    today: date
    """Civil date in the program's time zone."""
    given_up_before: datetime
    """Records opened earlier than this and never completed are given up."""
    sunken: tuple[Sunken, ...] = ()
    """Sunsets whose deadline is over."""
    ended: bool = False
    """For a sunset: the custodian has ended the master at the deadline, and records that receive their documents have
    lost their keys with the others (S7)."""
    blind: bool = False
    """Judge as if there were no sealed holds: for what is told before people have signed (H11). Nothing is condemned
    by such a verdict."""
    plausible: Plausible | None = None
    """For a sweep: which records can be due by any policy, whatever their due dates say."""

    def verdict(self) -> sa.ColumnElement[str]:
        """The verdict on a row of `records` joined with `cohorts`."""
        sweep = self.cause is Cause.SWEEP
        due = records.c.due_on <= self.today if sweep else sa.true()
        if sweep and self.plausible is not None:
            due &= ~self.plausible.is_early()
        if self.cause is Cause.SUNSET:
            due = sa.or_(sa.false(), *(one.matches() for one in self.sunken))
        if sweep or self.cause is Cause.SUNSET:
            # P2, S2: neither age nor another deadline takes what two people ordered to be kept until a date.
            due &= ~sa.or_(sa.false(), *(one.preserves() for one in self.sunken))
        given_up = records.c.completed_at.is_(None) & (records.c.opened_at < self.given_up_before)
        return sa.case(
            (~_is_alive(), Verdict.GONE.value),
            (is_held(openly=True), Verdict.HELD.value),
            *([] if self.blind else [(is_held(), Verdict.NOT_ELIGIBLE.value)]),
            (given_up, Verdict.GIVEN_UP.value),
            *([(records.c.completed_at.is_(None) & due, Verdict.ORDERED.value)] if self.ended else []),
            (records.c.completed_at.is_(None), Verdict.RECEIVING.value),
            (due, Verdict.DUE.value if sweep else Verdict.ORDERED.value),
            else_=Verdict.NOT_ELIGIBLE.value,
        )

    def early(self) -> sa.ColumnElement[bool]:
        """Whether a row of `records` joined with `cohorts` has a due date that no policy gives it: it was edited."""
        if self.plausible is None:
            return sa.false()
        return _is_alive() & (records.c.due_on <= self.today) & self.plausible.is_early()

    def spared(self) -> sa.ColumnElement[bool]:
        """Whether a row of `records` joined with `cohorts` lives because it is held, openly or under seal, alone."""
        matched = sa.or_(sa.false(), *(one.matches() for one in self.sunken))
        return _is_alive() & matched & is_held()

    def candidates(self) -> sa.ColumnElement[bool]:
        """A necessary condition that an index answers."""
        if self.cause is not Cause.SWEEP:
            return ~records.c.reclaimed
        given_up = (
            records.c.completed_at.is_(None) & ~records.c.reclaimed & (records.c.opened_at < self.given_up_before)
        )
        return (records.c.due_on <= self.today) | given_up


def _filed_in(periods: tuple[tuple[datetime, datetime], ...]) -> sa.ColumnElement[bool]:
    completed = records.c.completed_at
    inside = [(completed >= begin) & (completed < end) for begin, end in periods]
    return sa.func.coalesce(sa.or_(sa.false(), *inside), sa.false())


def _is_alive() -> sa.ColumnElement[bool]:
    return records.c.condemned_by.is_(None) & (records.c.spared | cohorts.c.condemned_by.is_(None))


def _rows(*columns: Any) -> sa.Select[Any]:
    return sa.select(*columns).select_from(records).join(cohorts, cohorts.c.id == records.c.cohort_id)


def judge(tx: Transaction, predicate: Predicate) -> list[tuple[str, int, int, str]]:
    """The verdict on every candidate: (record id, cohort, slot, verdict). One pass, in no order."""
    query = _rows(records.c.id, records.c.cohort_id, records.c.slot, predicate.verdict()).where(predicate.candidates())
    return [tuple(row) for row in tx.execute(query)]


def judge_named(tx: Transaction, predicate: Predicate, record_ids: Collection[str]) -> dict[str, tuple[int, int, str]]:
    """The verdict on records by their ids: (cohort, slot, verdict). Unknown ids are left out."""
    found: dict[str, tuple[int, int, str]] = {}
    wanted = sorted(record_ids)
    query = _rows(records.c.id, records.c.cohort_id, records.c.slot, predicate.verdict())
    for start in range(0, len(wanted), 500):
        for row in tx.execute(query.where(records.c.id.in_(wanted[start : start + 500]))):
            found[row[0]] = (row[1], row[2], row[3])
    return found


def not_eligible(tx: Transaction, predicate: Predicate, cohort_ids: Collection[int]) -> list[tuple[int, int]]:
    """The records of some cohorts that may not be condemned: (cohort, slot)."""
    query = _rows(records.c.cohort_id, records.c.slot).where(predicate.verdict().not_in(CONDEMNABLE))
    found: list[tuple[int, int]] = []
    wanted = sorted(cohort_ids)
    for start in range(0, len(wanted), 500):
        batch = query.where(records.c.cohort_id.in_(wanted[start : start + 500]))
        found.extend((row.cohort_id, row.slot) for row in tx.execute(batch))
    return found


def count_verdicts(tx: Transaction, predicate: Predicate) -> dict[str, int]:
    """How many living records get each verdict."""
    verdict = predicate.verdict().label("verdict")
    rows = tx.execute(_rows(verdict, sa.func.count()).group_by(verdict))
    return {str(name): int(count) for name, count in rows if name != Verdict.GONE}


def count_early(tx: Transaction, predicate: Predicate) -> int:
    """How many living records have a due date that no policy gives them."""
    return int(tx.execute(_rows(sa.func.count()).where(predicate.early())).scalar_one())


def count_spared(tx: Transaction, predicate: Predicate) -> int:
    """How many records a sunset would destroy if no hold protected them."""
    return int(tx.execute(_rows(sa.func.count()).where(predicate.spared())).scalar_one())
