"""What stands of a sunset, and the sunsets that have latched, as the one predicate takes them (S4)."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.law import orders, sunsets
from vault.orders.order import Order
from vault.policy import Policy, Sunset
from vault.retention import Sunken

from .schedule import DECISIONS, Outcome, outcome_of

__all__ = ["Periods", "authority_of", "instants", "latched_sunsets", "standing_outcome", "sunken"]

Periods = tuple[tuple[datetime, datetime], ...]
"""Filing periods, each from an instant to before another."""


def sunken(ends_at: datetime, kept: Periods, until: datetime | None, now: datetime) -> Sunken:
    """A sunset whose deadline is over: what is kept is kept until a date, and then destroyed like the rest."""
    return Sunken(ends_at, kept if until is not None and now < until else ())


def standing_outcome(tx: Transaction, policy: Policy, sunset: Sunset) -> Outcome:
    """What would latch if no other decision came."""
    rows = tx.execute(sa.select(orders).where(orders.c.action.in_(DECISIONS), orders.c.void_reason.is_(None)))
    decisions = [(r.id, r.action, Order.decode(r.body).scope, r.accepted_at, r.effective_at) for r in rows]
    return outcome_of(sunset, policy.zone, decisions)


def latched_sunsets(tx: Transaction, now: datetime) -> tuple[Sunken, ...]:
    """The outcomes that have latched. Neither another policy nor time undoes them."""
    rows = tx.execute(sa.select(sunsets).where(sunsets.c.latched_at.is_not(None)))
    return tuple(sunken(row.ends_at, instants(row.kept), row.kept_until, now) for row in rows)


def instants(kept: list[list[str]]) -> Periods:
    """Periods as they are stored."""
    return tuple((datetime.fromisoformat(begin), datetime.fromisoformat(end)) for begin, end in kept)


def authority_of(tx: Transaction) -> str | None:
    """Under which authority a sunset destroys now: the last one that has latched; None: there is none."""
    query = sa.select(sunsets).where(sunsets.c.latched_at.is_not(None)).order_by(sunsets.c.deadline.desc()).limit(1)
    row = tx.execute(query).one_or_none()
    if row is None:
        return None
    by = f"order {row.order_id}" if row.order_id else "the default of the policy"
    return f"sunset of {row.deadline}: {row.outcome} by {by}"
