"""Why records lived past a deadline: the holds that kept them, all of them, one after the other."""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.destructions import Destruction
from vault.catalogue.holding import hold_records, hold_scopes, holds
from vault.catalogue.schema import record_states
from vault.clocks.clock import civil_date
from vault.law.policy import Policy

__all__ = ["holds_past"]


def holds_past(
    tx: Transaction, destruction: Destruction, last_day: date, completed_on: date, policy: Policy
) -> list[str]:
    """The open holds (H11) that kept records of this destruction after a civil day, in the certificate's words.

    One that began after that day kept them too, if they were still there. Of a hold that goes on, only what it has let
    go can have kept what is destroyed now.
    """
    destroyed = record_states.c.destruction_id == destruction.id
    named = sa.exists().where(
        hold_records.c.hold_id == holds.c.id, hold_records.c.record_id == record_states.c.id, destroyed
    )
    by_rule = sa.exists().where(
        hold_scopes.c.hold_id == holds.c.id,
        sa.or_(holds.c.released_at.is_not(None), hold_scopes.c.ended_at.is_not(None)),
    )
    query = (
        sa.select(holds.c.id, holds.c.entered_at, holds.c.released_at)
        .where(holds.c.sealed.is_(None), sa.or_(named, by_rule))
        .order_by(holds.c.entered_at, holds.c.id)
    )
    return [
        f"hold {row.id}, {f'released {row.released_at.isoformat()}' if row.released_at else 'released in part'}"
        for row in tx.execute(query)
        if civil_date(row.entered_at, policy.zone) <= completed_on
        and (row.released_at is None or civil_date(row.released_at, policy.zone) > last_day)
    ]
