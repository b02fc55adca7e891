"""By what authority something is destroyed, asked again in the transaction that condemns it.

A sweep stands under the policy, which carries its approvals; what a sunset has left, under the outcome that has
latched, and the order that decided it where there is one; the end of a hold's parts, under the orders that ended them;
whatever else destroys records, under one order, which is used up in the same transaction. Between the freezing of a
list and this the policy may have changed and the order may have been taken back: then nothing dies.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.destructions import Destruction
from vault.catalogue.holding import hold_records, hold_scopes
from vault.catalogue.law import orders
from vault.errors import OrderRefusedError
from vault.law.retention import Cause
from vault.orders.accepting import load_order, require_order, use_order
from vault.orders.actions import Action
from vault.orders.adopting import require_standing
from vault.sunset.latched import authority_of

from .frozen_lists import KeysOnly

__all__ = ["claim_authority"]


def claim_authority(tx: Transaction, destruction: Destruction, now: datetime) -> None:
    """Make sure that a destruction has authority at `now`, and use its order up. In the condemning transaction.

    A move needs none: no record, and no copy of a key, dies by it.

    Raises:
        OrderRefusedError: the policy changed or is not approved, or the order gives no authority any more.
    """
    match destruction.kind:
        case Cause.SWEEP:
            if require_standing(tx).version != destruction.policy_version:
                message = "The policy changed after the list was frozen; nothing was destroyed. Start the sweep again."
                raise OrderRefusedError(message)
        case Cause.SUNSET:
            require_standing(tx)
            _require_latched(tx, destruction, now)
        case Cause.SCRUB | Cause.DESTROY as kind:
            if destruction.order_id is None:
                message = f"A {kind} needs an order; nothing was destroyed."
                raise OrderRefusedError(message)
            require_order(tx, destruction.order_id, Action(kind), now)
            use_order(tx, destruction.order_id, destruction.id, now)
        case KeysOnly.RELEASE:
            _require_ended_by_orders(tx, destruction)
        case KeysOnly.MOVE:
            pass
        case other:
            message = f"Nothing gives authority for a {other}; nothing was destroyed."
            raise OrderRefusedError(message)


def _require_latched(tx: Transaction, destruction: Destruction, now: datetime) -> None:
    """Which records, the predicate says; under which outcome, and by whose decision, this does (S4)."""
    found = authority_of(tx, now)
    if found is None or found.order_id != destruction.order_id:
        message = "No sunset has latched under which this list was frozen; nothing was destroyed."
        raise OrderRefusedError(message)
    if found.order_id is None:
        return
    decision = load_order(tx, found.order_id)
    decides = decision.action in (Action.DESTROY_AT_SUNSET, Action.PARTIAL)
    deadline = found.deadline.isoformat()
    if not decides or decision.order.scope["deadline"] != deadline or decision.used_by != f"sunset {deadline}":
        message = "The order is no decision about the sunset that has latched; nothing was destroyed."
        raise OrderRefusedError(message)


def _require_ended_by_orders(tx: Transaction, destruction: Destruction) -> None:
    """Every part of the hold that ends now must have been ended by an order to release it, used for this hold (H3)."""
    hold_id, by = destruction.hold_id, destruction.frozen_at
    ending = 0
    for parts in (hold_records, hold_scopes):
        over = (parts.c.hold_id == hold_id) & parts.c.ended_at.is_(None) & (parts.c.ends_at <= by)
        released = (orders.c.action == Action.RELEASE) & (orders.c.used_by == hold_id)
        query = sa.select(sa.func.count(), sa.func.count(orders.c.id)).select_from(
            parts.outerjoin(orders, (orders.c.id == parts.c.ending_order) & released)
        )
        found, ordered = tx.execute(query.where(over)).one()
        if found != ordered:
            message = "A part of the hold ends under no order to release it; nothing was destroyed."
            raise OrderRefusedError(message)
        ending += int(found)
    if not ending:
        message = "Nothing of the hold is to end; nothing was destroyed."
        raise OrderRefusedError(message)
