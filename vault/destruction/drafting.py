"""Drafting orders: what people are given to sign. For scrub and destroy the list is frozen at that moment.

A draft gives no authority and changes nothing that anybody could miss: a list that nobody signs is void in 14 days.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from vault.context import Vault, current_policy
from vault.errors import OrderRefusedError
from vault.ids import OrderId, is_id, new_id
from vault.law.policy import Policy
from vault.law.retention import CONDEMNABLE, Cause, Verdict, judge, judge_named
from vault.ledger.publishing import publish
from vault.orders.accepting import earliest_effect
from vault.orders.actions import Action
from vault.orders.lists import LIST_LIFE, ListedRecord, keep_list
from vault.orders.order import Order, spell_instant

from .frozen_lists import predicate_at

__all__ = ["NAMED_RECORDS_MAX", "Drafted", "Terms", "draft", "draft_adoption", "draft_destroy", "draft_scrub"]

NAMED_RECORDS_MAX: Final = 10_000
"""Records that one order can name; more than these are no single mistakes."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What whoever drafts an order says of it, whatever it orders."""

    reason: str
    legal_basis: str
    days: int = LIST_LIFE.days
    """How long it may be carried out, from now."""
    cooling_off_hours: int | None = None


@dataclass(frozen=True, slots=True)
class Drafted:
    """An order to be signed."""

    order: Order
    not_listed: dict[str, int]
    """How many records its list passes over, by reason."""
    answers: dict[str, str]
    """For named records: what each id is."""


def draft(vault: Vault, action: Action, scope: Mapping[str, Any], terms: Terms) -> Order:
    """Write an order that begins now.

    Raises:
        OrderRefusedError: the scope is none of the action, or the terms are out of their limits; or the order would
            expire before it may be carried out.
    """
    now = vault.clock.now().replace(microsecond=0)
    drafted = Order(
        id=OrderId(new_id()),
        program=vault.vault_id.hex(),
        action=action,
        scope=scope,
        reason=terms.reason,
        legal_basis=terms.legal_basis,
        not_before=now,
        expires=now + timedelta(days=terms.days),
        cooling_off_hours=terms.cooling_off_hours,
    )
    with vault.catalogue.read() as tx:
        begins = earliest_effect(drafted, current_policy(tx), now)
    if begins >= drafted.expires:
        message = (
            f"The order would expire on {spell_instant(drafted.expires)}, before its cooling-off or a stay is over "
            f"({spell_instant(begins)}): let it be carried out for longer."
        )
        raise OrderRefusedError(message)
    return drafted


def draft_scrub(vault: Vault, terms: Terms) -> Drafted:
    """Freeze the list of everything that is not held, and write the order to destroy it.

    H11: who is held under seal is on the list like the others, and is withdrawn when the rest is condemned.

    Raises:
        OrderRefusedError: the terms are out of their limits.
    """
    with vault.catalogue.read() as tx:
        judged = judge(tx, predicate_at(tx, Cause.SCRUB, vault.clock.now(), blind=True))
    listed = [(record_id, cohort, slot) for record_id, cohort, slot, verdict in judged if verdict in CONDEMNABLE]
    passed = Counter(verdict for *_, verdict in judged if verdict not in CONDEMNABLE and verdict != Verdict.GONE)
    return _with_list(vault, Action.SCRUB, listed, dict(passed), {}, terms)


def draft_destroy(vault: Vault, record_ids: Collection[str], terms: Terms) -> Drafted:
    """Freeze the list of the named records that can be destroyed, and write the order. Each id gets its answer.

    Raises:
        OrderRefusedError: none of them can be destroyed, they are too many, or the terms are out of their limits.
    """
    wanted = list(dict.fromkeys(record_ids))
    if len(wanted) > NAMED_RECORDS_MAX:
        message = f"One order names at most {NAMED_RECORDS_MAX} records."
        raise OrderRefusedError(message)
    with vault.catalogue.read() as tx:
        test = predicate_at(tx, Cause.DESTROY, vault.clock.now(), blind=True)
        found = judge_named(tx, test, [one for one in wanted if is_id(one)])
    answers = {one: found[one][2] if one in found else "unknown" for one in wanted}
    listed = [(one, *found[one][:2]) for one, answer in answers.items() if answer in CONDEMNABLE]
    if not listed:
        told = ", ".join(f"{one}: {answer}" for one, answer in answers.items())
        message = f"None of these records can be destroyed ({told})."
        raise OrderRefusedError(message)
    return _with_list(vault, Action.DESTROY, listed, {}, answers, terms)


def draft_adoption(vault: Vault, policy: Policy, terms: Terms) -> Order:
    """Write the order to put a policy in force, by the hash of its document."""
    return draft(vault, Action.ADOPT_POLICY, {"policy_sha256": policy.sha256, "version": policy.version}, terms)


def _with_list(
    vault: Vault,
    action: Action,
    listed: Collection[ListedRecord],
    not_listed: dict[str, int],
    answers: dict[str, str],
    terms: Terms,
) -> Drafted:
    # The terms are looked at before a list is kept for them.
    draft(vault, action, {"list": new_id(), "root": "0" * 64, "count": 0}, terms)
    with vault.catalogue.write() as tx:
        kept = keep_list(tx, action, listed, not_listed, vault.clock.now())
    publish(vault)
    scope = {"list": kept.id, "root": kept.root.hex(), "count": kept.count}
    return Drafted(draft(vault, action, scope, terms), not_listed, answers)
