"""No-retain (P3): documents live until the application is decided, and thirty days at the most.

It is a mode of the policy. It begins by itself with a recorded decision DESTROY about a sunset, for what is filed from
then on, however everything is held; a decision that replaces it before the cut-off takes it back. And it stays once a
sunset has latched DESTROY: what is filed after the end of a program is not kept for years again. That an application
was decided is told by `vault.records.deciding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.schema import policies
from vault.clocks.clock import civil_date
from vault.law.policy import Mode, Policy, due_on
from vault.law.schedule import DESTROY

from .latched import decided_to_destroy, latched_rows, standing_outcome

__all__ = ["DAYS_IN_ALL", "completed_in_mode", "due_of", "keeps_nothing", "nothing_kept_from", "versions_of"]

DAYS_IN_ALL: Final = 30


def keeps_nothing(tx: Transaction, policy: Policy) -> bool:
    """Whether documents only live until the application is decided."""
    if policy.mode is Mode.NO_RETAIN:
        return True
    if policy.sunset is not None and not policy.sunset.filed:
        standing = standing_outcome(tx, policy, policy.sunset)
        if standing.name == DESTROY and standing.order_id is not None:
            # S2: somebody has decided it. The default alone, of a deadline that is ahead, changes nothing yet.
            return True
    # A sunset of some filing periods is not the end of the program.
    return any(row.outcome == DESTROY and not row.covers for row in latched_rows(tx))


def versions_of(tx: Transaction) -> list[tuple[datetime, Policy]]:
    """Every version of the policy, oldest first, with when it came into force."""
    rows = tx.execute(sa.select(policies.c.adopted_at, policies.c.document).order_by(policies.c.version)).all()
    return [(row.adopted_at, Policy.decode(row.document)) for row in rows]


def nothing_kept_from(tx: Transaction, versions: Sequence[tuple[datetime, Policy]]) -> datetime | None:
    """The first instant from which documents may have lived only until a decision; None: they never did.

    Args:
        tx: the catalogue.
        versions: as of `versions_of`.
    """
    found = [adopted_at for adopted_at, policy in versions if policy.mode is Mode.NO_RETAIN]
    found += [row.ends_at for row in latched_rows(tx) if row.outcome == DESTROY and not row.covers]
    return min([*found, *decided_to_destroy(tx)], default=None)


def completed_in_mode(tx: Transaction, policy: Policy, now: datetime) -> datetime:
    """When a record is completed that is completed now: while nothing is kept, never before that began.

    By the clock of a host that is behind the one on which it began, it would be; and such a record is not due before
    its policy's months are over (`vault.law.plausible`).
    """
    if not keeps_nothing(tx, policy):
        return now
    began = nothing_kept_from(tx, versions_of(tx))
    return now if began is None else max(now, began)


def due_of(tx: Transaction, policy: Policy, completed_at: datetime) -> date:
    """The day on which a record that is completed at an instant falls due, whichever mode the program is in."""
    day = civil_date(completed_at, policy.zone)
    if keeps_nothing(tx, policy):
        if policy.floor_months:
            # P1: the law's floor outlasts a mode that nobody chose for this record.
            return due_on(day, policy.floor_months)
        # The sweep of that night ends the thirtieth day.
        return day + timedelta(days=DAYS_IN_ALL - 1)
    return due_on(day, policy.retention_months)
