"""By when the active tree's master is to end by itself (S7), so that dead software misses no deadline.

Where everything goes at the deadline, the custodian is told to destroy the active master then, if it can do such a
thing. What a hold protects has its key in the held tree too, whose master is not told. The end is left out wherever
it could cost somebody a record: see docs/decisions/0016.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from keystore import Tree
from vault.catalogue import Transaction, keys
from vault.catalogue.holding import hold_scopes
from vault.context import current_policy
from vault.law.schedule import DESTROY, end_of

from .latched import latched_rows, latched_sunsets, standing_outcome

__all__ = ["LAST_COPIES", "NOTHING_OPENED", "end_for_active_master", "wrong_end"]

LAST_COPIES: Final = timedelta(hours=24)
"""So long before the end, whatever is held gets its copy at every look at the clocks."""
NOTHING_OPENED: Final = timedelta(minutes=10)
"""So long before the end no record is opened: a hold could cover it, and its copy come too late."""


def end_for_active_master(tx: Transaction, now: datetime) -> datetime | None:
    """When a master of the active tree that is made now should end by itself; None: only as its custodian does anyway.

    That is the sunset's deadline, unless

    1. it is over;
    2. something is decided but that everything goes, the sunset is about a part of the program, or an earlier one keeps
       records past it: what is kept lies in the same tree;
    3. a hold covers records that are still to come, or to be completed: their copies could come too late.
    """
    policy = current_policy(tx)
    sunset = policy.sunset
    if sunset is None:
        return None
    ends_at = end_of(sunset.deadline, policy.zone)
    if now >= ends_at or latched_rows(tx, sunset.deadline):
        return None
    if sunset.filed or standing_outcome(tx, policy, sunset).name != DESTROY:
        return None
    if any(one.keeps_on for one in latched_sunsets(tx, ends_at)) or _covers_the_future(tx, now):
        return None
    return ends_at


def wrong_end(tx: Transaction, now: datetime) -> datetime | None:
    """When the active tree's present master ends by itself, though by now it must not; None: it ends as it should."""
    end = keys.planned_end(tx, keys.current_root(tx, Tree.ACTIVE).master)
    return end if end is not None and now < end and end != end_for_active_master(tx, now) else None


def _covers_the_future(tx: Transaction, now: datetime) -> bool:
    """Whether a part of a hold, sealed ones included, can match records that are not there yet.

    Or that it does not match yet: who was opened before a filing period is held from the completion in it on.
    """
    later = hold_scopes.c.captured_by.is_(None) | hold_scopes.c.since.is_not(None)
    goes_on = hold_scopes.c.ended_at.is_(None) & later
    ahead = hold_scopes.c.until.is_(None) | (hold_scopes.c.until > now)
    return tx.execute(sa.select(hold_scopes.c.hold_id).where(goes_on, ahead).limit(1)).first() is not None
