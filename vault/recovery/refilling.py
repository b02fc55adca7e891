"""Fills an empty catalogue with what the bucket and the custodians told: the third step of a rebuild."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import islice, pairwise
from typing import Any, Final

import sqlalchemy as sa

from keystore import COHORT_SLOTS, StagedTree, Tree
from vault.catalogue import Transaction, keys
from vault.catalogue.destructions import insert_destruction
from vault.catalogue.law import certificates, orders
from vault.catalogue.schema import (
    access_tokens,
    cohorts,
    documents,
    gone_records,
    records,
    trees,
    vaults,
)
from vault.clocks.clock import civil_date
from vault.context import Vault
from vault.holds.history import store_hold, store_scopes
from vault.ids import DocumentId
from vault.law.policy import Policy, due_on
from vault.log.stored import append
from vault.orders.adopting import store_policy
from vault.orders.order import Order
from vault.records.manifests import Manifest
from vault.records.sheets import NAME_TAG_BYTES, Slip, name_tag
from vault.sunset.latching import fill_sunset
from vault.timekeeping import found_marks

from .salvage import Found, History, ReachableKeys

__all__ = ["fill_catalogue"]

_BATCH: Final = 10_000


def fill_catalogue(
    tx: Transaction,
    vault: Vault,
    history: History,
    reachable: ReachableKeys,
    found: Found,
    staged: Mapping[Tree, StagedTree],
    tokens: Sequence[Mapping[str, Any]],
    custodian_uri: str,
    now: datetime,
) -> None:
    """Write everything down, in the order in which one refers to the other; the catalogue must be empty."""
    tx.execute(
        sa.insert(vaults).values(
            only=1,
            vault_id=vault.vault_id,
            founded_at=history.founded_at,
            published=history.mark.last,
            published_digest=history.mark.digest,
        )
    )
    # T5: who rebuilds has not watched the clocks meanwhile; what the ledger has seen is not forgotten.
    found_marks(tx, max(history.high_water or now, history.founded_at or now), history.suspicion)
    for adopted_at, facts in history.policies:
        store_policy(tx, facts, adopted_at)
    _fill_orders(tx, history)
    for told in history.sunsets.values():
        fill_sunset(tx, told)
    for one in history.entries:
        append(tx, one)
    for tree, first in staged.items():
        version = first.root.version
        tx.execute(sa.insert(trees).values(tree=tree, version=version - 1, next_version=version + 1))
        keys.plan_master(tx, first.root.master, tree, first.root.epoch, custodian_uri)
        keys.save_staged(tx, first.root, first.pages)
        keys.switch(tx, tree, base=version - 1, to=version, dropped=())
    _fill_masters(tx, history, reachable, {one.root.master for one in staged.values()})
    _fill_tokens(tx, history, tokens)
    _fill_records(tx, history, reachable.cohorts, found, {str(row["id"]) for row in tokens}, now)
    cohort_of: dict[str, int] = {manifest.record: manifest.cohort for manifest, _ in found.living}
    for hold in history.holds.values():
        store_hold(tx, hold, cohort_of)
    _fill_destructions(tx, history, found)
    for hold in history.holds.values():
        store_scopes(tx, hold)
    for destruction_id, (issued_at, document) in history.certificates.items():
        row = {"id": destruction_id, "document": document.encode(), "issued_at": issued_at}
        tx.execute(sa.insert(certificates).values(row))
    tx.execute(sa.update(cohorts).values(closed_at=now))


def _fill_masters(tx: Transaction, history: History, reachable: ReachableKeys, new: set[str]) -> None:
    for master, uri in {**history.masters, **reachable.masters}.items():
        # Old masters stand over nothing any more: the next recovery destroys them.
        if master not in new:
            keys.plan_master(tx, master, Tree(master.partition("-")[0]), 0, uri)
    for master, (uri, at) in history.destroyed_masters.items():
        # Known, so that it is noticed if one comes back.
        if master not in {*new, *reachable.masters, *history.masters}:
            keys.plan_master(tx, master, Tree(master.partition("-")[0]), 0, uri)
            keys.master_destroyed(tx, master, at)


def _fill_orders(tx: Transaction, history: History) -> None:
    """Orders come back with what became of them, so that none counts twice. Lists do not: a rebuild voids them."""
    for order_id, told in history.orders.items():
        order = Order.decode(str(told.facts["body"]).encode())
        tx.execute(
            sa.insert(orders).values(
                id=order_id,
                action=order.action,
                body=order.encode(),
                approvals=told.facts["approvals"],
                policy_version=told.facts["policy_version"],
                accepted_at=told.accepted_at,
                effective_at=datetime.fromisoformat(told.facts["effective_at"]),
                expires_at=order.expires,
                used_at=told.used_at,
                used_by=told.used_by,
                void_reason=told.void_reason,
            )
        )


def _fill_tokens(tx: Transaction, history: History, tokens: Sequence[Mapping[str, Any]]) -> None:
    for row in tokens:
        revoked = history.revoked_tokens.get(str(row["id"]), row["revoked_at"])
        tx.execute(sa.insert(access_tokens).values({**row, "revoked_at": revoked}))


def _fill_records(
    tx: Transaction, history: History, used: set[int], found: Found, tokens: set[str], now: datetime
) -> None:
    policies = [Policy.decode(str(facts["document"]).encode()) for _, facts in history.policies]
    every: list[tuple[Manifest, Any]] = [*found.living, *((manifest, None) for manifest, _ in found.dead)]
    due = {manifest.cohort: manifest.due_on for manifest, _ in every}
    listed = {cohort for one in history.destructions.values() for cohort in one.slots}
    for cohort in sorted({*due, *listed, *used}):
        row = {"id": cohort, "due_on": due.get(cohort, now.date()), "opened_at": now, "next_slot": COHORT_SLOTS}
        tx.execute(sa.insert(cohorts).values(row))
    for manifest, key in every:
        tx.execute(
            sa.insert(records).values(
                id=manifest.record,
                cohort_id=manifest.cohort,
                slot=manifest.slot,
                policy_version=manifest.policy,
                opened_at=manifest.opened_at,
                opened_by=manifest.opened_by if manifest.opened_by in tokens else None,
                idempotency_hash=manifest.idempotency_hash,
                body_tag=manifest.body_tag,
                sheet=manifest.sheet,
            )
        )
        for document in manifest.documents:
            # Of a dead record only the object's name matters, for reclaiming it; its name tag cannot be made any more.
            tag = hashlib.sha256(document.id.encode()).digest()[:NAME_TAG_BYTES]
            if key is not None:
                slip = Slip.open(key, _vault_id(tx), manifest.record, DocumentId(document.id), document.slip)
                tag = name_tag(key, manifest.record, slip.name)
            tx.execute(
                sa.insert(documents).values(
                    id=document.id,
                    record_id=manifest.record,
                    name_tag=tag,
                    object_name=document.object_name,
                    slip=document.slip,
                )
            )
        tx.execute(
            sa.update(records)
            .where(records.c.id == manifest.record)
            .values(
                completed_at=manifest.completed_at,
                due_on=_earliest_due(manifest, policies, history.decided.get(manifest.record)),
            )
        )


def _earliest_due(manifest: Manifest, policies: Sequence[Policy], decided: date | None) -> date:
    """The earliest due date: of the record, of every shorter policy that came after it (P2), of its decision (P3)."""
    days = [
        due_on(civil_date(manifest.completed_at, policy.zone), policy.retention_months)
        for before, policy in pairwise(policies)
        if policy.version > manifest.policy and policy.retention_months < before.retention_months
    ]
    return min([manifest.due_on, *days, *([decided] if decided else [])])


def _vault_id(tx: Transaction) -> bytes:
    return bytes(tx.execute(sa.select(vaults.c.vault_id)).scalar_one())


def _fill_destructions(tx: Transaction, history: History, found: Found) -> None:
    for one in history.destructions.values():
        known = one.facts["hold"] is None or one.facts["hold"] in history.holds
        insert_destruction(
            tx,
            one.slots,
            dict.fromkeys(one.slots, -1),
            id=one.id,
            kind=one.facts["kind"],
            tree=one.facts["tree"],
            authority=one.facts["authority"],
            order_id=one.facts["order"],
            policy_version=one.facts["policy"],
            hold_id=one.facts["hold"] if known else None,
            list_root=bytes.fromhex(one.facts["list_root"]),
            listed=one.facts["listed"],
            not_listed=one.facts["not_listed"],
            withdrawn=one.facts["listed"] - one.condemned if one.condemned_at else 0,
            condemned=one.condemned if one.condemned_at else None,
            observed={"taken_over": "from the ledger, by a rebuild of the catalogue"},
            frozen_at=one.frozen_at,
            condemned_at=one.condemned_at,
            fenced_at=one.condemned_at,
            completed_at=one.completed_at,
            abandoned_at=None if one.condemned_at else one.frozen_at,
        )
    for manifest, destruction in found.dead:
        tx.execute(sa.update(records).where(records.c.id == manifest.record).values(condemned_by=destruction))
    gone = ({"id": record_id, "destruction_id": destruction} for record_id, destruction in found.gone.items())
    while batch := list(islice(gone, _BATCH)):
        tx.execute(sa.insert(gone_records), batch)
