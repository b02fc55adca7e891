"""How a policy comes into force (P1, P2), and the standing authority that it gives to the nightly sweep.

The first version is founded with the vault, from a document that its approvers signed. Every later one is adopted by
an order `adopt-policy`, which names the document by its hash, and which the people of the policy in force sign; while
nobody stands in that, the people of the new one. Nothing is swept under a policy that lacks approvals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.schema import cohorts, policies, records
from vault.clocks.clock import civil_date
from vault.context import Vault, current_policy, note
from vault.errors import NotApprovedError, OrderRefusedError
from vault.ids import OrderId
from vault.law.people import Person, Role
from vault.law.policy import Policy, due_on
from vault.ledger.publishing import publish

from .accepting import Accepted, load_order, require_order, use_order
from .actions import QUORUMS, STANDING, Action, missing_places, spoken
from .signatures import ORDERS, POLICIES, Approval, approve

__all__ = [
    "Adopted",
    "adopt_policy",
    "approvals_of",
    "insert_policy",
    "lacking_approvals",
    "policy_of",
    "require_standing",
    "store_policy",
    "verify_lineage",
    "verify_standing",
]

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Adopted:
    """A policy that was put in force."""

    policy: Policy
    shortened: int
    """How many records are due earlier than before (P2)."""


def insert_policy(
    tx: Transaction, policy: Policy, approvals: Sequence[Approval], order_id: OrderId | None, now: datetime
) -> dict[str, Any]:
    """Store a version of the policy; returns what the journal says of it, from which a rebuild stores it again."""
    facts = {
        "document": policy.encode().decode("utf-8"),
        "approvals": [one.encode() for one in approvals],
        "order": order_id,
    }
    store_policy(tx, facts, now)
    return facts


def store_policy(tx: Transaction, facts: Mapping[str, Any], adopted_at: datetime) -> None:
    """Store a version of the policy from what the journal says of it."""
    document = str(facts["document"]).encode()
    policy = Policy.decode(document)
    tx.execute(
        sa.insert(policies).values(
            version=policy.version,
            document=document,
            approvals=facts["approvals"],
            order_id=facts["order"],
            adopted_at=adopted_at,
        )
    )


def adopt_policy(vault: Vault, order_id: str, document: bytes) -> Adopted:
    """Put a policy in force under an accepted order. What is destroyed under the old one from then on is refused.

    P2: a record keeps the policy it was filed under, but a shorter retention applies to all: due dates become the
    earlier ones, in the same transaction. A longer one never touches records that are there.

    Raises:
        PolicyError: the document is no policy.
        NotFoundError, OrderRefusedError: the order gives no authority for it.
    """
    policy = Policy.decode(document)
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        accepted = require_order(tx, order_id, Action.ADOPT_POLICY, now)
        before = current_policy(tx)
        if (accepted.order.scope["policy_sha256"], accepted.order.scope["version"]) != (policy.sha256, policy.version):
            message = "The order is for another policy document than this one."
            raise OrderRefusedError(message)
        if policy.version != before.version + 1:
            message = f"Version {before.version} is in force; the next one must be version {before.version + 1}."
            raise OrderRefusedError(message)
        facts = insert_policy(tx, policy, accepted.approvals, accepted.id, now)
        use_order(tx, order_id, f"policy version {policy.version}", now)
        shortened = _shorten(tx, policy) if policy.retention_months < before.retention_months else 0
        note(tx, now, "policy adopted", str(policy.version), facts | {"shortened": shortened})
    publish(vault)
    return Adopted(policy, shortened)


def _shorten(tx: Transaction, policy: Policy) -> int:
    """P2: let the records that are there fall due under a shorter retention, where that is earlier."""
    query = sa.select(records.c.id, records.c.completed_at, records.c.due_on).where(
        records.c.completed_at.is_not(None), records.c.due_on.is_not(None), ~records.c.reclaimed
    )
    earlier = []
    for row in tx.execute(query):
        due = due_on(civil_date(row.completed_at, policy.zone), policy.retention_months)
        if due < row.due_on:
            earlier.append({"one": row.id, "due": due})
    move = sa.update(records).where(records.c.id == sa.bindparam("one")).values(due_on=sa.bindparam("due"))
    for start in range(0, len(earlier), _BATCH):
        tx.execute(move, earlier[start : start + _BATCH])
    # Verdicts have changed in every cohort: no list that was judged before may pass unasked.
    tx.execute(sa.update(cohorts).values(revision=cohorts.c.revision + 1))
    return len(earlier)


# --- standing authority -------------------------------------------------------------------------------


def policy_of(tx: Transaction, version: int) -> Policy:
    """A version of the policy; it must be there."""
    document = sa.select(policies.c.document).where(policies.c.version == version)
    return Policy.decode(tx.execute(document).scalar_one())


def approvals_of(tx: Transaction, version: int) -> tuple[Approval, ...]:
    """Who approved a version of the policy."""
    stored = tx.execute(sa.select(policies.c.approvals).where(policies.c.version == version)).scalar_one()
    return tuple(Approval.decode(one) for one in stored)


def lacking_approvals(tx: Transaction) -> str | None:
    """Who has not approved the policy in force, in words; None when it carries all approvals."""
    try:
        require_standing(tx)
    except NotApprovedError as refused:
        return refused.lacking
    return None


def require_standing(tx: Transaction) -> Policy:
    """The policy in force, if it carries the approvals under which records may be swept.

    Raises:
        NotApprovedError: it does not.
    """
    policy = current_policy(tx)
    approvals = approvals_of(tx, policy.version)
    people = [Person(a.person, frozenset(Role(role) for role in a.roles), frozenset()) for a in approvals]
    missing = missing_places(STANDING, (person.name for person in people), people)
    if missing:
        raise NotApprovedError(spoken(missing))
    return policy


def verify_lineage(vault: Vault) -> Policy:
    """The policy in force, with the signatures on every version verified again, back to the one of the founding.

    Whoever can write in the catalogue cannot sign; and who signs for a version is said by the one before it.

    Raises:
        OrderRefusedError: a version was not adopted as versions are, or signatures on it do not verify.
        SignaturesUnavailableError: `ssh-keygen` cannot be run.
    """
    with vault.catalogue.read() as tx:
        rows = tx.execute(sa.select(policies).order_by(policies.c.version)).all()
        adopted = [(row, load_order(tx, row.order_id) if row.order_id is not None else None) for row in rows]
    before: Policy | None = None
    for row, order in adopted:
        before = _verify_version(row, order, before)
    assert before is not None
    return before


def _verify_version(row: sa.Row[Any], order: Accepted | None, before: Policy | None) -> Policy:
    policy = Policy.decode(row.document)
    if before is None:
        # Founded with the vault, by those whom it names; one that nobody signed is no standing authority.
        body, namespace, judge, at = row.document, POLICIES, policy, row.adopted_at
    elif order is None or (order.action, order.policy_version) != (Action.ADOPT_POLICY, before.version):
        message = f"Version {row.version} of the policy was adopted under no order; nothing was destroyed."
        raise OrderRefusedError(message)
    else:
        body, namespace, judge, at = order.body, ORDERS, before if before.people else policy, order.accepted_at
        if (order.order.scope["policy_sha256"], order.order.scope["version"]) != (policy.sha256, row.version):
            message = (
                f"Version {row.version} of the policy is not the one that its order adopted; nothing was destroyed."
            )
            raise OrderRefusedError(message)
    again = approve(body, [one["signature"].encode() for one in row.approvals], namespace, judge, at)
    people = [one.person for one in again]
    missing = missing_places(QUORUMS[Action.ADOPT_POLICY], people, judge.people) if before is not None else []
    if missing or people != [one["person"] for one in row.approvals]:
        message = (
            f"Version {row.version} of the policy does not carry the signatures of those whom it names; nothing was "
            "destroyed."
        )
        raise OrderRefusedError(message)
    return policy


def verify_standing(vault: Vault) -> Policy:
    """The policy in force, with its approvals verified again: whoever can write in the catalogue cannot sign.

    Raises:
        NotApprovedError: it lacks approvals.
        OrderRefusedError: an approval that it has, or one of a version before it, does not verify.
        SignaturesUnavailableError: `ssh-keygen` cannot be run.
    """
    with vault.catalogue.read() as tx:
        require_standing(tx)
    return verify_lineage(vault)
