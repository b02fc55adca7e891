"""What weakens a hold: narrowing, shortening, releasing (H3).

Each takes an order that two people in different roles signed, which names the releasing act and any stay, and has
cooled off.

1. the order takes effect: the parts of the hold that are to end are marked with the instant at which their tail is
   over (H5), and the order is used up, in one transaction
2. when that instant has come, the copies of keys that no other part protects are destroyed, and in their condemning
   transaction the parts end. Until then they protect

A step that was cut off is taken by the next sweep. The retention clock never stood still: on release the old due dates
stand, and what is overdue is on the next list (H6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.destructions import Destruction
from vault.catalogue.holding import end_parts, hold_records, hold_scopes, holds, record_holds
from vault.context import Vault, current_policy, note
from vault.errors import HoldRefusedError, OrderRefusedError
from vault.holds.placing import open_hold
from vault.ids import HoldId
from vault.ledger.publishing import publish
from vault.orders import Action, load_order, require_order, use_order
from vault.orders.accepting import verify_again
from vault.orders.adopting import policy_of, verify_lineage
from vault.timekeeping import observe_time, require_trusted_time

from .carrying_out import carry_out
from .condemning import Progress
from .frozen_lists import freeze_release

__all__ = ["Released", "finish_endings", "release_hold", "release_scope"]

_PARTS: Final = (hold_records, hold_scopes)
_TAIL: Final = {"tail_days", "tail_reason"}


@dataclass(frozen=True, slots=True)
class Released:
    """What an order has done to a hold."""

    hold_id: HoldId
    ends_at: datetime | None
    """When what it ends stops protecting; None: it only set an earlier end date."""
    destructions: list[Destruction]
    """Of key copies in the held tree; no record is destroyed by a release."""


def release_scope(
    vault: Vault, hold_id: str, change: Mapping[str, Any], releasing_act: str, stay: Mapping[str, str] | None
) -> dict[str, Any]:
    """The scope of an order to change a hold, checked against the hold as it is.

    `change` is `{"do": "release"}` or `{"do": "narrow", "records": [ids], "scopes": [numbers]}`, both with `tail_days`
    and `tail_reason` where the hold's own tail is not to count, or `{"do": "shorten", "ends_on": date}`. `stay` is
    `{"what": text, "until": date}`, the stay that is on and its last day, or None where there is none.

    Raises:
        NotFoundError: there is no such hold in force.
        HoldRefusedError: the change is none, or names what the hold does not have.
    """
    with vault.catalogue.read() as tx:
        _checked(tx, open_hold(tx, hold_id), change)
    return {"hold": hold_id, "change": dict(change), "releasing_act": releasing_act, "stay": stay and dict(stay)}


def release_hold(vault: Vault, hold_id: str, order_id: str, progress: Progress = lambda _: None) -> Released:
    """Carry out an order to narrow, shorten or release a hold. Safe to repeat where it was cut off.

    Raises:
        NotFoundError: there is no such hold in force, or no such order.
        OrderRefusedError: the order gives no authority for it now.
        HoldRefusedError: the change that it orders cannot be made.
        DestructionRefusedError, BusyError: see `carry_out`; the parts are marked, and protect until the next sweep.
    """
    now = vault.clock.now()
    with vault.catalogue.read() as tx:
        handed_in, policy = load_order(tx, order_id), current_policy(tx)
    if handed_in.used_by is None and handed_in.policy_version == policy.version:
        # Whoever can write in the catalogue cannot sign.
        verify_again(handed_in, verify_lineage(vault))
    with vault.catalogue.write() as tx:
        hold = open_hold(tx, hold_id)
        if load_order(tx, order_id).used_by != hold_id:
            # 1.
            accepted = require_order(tx, order_id, Action.RELEASE, now)
            if accepted.order.scope["hold"] != hold_id:
                message = "The order is for another hold."
                raise OrderRefusedError(message)
            _apply(tx, hold, accepted.order.scope["change"], order_id, now)
    publish(vault)
    # 2.
    done = finish_endings(vault, progress, only=hold_id)
    with vault.catalogue.read() as tx:
        ends = [
            tx.execute(sa.select(sa.func.max(parts.c.ends_at)).where(parts.c.ending_order == order_id)).scalar()
            for parts in _PARTS
        ]
    return Released(HoldId(hold_id), max((at for at in ends if at is not None), default=None), done)


def finish_endings(vault: Vault, progress: Progress = lambda _: None, *, only: str | None = None) -> list[Destruction]:
    """End the parts of holds whose tail is over: of one hold, or of all. Idempotent.

    Raises:
        DestructionRefusedError, BusyError: see `carry_out`; what was not ended goes on protecting.
        OrderRefusedError: a part is to end otherwise than people have signed: the catalogue was edited.
        TimeSuspectError: nobody can say whether a tail is over (T5).
    """
    now = vault.clock.now()
    done: list[Destruction] = []
    with vault.catalogue.read() as tx:
        over = [hold_id for hold_id in _over(tx, now) if only in (None, hold_id)]
    for hold_id in over:
        _verify_endings(vault, hold_id, now)
        with vault.catalogue.read() as tx:
            listed, authority = _listed(tx, hold_id, now), _authority(tx, hold_id, now)
        if listed:
            done.append(carry_out(vault, freeze_release(vault, hold_id, authority, listed, now), progress))
            continue
        observe_time(vault)
        with vault.catalogue.write() as tx:
            # Nobody is condemned by it, but whoever comes later would not be held any more.
            require_trusted_time(tx)
            end_parts(tx, hold_id, now, now)
            note(tx, now, "hold parts ended", hold_id, {"by": now.isoformat()})
        publish(vault)
    return done


def _over(tx: Transaction, now: datetime) -> list[HoldId]:
    found = {
        hold_id
        for parts in _PARTS
        for hold_id in tx.execute(
            sa.select(parts.c.hold_id).where(parts.c.ended_at.is_(None), parts.c.ends_at <= now).distinct()
        ).scalars()
    }
    return [HoldId(hold_id) for hold_id in sorted(found)]


def _verify_endings(vault: Vault, hold_id: str, now: datetime) -> None:
    """Make sure that every part which is to end by `now` ends as people have signed. Who writes rows cannot sign.

    Raises:
        OrderRefusedError: one does not.
    """
    verify_lineage(vault)
    with vault.catalogue.read() as tx:
        hold = open_hold(tx, hold_id)
        ending = [
            (parts, getattr(row, name), row.ends_at, row.ending_order)
            for parts, name in ((hold_records, "record_id"), (hold_scopes, "number"))
            for row in tx.execute(
                sa.select(parts).where(parts.c.hold_id == hold_id, parts.c.ended_at.is_(None), parts.c.ends_at <= now)
            )
        ]
        under = {order_id: load_order(tx, order_id) for order_id in {order_id for *_, order_id in ending}}
        policy = {one.policy_version: policy_of(tx, one.policy_version) for one in under.values()}
    for one in under.values():
        verify_again(one, policy[one.policy_version])
    for parts, part, ends_at, order_id in ending:
        one = under[order_id]
        change = one.order.scope["change"] if one.action is Action.RELEASE else {}
        names = change.get("records" if parts is hold_records else "scopes", ())
        tail = timedelta(days=change.get("tail_days", hold.tail_days))
        said = change.get("do") == "release" or (change.get("do") == "narrow" and part in names)
        if not said or one.order.scope["hold"] != hold_id or ends_at < one.effective_at + tail:
            message = f"A part of hold {hold_id} is to end otherwise than its order says; nothing was ended."
            raise OrderRefusedError(message)


def _listed(tx: Transaction, hold_id: str, now: datetime) -> list[tuple[str, int, int]]:
    query = (
        sa.select(record_holds.c.record_id, record_holds.c.cohort_id, record_holds.c.slot)
        .where(record_holds.c.hold_id == hold_id, record_holds.c.ends_at <= now)
        .distinct()
        .order_by(record_holds.c.record_id)
    )
    return [(row.record_id, row.cohort_id, row.slot) for row in tx.execute(query)]


def _authority(tx: Transaction, hold_id: str, now: datetime) -> str:
    """The order under which the hold's parts end, with who approved it; the last one where there are several."""
    orders = [
        order
        for parts in _PARTS
        for order in tx.execute(
            sa.select(parts.c.ending_order).where(
                parts.c.hold_id == hold_id, parts.c.ended_at.is_(None), parts.c.ends_at <= now
            )
        ).scalars()
    ]
    accepted = [load_order(tx, order_id) for order_id in set(orders)]
    return max(accepted, key=lambda one: one.accepted_at).authority


def _apply(tx: Transaction, hold: sa.Row[Any], change: Mapping[str, Any], order_id: str, now: datetime) -> None:
    _checked(tx, hold, change)
    # The order is used before the parts are marked: the schema marks a part for no other.
    use_order(tx, order_id, hold.id, now)
    if change["do"] == "shorten":
        ends_on = date.fromisoformat(change["ends_on"])
        tx.execute(sa.update(holds).where(holds.c.id == hold.id).values(ends_on=ends_on))
        note(tx, now, "hold shortened", hold.id, {"order": order_id, "ends_on": change["ends_on"]})
        return
    ends_at = now + timedelta(days=change.get("tail_days", hold.tail_days))
    marks = {"ends_at": ends_at, "ending_order": order_id}
    going_on = {parts: (parts.c.hold_id == hold.id) & parts.c.ends_at.is_(None) for parts in _PARTS}
    ended: dict[str, Any] = {"records": None, "scopes": None}
    if change["do"] == "release":
        for parts in _PARTS:
            tx.execute(sa.update(parts).where(going_on[parts]).values(marks))
    else:
        ended = {"records": list(change.get("records", ())), "scopes": list(change.get("scopes", ()))}
        for parts, column, chosen in (
            (hold_records, hold_records.c.record_id, ended["records"]),
            (hold_scopes, hold_scopes.c.number, ended["scopes"]),
        ):
            for one in chosen:
                tx.execute(sa.update(parts).where(going_on[parts], column == one).values(marks))
    note(tx, now, "hold ending", hold.id, {"order": order_id, "ends_at": ends_at.isoformat(), **ended})


def _checked(tx: Transaction, hold: sa.Row[Any], change: Mapping[str, Any]) -> None:
    """Refuse what is no change of this hold.

    Raises:
        HoldRefusedError: so it is.
    """
    kind, members = change.get("do"), set(change) - {"do"}
    if kind == "shorten" and members == {"ends_on"}:
        _check_shortened(hold, change["ends_on"])
        return
    if kind not in {"release", "narrow"} or members - _TAIL - ({"records", "scopes"} if kind == "narrow" else set()):
        message = "A hold is changed by an order to release, narrow or shorten it; this is none of these."
        raise HoldRefusedError(message)
    _check_tail(hold, change)
    if kind == "narrow":
        _check_parts(tx, hold, change.get("records", []), change.get("scopes", []))


def _check_shortened(hold: sa.Row[Any], ends_on: Any) -> None:
    try:
        day = date.fromisoformat(ends_on)
    except (TypeError, ValueError) as wrong:
        message = "The earlier end of a hold is a date, YYYY-MM-DD."
        raise HoldRefusedError(message) from wrong
    if hold.ends_on is not None and day >= hold.ends_on:
        message = "That is not earlier than the hold ends now; extending one takes no order."
        raise HoldRefusedError(message)


def _check_tail(hold: sa.Row[Any], change: Mapping[str, Any]) -> None:
    days, reason = change.get("tail_days", hold.tail_days), change.get("tail_reason")
    if type(days) is not int or days < 0 or (reason is not None and not isinstance(reason, str)):
        message = "The tail is a number of days, and its reason a text."
        raise HoldRefusedError(message)
    if days < hold.tail_days and not reason:
        message = f"The hold has a tail of {hold.tail_days} days; a shorter one must give its reason (tail_reason)."
        raise HoldRefusedError(message)


def _check_parts(tx: Transaction, hold: sa.Row[Any], record_ids: Any, numbers: Any) -> None:
    if not isinstance(record_ids, list) or not isinstance(numbers, list) or not (record_ids or numbers):
        message = "Name the records or the scopes of the hold that are to end."
        raise HoldRefusedError(message)
    named = sa.select(hold_records.c.record_id).where(
        hold_records.c.hold_id == hold.id, hold_records.c.ends_at.is_(None)
    )
    rules = sa.select(hold_scopes.c.number).where(hold_scopes.c.hold_id == hold.id, hold_scopes.c.ends_at.is_(None))
    there = (set(tx.execute(named).scalars()), set(tx.execute(rules).scalars()))
    if not (there[0].issuperset(record_ids) and there[1].issuperset(numbers)):
        message = "The hold does not have all of these records and scopes; `shredvault hold show` lists them."
        raise HoldRefusedError(message)
