"""By what authority something is destroyed, asked again in the transaction that condemns it.

A sweep, and what a sunset has left, stand under the policy, which carries its approvals; whatever else destroys
records, under one order, which is used up in the same transaction. Between the freezing of a list and this the policy
may have changed and the order may have been taken back: then nothing dies.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from .catalogue import Transaction
from .catalogue.destructions import Destruction
from .errors import OrderRefusedError
from .orders.accepting import require_order, use_order
from .orders.actions import Action
from .orders.adopting import require_standing

__all__ = ["claim_authority"]

_SWEEP: Final = "sweep"
_SUNSET: Final = "sunset"
_ORDERED: Final = ("scrub", "destroy")
"""Kinds of destruction that nobody may carry out without an order."""


def claim_authority(tx: Transaction, destruction: Destruction, now: datetime) -> None:
    """Make sure that a destruction has authority at `now`, and use its order up. In the condemning transaction.

    Raises:
        OrderRefusedError: the policy changed or is not approved, or the order gives no authority any more.
    """
    if destruction.kind == _SWEEP and require_standing(tx).version != destruction.policy_version:
        message = "The policy changed after the list was frozen; nothing was destroyed. Start the sweep again."
        raise OrderRefusedError(message)
    if destruction.kind == _SUNSET:
        # Which records, the predicate says: nothing is on its list that no latched deadline has left (S4).
        require_standing(tx)
    if destruction.order_id is not None:
        require_order(tx, destruction.order_id, Action(destruction.kind), now)
        use_order(tx, destruction.order_id, destruction.id, now)
    elif destruction.kind in _ORDERED:
        message = f"A {destruction.kind} needs an order; nothing was destroyed."
        raise OrderRefusedError(message)
