"""Telling that an application was decided, where nothing is kept (P3).

The record is due at once: the next nightly sweep takes it, within 24 hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import sqlalchemy as sa

from vault.access import Caller
from vault.catalogue.schema import records
from vault.clocks.clock import civil_date
from vault.context import Vault, current_policy, note
from vault.errors import RecordIncompleteError, RecordsAreKeptError
from vault.ids import RecordId
from vault.ledger.publishing import publish
from vault.sunset.no_retain import DAYS_IN_ALL, keeps_nothing

from .filing import own_record

__all__ = ["Decided", "decide_record"]


@dataclass(frozen=True, slots=True)
class Decided:
    """A record whose application was decided."""

    record_id: RecordId
    due_on: date


def decide_record(vault: Vault, caller: Caller, record_id: str) -> Decided:
    """Tell that an application was decided: its record is due at once. Safe to repeat.

    Raises:
        ForbiddenError: the caller is no center.
        NotFoundError: no such record, or another center's.
        DestroyedError: condemned, destroyed or abandoned.
        RecordIncompleteError: it was not completed.
        RecordsAreKeptError: the program keeps records for the time of its policy, or did when this one was filed.
    """
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        row = own_record(tx, caller, record_id)
        policy = current_policy(tx)
        if row.completed_at is None:
            message = "The record was not completed yet."
            raise RecordIncompleteError(message)
        # P2: what was filed while records were kept goes by the policy it was filed under, whatever was decided since.
        last = civil_date(row.completed_at, policy.zone) + timedelta(days=DAYS_IN_ALL)
        # P1: nor does a decision hasten anything below the law's floor.
        if policy.floor_months or not keeps_nothing(tx, policy) or row.due_on >= last:
            raise RecordsAreKeptError
        due = min(row.due_on, civil_date(now, policy.zone))
        if due < row.due_on:
            tx.execute(sa.update(records).where(records.c.id == row.id).values(due_on=due))
            note(tx, now, "decided", row.id, {"due_on": due.isoformat()})
    publish(vault)
    return Decided(row.id, due)
