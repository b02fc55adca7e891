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

from vault.catalogue import Transaction
from vault.clocks.clock import civil_date
from vault.law.policy import Mode, Policy, due_on
from vault.law.schedule import DESTROY

from .latched import decided_to_destroy, latched_rows, standing_outcome

__all__ = ["DAYS_IN_ALL", "due_of", "keeps_nothing", "nothing_kept_from"]

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


def nothing_kept_from(tx: Transaction, policies: Sequence[tuple[datetime, Policy]]) -> datetime | None:
    """The first instant from which documents may have lived only until a decision; None: they never did.

    Args:
        tx: the catalogue.
        policies: every version of the policy, with when it came into force.
    """
    found = [adopted_at for adopted_at, policy in policies if policy.mode is Mode.NO_RETAIN]
    found += [row.ends_at for row in latched_rows(tx) if row.outcome == DESTROY and not row.covers]
    return min([*found, *decided_to_destroy(tx)], default=None)


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
