"""An order in plain words: what it would do if it were accepted now, and what it still lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vault.context import Vault, current_policy
from vault.errors import OrderRefusedError
from vault.wording import number_of

from .accepting import judge_order
from .actions import QUORUMS, Action, spoken
from .order import Order, spell_instant
from .signatures import ORDERS, approve

__all__ = ["Check", "check_order", "describe"]


_EFFECTS: Final = {
    Action.PRESERVE: "keep the records that would be destroyed at the deadline of {deadline}.",
    Action.DESTROY_AT_SUNSET: "destroy the records of the program at the deadline of {deadline}.",
    Action.PARTIAL: "keep some filing periods and destroy the others at the deadline of {deadline}.",
    Action.CLEAR_TIME: "trust the clock again, which is suspect since {suspect_since}.",
    Action.ADOPT_POLICY: "put version {version} of the policy in force, the document whose SHA-256 is {policy_sha256}.",
}


@dataclass(frozen=True, slots=True)
class Check:
    """What is to be said of an order before it is handed in."""

    order: Order
    says: list[str]
    """What it orders, in sentences."""
    signed: list[str]
    """People whose signatures verify."""
    refusal: str | None
    """Why it would be refused now; None: it would be accepted."""


def check_order(vault: Vault, body: bytes, signatures: Sequence[bytes], *, document: bytes | None = None) -> Check:
    """Look at an order as `accept_order` would, and change nothing.

    Raises:
        OrderRefusedError: it is no order at all.
        SignaturesUnavailableError: `ssh-keygen` cannot be run.
    """
    order = Order.decode(body)
    says = [*describe(order), f"It must be signed by {spoken(QUORUMS[order.action])}: each place by another person."]
    refusal = None
    try:
        judge_order(vault, body, signatures, document=document)
    except OrderRefusedError as refused:
        refusal = str(refused)
    with vault.catalogue.read() as tx:
        policy = current_policy(tx)
    signed = []
    for signature in signatures:
        try:
            signed += [one.person for one in approve(body, [signature], ORDERS, policy, vault.clock.now())]
        except OrderRefusedError:
            # The refusal above says what is wrong with it.
            continue
    return Check(order, says, signed, refusal)


def describe(order: Order) -> list[str]:
    """What an order says, in sentences."""
    waits = "as long as the policy says" if order.cooling_off_hours is None else f"{order.cooling_off_hours} hours"
    return [
        f"Order {order.id}: {_effect(order.action, order.scope)}",
        f"Reason: {order.reason}",
        f"Legal basis: {order.legal_basis}",
        (
            f"It may be carried out from {spell_instant(order.not_before)} to {spell_instant(order.expires)}, once; "
            f"after it is accepted it waits {waits}."
        ),
    ]


def _effect(action: Action, scope: Mapping[str, Any]) -> str:
    if action in (Action.SCRUB, Action.DESTROY):
        which = "every record that no hold protects" if action is Action.SCRUB else "named records"
        return (
            f"destroy {number_of(scope['count'], 'record')} for ever ({which}), exactly those on list {scope['list']}, "
            f"whose root is {scope['root']}. Records that are held by then are left out."
        )
    if action is Action.RELEASE:
        stay = "No stay is named."
        if scope["stay"]:
            stay = f"Stay: {scope['stay']['what']}. To the end of {scope['stay']['until']} nothing is released."
        return f"{_loosened(scope['hold'], scope['change'])} Releasing act: {scope['releasing_act']}. {stay}"
    return _EFFECTS[action].format(**scope)


def _named(parts: Any) -> str:
    return ", ".join(str(part) for part in parts) if isinstance(parts, list) and parts else str(parts or "none")


def _loosened(hold_id: str, change: Mapping[str, Any]) -> str:
    """What becomes of a hold. An unknown change is shown as it is; carrying it out refuses it."""
    match change:
        case {"do": "release"}:
            what = f"release hold {hold_id} whole."
        case {"do": "narrow"}:
            records, scopes = _named(change.get("records")), _named(change.get("scopes"))
            what = f"take out of hold {hold_id} these records: {records}; these rules: {scopes}. The rest goes on."
        case {"do": "shorten", "ends_on": day}:
            return f"let the end of hold {hold_id} be {day}. Nothing ends by itself on that day."
        case _:
            return f"change hold {hold_id}: {dict(change)}."
    if "tail_days" not in change:
        return f"{what} What leaves it stays protected for the hold's own tail."
    why = f" ({change['tail_reason']})" if change.get("tail_reason") else ""
    return f"{what} What leaves it stays protected for {change['tail_days']} days more{why}."
