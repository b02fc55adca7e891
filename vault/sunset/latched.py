"""What stands of a sunset, and the sunsets that have latched, as the one predicate takes them (S4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.law import orders, sunsets
from vault.catalogue.schema import policies, records
from vault.errors import OrderRefusedError
from vault.ids import OrderId
from vault.law.policy import Policy, Sunset
from vault.law.retention import Sunken
from vault.law.schedule import DECISIONS, PRESERVE, Decision, Outcome, covered, end_of, outcome_of
from vault.log.vouching import our_entries
from vault.orders.order import Order

__all__ = [
    "Authority",
    "Periods",
    "authority_of",
    "decided_to_destroy",
    "instants",
    "kept_until",
    "latched_rows",
    "latched_sunsets",
    "standing_outcome",
    "sunken",
    "sunken_row",
    "unbelieved_sunsets",
    "verify_latched",
]

Periods = tuple[tuple[datetime, datetime], ...]
"""Filing periods, each from an instant to before another."""


def sunken(ends_at: datetime, covers: Periods, kept: Periods, until: datetime | None, now: datetime) -> Sunken:
    """A sunset whose deadline is over. What it keeps it never destroys; until a date it keeps it from sweeps too."""
    return Sunken(ends_at, covers, kept, keeps_on=until is not None and now < until)


def standing_outcome(tx: Transaction, policy: Policy, sunset: Sunset) -> Outcome:
    """What would latch if no other decision came."""
    rows = tx.execute(sa.select(orders).where(orders.c.action.in_(DECISIONS), orders.c.void_reason.is_(None))).all()
    decisions = [
        Decision(r.id, r.action, Order.decode(r.body).scope, r.accepted_at, r.effective_at)
        for r in rows
        if _was_accepted(tx, r)
    ]
    return outcome_of(sunset, policy.zone, decisions)


def decided_to_destroy(tx: Transaction) -> list[datetime]:
    """When the vault accepted decisions that a sunset destroys, replaced ones included."""
    rows = tx.execute(sa.select(orders).where(orders.c.action == "destroy-at-sunset")).all()
    return [row.accepted_at for row in rows if _was_accepted(tx, row)]


def latched_sunsets(tx: Transaction, now: datetime) -> tuple[Sunken, ...]:
    """The outcomes that have latched. Neither another policy nor time undoes them."""
    return tuple(sunken_row(row, now) for row in latched_rows(tx))


def latched_rows(tx: Transaction, deadline: date | None = None) -> list[sa.Row[Any]]:
    """What the catalogue has as latched, and the journal too, in an entry that the vault wrote: rows alone are nothing.

    Whoever can write in the catalogue could seal off reading with one, or keep what is due (`vault.log.vouching`).
    """
    return [row for row in _rows(tx) if deadline in (None, row.deadline) and _has_latched(tx, row)]


def unbelieved_sunsets(tx: Transaction) -> list[date]:
    """Deadlines that somebody wrote into the catalogue as latched."""
    return [row.deadline for row in _rows(tx) if not _has_latched(tx, row)]


def _rows(tx: Transaction) -> Sequence[sa.Row[Any]]:
    return tx.execute(sa.select(sunsets).where(sunsets.c.latched_at.is_not(None))).all()


def _has_latched(tx: Transaction, row: sa.Row[Any]) -> bool:
    said = {
        "ends_at": row.ends_at.isoformat(),
        "outcome": row.outcome,
        "order": row.order_id,
        "covers": row.covers,
        "kept": row.kept,
        "kept_until": row.kept_until.isoformat() if row.kept_until else None,
    }
    told = our_entries(tx, "sunset latched", row.deadline.isoformat())
    return any((one.at, one.facts) == (row.latched_at, said) for one in told)


def _was_accepted(tx: Transaction, row: sa.Row[Any]) -> bool:
    """Whether the vault accepted this order, as it stands."""
    said = row.action, row.body.decode("utf-8"), row.effective_at.isoformat()
    return any(
        (one.at, one.facts["action"], one.facts["body"], one.facts["effective_at"]) == (row.accepted_at, *said)
        for one in our_entries(tx, "order accepted", row.id)
    )


def kept_until(tx: Transaction, record_id: str, now: datetime) -> datetime | None:
    """Until when two people ordered a record to be kept, past its due date (P2); None: nobody did, or it is over."""
    ends = [
        row.kept_until
        for row in latched_rows(tx)
        if row.kept_until is not None
        and row.kept_until > now
        and tx.execute(
            sa.select(records.c.id).where(records.c.id == record_id, sunken_row(row, now).preserves())
        ).first()
    ]
    return max(ends, default=None)


def sunken_row(row: sa.Row[Any], now: datetime) -> Sunken:
    """A latched sunset as the predicate takes it."""
    return sunken(row.ends_at, instants(row.covers), instants(row.kept), row.kept_until, now)


def instants(kept: list[list[str]]) -> Periods:
    """Periods as they are stored."""
    return tuple((datetime.fromisoformat(begin), datetime.fromisoformat(end)) for begin, end in kept)


def verify_latched(tx: Transaction) -> None:
    """Make sure that every outcome that has latched is the one that the policy in force then gave.

    Who writes rows makes no deadline. Left to the caller: that the policies, and the orders that decided, are what
    people signed.

    Raises:
        OrderRefusedError: one is not.
    """
    versions = tx.execute(sa.select(policies).order_by(policies.c.version)).all()
    for row in latched_rows(tx):
        document = max((one.version, one.document) for one in versions if one.adopted_at <= row.latched_at)[1]
        policy = Policy.decode(document)
        if policy.sunset is None or policy.sunset.deadline != row.deadline:
            message = f"The policy had no sunset of {row.deadline}, though one has latched; nothing was destroyed."
            raise OrderRefusedError(message)
        stood, ends_at = standing_outcome(tx, policy, policy.sunset), end_of(row.deadline, policy.zone)
        said = (row.ends_at, row.outcome, row.order_id, instants(row.covers), instants(row.kept), row.kept_until)
        covers = covered(policy.sunset, policy.zone)
        if said != (ends_at, stood.name, stood.order_id, covers, stood.kept, stood.kept_until):
            message = f"What has latched of the sunset of {row.deadline} is not what stood then; nothing was destroyed."
            raise OrderRefusedError(message)


@dataclass(frozen=True, slots=True)
class Authority:
    """Under which sunset records are destroyed."""

    deadline: date
    outcome: str
    order_id: OrderId | None
    """The decision; None: the default of the policy stood, since nobody had decided."""

    @property
    def text(self) -> str:
        """In one line."""
        by = f"order {self.order_id}" if self.order_id else "the default of the policy"
        return f"sunset of {self.deadline}: {self.outcome} by {by}"


def authority_of(tx: Transaction, at: datetime) -> Authority | None:
    """Under which authority a sunset destroys at an instant: the last that had latched and destroys anything at all."""
    found = [row for row in latched_rows(tx) if row.latched_at <= at and row.outcome != PRESERVE]
    row = max(found, key=lambda one: one.deadline, default=None)
    return None if row is None else Authority(row.deadline, row.outcome, row.order_id and OrderId(row.order_id))
