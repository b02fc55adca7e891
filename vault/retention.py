"""The one predicate: may this record be condemned, and if not, why not.

It is SQL, evaluated on the state of the transaction that asks; nothing else in the vault decides it. What
must be true of a condemned record: it is on the frozen list; it is due, or ordered, or was never completed
and has been given up; and no hold that is in force names it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from .catalogue import Transaction
from .catalogue.schema import cohorts, hold_records, holds, records

__all__ = ["CONDEMNABLE", "Cause", "Predicate", "Verdict", "count_verdicts", "judge", "judge_named", "not_eligible"]


class Cause(StrEnum):
    """Why records are destroyed."""

    SWEEP = "sweep"
    SCRUB = "scrub"
    DESTROY = "destroy"
    """Named records, one by one."""


class Verdict(StrEnum):
    """What the predicate says of one record."""

    DUE = "due"
    ORDERED = "ordered"
    GIVEN_UP = "given up"
    HELD = "held"
    NOT_DUE = "not due"
    RECEIVING = "receiving"
    GONE = "gone"


CONDEMNABLE: Final = (Verdict.DUE, Verdict.ORDERED, Verdict.GIVEN_UP)


@dataclass(frozen=True, slots=True)
class Predicate:
    """The predicate's inputs, time included."""

    cause: Cause
    today: date
    """Civil date in the program's time zone."""
    given_up_before: datetime
    """Records opened earlier than this and never completed are given up."""

    def verdict(self) -> sa.ColumnElement[str]:
        """The verdict on a row of `records` joined with `cohorts`."""
        sweep = self.cause is Cause.SWEEP
        due = records.c.due_on <= self.today if sweep else sa.true()
        alive = records.c.condemned_by.is_(None) & (records.c.spared | cohorts.c.condemned_by.is_(None))
        given_up = records.c.completed_at.is_(None) & (records.c.opened_at < self.given_up_before)
        return sa.case(
            (~alive, Verdict.GONE.value),
            (_is_held(), Verdict.HELD.value),
            (given_up, Verdict.GIVEN_UP.value),
            (records.c.completed_at.is_(None), Verdict.RECEIVING.value),
            (due, Verdict.DUE.value if sweep else Verdict.ORDERED.value),
            else_=Verdict.NOT_DUE.value,
        )

    def candidates(self) -> sa.ColumnElement[bool]:
        """A necessary condition that an index answers."""
        if self.cause is not Cause.SWEEP:
            return ~records.c.reclaimed
        given_up = (
            records.c.completed_at.is_(None) & ~records.c.reclaimed & (records.c.opened_at < self.given_up_before)
        )
        return (records.c.due_on <= self.today) | given_up


def _is_held() -> sa.ColumnElement[bool]:
    return sa.exists(
        sa.select(sa.literal(1))
        .select_from(hold_records)
        .join(holds, holds.c.id == hold_records.c.hold_id)
        .where(hold_records.c.record_id == records.c.id, holds.c.released_at.is_(None))
    )


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
