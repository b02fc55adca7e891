"""Accepting orders, and asking for the authority that an accepted order gives.

`accept_order` verifies everything that can be verified and stores the order once. `require_order` says whether it may
be carried out at an instant; `use_order` uses it up, in the transaction of its effect, so that nothing is ordered
once and done twice. An order that was accepted and not used harms nobody and expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.law import orders, time_marks
from vault.clocks.trusted_time import SPREAD_MAX
from vault.context import Vault, current_policy, note
from vault.errors import NotFoundError, OrderRefusedError
from vault.ids import OrderId
from vault.law.policy import Policy
from vault.law.schedule import DECISIONS, end_of, require_decision
from vault.ledger.publishing import publish

from .actions import QUORUMS, Action, missing_places, spoken
from .lists import require_list
from .order import Order, spell_instant
from .signatures import ORDERS, Approval, approve

__all__ = [
    "Accepted",
    "accept_order",
    "earliest_effect",
    "judge_order",
    "list_orders",
    "load_order",
    "refusal",
    "require_order",
    "require_scope",
    "use_order",
    "verify_again",
    "withdraw_order",
]

REASON_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Accepted:
    """An order that was accepted, with who approved it."""

    order: Order
    body: bytes
    approvals: tuple[Approval, ...]
    policy_version: int
    accepted_at: datetime
    effective_at: datetime
    """When its cooling-off is over, and the stay that a release names."""
    used_at: datetime | None = None
    used_by: str | None = None
    """Id of what was done under it."""
    void_reason: str | None = None

    @property
    def id(self) -> OrderId:
        """The order's id."""
        return self.order.id

    @property
    def action(self) -> Action:
        """What it orders."""
        return self.order.action

    @property
    def authority(self) -> str:
        """In one line: the order, and who approved it."""
        return f"order {self.id}, approved by {', '.join(one.person for one in self.approvals)}"


def accept_order(vault: Vault, body: bytes, signatures: Sequence[bytes], *, document: bytes | None = None) -> Accepted:
    """Verify an order and its signatures, and store it.

    1. the document: canonical, for this vault, not expired
    2. the signatures: allowed keys, one for each person
    3. the quorum of its action
    4. in one transaction: not known yet; what its scope names is there and unchanged

    Args:
        vault: the vault that the order is for.
        body: the order's document.
        signatures: armored, as `ssh-keygen -Y sign` writes them.
        document: for `adopt-policy`, the policy; needed while nobody stands in the policy in force.

    Raises:
        OrderRefusedError: with the reason; nothing was stored.
        SignaturesUnavailableError: `ssh-keygen` cannot be run.
    """
    accepted = judge_order(vault, body, signatures, document=document)
    with vault.catalogue.write() as tx:
        # 4. again, for the world may have changed since.
        _require_fresh(tx, accepted)
        _insert(tx, accepted)
        note(tx, accepted.accepted_at, "order accepted", accepted.id, _facts(accepted))
    publish(vault)
    return accepted


def judge_order(vault: Vault, body: bytes, signatures: Sequence[bytes], *, document: bytes | None = None) -> Accepted:
    """What `accept_order` would accept; nothing is stored.

    Raises:
        OrderRefusedError: with the reason.
        SignaturesUnavailableError: `ssh-keygen` cannot be run.
    """
    now = vault.clock.now()
    # 1.
    order = Order.decode(body)
    _require_ours(vault, order, now)
    with vault.catalogue.read() as tx:
        policy = current_policy(tx)
    # 2.
    judge = policy if policy.people else _founding(order, document)
    approvals = approve(body, signatures, ORDERS, judge, now)
    # 3.
    _require_quorum(order.action, approvals, judge)
    accepted = Accepted(order, body, approvals, policy.version, now, earliest_effect(order, policy, now))
    if accepted.effective_at >= order.expires:
        message = "The order expires before its cooling-off, or the stay that it names, is over; draft a longer one."
        raise OrderRefusedError(message)
    # 4.
    with vault.catalogue.read() as tx:
        _require_fresh(tx, accepted)
    return accepted


def _require_fresh(tx: Transaction, accepted: Accepted) -> None:
    if tx.execute(sa.select(orders.c.id).where(orders.c.id == accepted.id)).scalar() is not None:
        message = "This order was handed in before; an order counts once."
        raise OrderRefusedError(message)
    if current_policy(tx).version != accepted.policy_version:
        message = "The policy changed while the order was verified; hand it in again."
        raise OrderRefusedError(message)
    _require_not_set_back(tx, accepted)
    require_scope(tx, accepted.order, accepted.accepted_at)


def _require_not_set_back(tx: Transaction, accepted: Accepted) -> None:
    """T5: a clock that is set back for a moment would spare a cooling-off, or let a cut-off be still to come."""
    high_water = tx.execute(sa.select(time_marks.c.high_water)).scalar_one()
    if accepted.action is not Action.CLEAR_TIME and accepted.accepted_at < high_water - SPREAD_MAX:
        message = (
            f"The clock says that it is earlier than {spell_instant(high_water)}, when it was read before. Set it "
            "right, or let two people clear time; then hand the order in."
        )
        raise OrderRefusedError(message)


def require_scope(tx: Transaction, order: Order, now: datetime) -> None:
    """Make sure that what an order names is there, and is what its signers saw.

    Raises:
        OrderRefusedError: it is not.
    """
    if order.action in (Action.SCRUB, Action.DESTROY):
        require_list(tx, order, now)
    elif order.action in DECISIONS:
        # S2: a decision may be recorded while everything is held, and replaced until the cut-off.
        policy = current_policy(tx)
        require_decision(policy.sunset, policy.zone, order.action, order.scope, now)
    elif order.action is Action.ADOPT_POLICY and order.scope["version"] != current_policy(tx).version + 1:
        message = f"The order is for version {order.scope['version']} of the policy, which is not the next one."
        raise OrderRefusedError(message)


def _require_ours(vault: Vault, order: Order, now: datetime) -> None:
    if order.program != vault.vault_id.hex():
        message = "The order is for another vault."
        raise OrderRefusedError(message)
    if now >= order.expires:
        message = f"The order expired on {spell_instant(order.expires)}."
        raise OrderRefusedError(message)


def _founding(order: Order, document: bytes | None) -> Policy:
    """The policy whose people judge the order that adopts it, because nobody stands in the one in force."""
    if order.action is not Action.ADOPT_POLICY or document is None:
        message = "Nobody stands in the policy in force: no order can be signed before `shredvault policy adopt`."
        raise OrderRefusedError(message)
    policy = Policy.decode(document)
    if order.scope["policy_sha256"] != policy.sha256:
        message = "The order is for another policy document than this one."
        raise OrderRefusedError(message)
    return policy


def _require_quorum(action: Action, approvals: Sequence[Approval], policy: Policy) -> None:
    missing = missing_places(QUORUMS[action], (one.person for one in approvals), policy.people)
    if missing:
        signed = ", ".join(one.person for one in approvals) or "nobody"
        message = f"The order is under-signed: {signed} signed; it lacks {spoken(missing)}."
        raise OrderRefusedError(message)


def earliest_effect(order: Order, policy: Policy, accepted_at: datetime) -> datetime:
    """From when on an order may be carried out that is accepted at an instant: after cooling-off and stay."""
    hours = order.cooling_off_hours
    if hours is None:
        hours = policy.cooling_off_hours.get(order.action, 0)
    begins = max(order.not_before, accepted_at + timedelta(hours=hours))
    if order.action is Action.RELEASE and order.scope["stay"] is not None:
        # H3: while the stay that it names runs, a release has no effect.
        return max(begins, end_of(date.fromisoformat(order.scope["stay"]["until"]), policy.zone))
    return begins


def _insert(tx: Transaction, accepted: Accepted) -> None:
    tx.execute(
        sa.insert(orders).values(
            id=accepted.id,
            action=accepted.action,
            body=accepted.body,
            approvals=[one.encode() for one in accepted.approvals],
            policy_version=accepted.policy_version,
            accepted_at=accepted.accepted_at,
            effective_at=accepted.effective_at,
            expires_at=accepted.order.expires,
        )
    )


def _facts(accepted: Accepted) -> dict[str, Any]:
    return {
        "action": accepted.action,
        "body": accepted.body.decode("utf-8"),
        "approvals": [one.encode() for one in accepted.approvals],
        "policy_version": accepted.policy_version,
        "effective_at": accepted.effective_at.isoformat(),
    }


def _made(row: sa.Row[Any]) -> Accepted:
    return Accepted(
        Order.decode(row.body),
        row.body,
        tuple(Approval.decode(one) for one in row.approvals),
        row.policy_version,
        row.accepted_at,
        row.effective_at,
        row.used_at,
        row.used_by,
        row.void_reason,
    )


def load_order(tx: Transaction, order_id: str) -> Accepted:
    """An order that was accepted.

    Raises:
        NotFoundError: there is none.
    """
    row = tx.execute(sa.select(orders).where(orders.c.id == order_id)).one_or_none()
    if row is None:
        message = "There is no such order; `shredvault order list` shows those that were handed in."
        raise NotFoundError(message)
    return _made(row)


def list_orders(tx: Transaction) -> list[Accepted]:
    """All orders that were accepted, oldest first."""
    return [_made(row) for row in tx.execute(sa.select(orders).order_by(orders.c.accepted_at, orders.c.id))]


def require_order(tx: Transaction, order_id: str, action: Action, now: datetime) -> Accepted:
    """The order, if it gives authority for `action` at `now`.

    Raises:
        NotFoundError: there is no such order.
        OrderRefusedError: it orders something else, is used up, void, cooling off or expired, or the policy changed.
    """
    accepted = load_order(tx, order_id)
    why = refusal(accepted, action, current_policy(tx).version, now)
    if why is not None:
        raise OrderRefusedError(why)
    return accepted


def refusal(accepted: Accepted, action: Action, policy_version: int, now: datetime) -> str | None:
    """Why an accepted order gives no authority for `action` at `now`; None: it does."""
    begins, ends = spell_instant(accepted.effective_at), spell_instant(accepted.order.expires)
    reasons = (
        (accepted.action is not action, f"The order is one to {accepted.action}, not to {action}."),
        (accepted.used_at is not None, "The order was carried out; it counts once."),
        (accepted.void_reason is not None, f"The order is void: {accepted.void_reason}"),
        (
            accepted.policy_version != policy_version,
            f"The policy has changed since the order was accepted under version {accepted.policy_version}.",
        ),
        (now < accepted.effective_at, f"The order cannot be carried out before {begins}."),
        (now >= accepted.order.expires, f"The order expired on {ends}."),
    )
    return next((why for applies, why in reasons if applies), None)


def verify_again(accepted: Accepted, policy: Policy) -> None:
    """Verify the signatures of an accepted order again, as the people of `policy`, under which it was accepted.

    Raises:
        OrderRefusedError: they do not verify, or are not those of a quorum: the catalogue was edited.
    """
    signatures = [one.signature.encode() for one in accepted.approvals]
    again = approve(accepted.body, signatures, ORDERS, policy, accepted.accepted_at)
    _require_quorum(accepted.action, again, policy)


def use_order(tx: Transaction, order_id: str, by: str, now: datetime) -> None:
    """Use an order up, in the transaction of its effect. `by` is the id of what is done under it.

    Raises:
        RuleBrokenError: it was used up or void already.
    """
    tx.execute(sa.update(orders).where(orders.c.id == order_id).values(used_at=now, used_by=by))
    note(tx, now, "order used", order_id, {"by": by})


def withdraw_order(vault: Vault, order_id: OrderId, reason: str) -> None:
    """Take back an order that was not carried out. It weakens nothing, so it needs no second person.

    A decision about a sunset cannot be taken back: without it the default, or an earlier decision, would stand.

    Raises:
        NotFoundError: there is no such order.
        OrderRefusedError: it was carried out or taken back already, is a decision about a sunset, or the reason is too
            long.
    """
    now = vault.clock.now()
    if not 1 <= len(reason.strip()) <= REASON_CHARACTERS_MAX:
        message = f"Give the reason in 1 to {REASON_CHARACTERS_MAX} characters."
        raise OrderRefusedError(message)
    with vault.catalogue.write() as tx:
        found = load_order(tx, order_id)
        if found.used_at is not None or found.void_reason is not None:
            message = "The order was carried out or taken back already."
            raise OrderRefusedError(message)
        if found.action in DECISIONS:
            message = "A decision about a sunset is not taken back; until the cut-off two people can replace it."
            raise OrderRefusedError(message)
        tx.execute(sa.update(orders).where(orders.c.id == order_id).values(void_reason=reason.strip()))
        note(tx, now, "order voided", order_id, {"reason": reason.strip()})
    publish(vault)
