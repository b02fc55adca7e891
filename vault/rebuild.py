"""Rebuilds a catalogue from the bucket and the custodians alone, after its loss or the return of an old backup.

What was condemned stays dead: it is carried over nowhere, and dies with the masters that stood when the catalogue was
lost. Everything else that has a manifest lives on, under fresh masters; holds are in force again. Records that were
not complete are lost with the catalogue: their papers are still at the center, and must be filed again.

1. read ledger, packs and manifests (`vault.salvage`)
2. make fresh masters; stage both trees under them, mirror, read back, compare every key
3. fill an empty catalogue in one transaction
4. the caller puts it in place; then `recover` destroys every older master

Until 4 nothing is destroyed and nothing old is changed, so a rebuild that is cut off is begun again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from keystore import (
    INDEX_SLOT,
    KeyGraphError,
    MasterExistsError,
    OpenTree,
    Rewrite,
    StagedTree,
    Tree,
    TreeChange,
    stage,
)

from . import mirror
from .catalogue import Transaction, keys
from .catalogue.destructions import insert_destruction
from .catalogue.law import certificates, orders
from .catalogue.schema import (
    access_tokens,
    cohorts,
    documents,
    records,
    trees,
    vaults,
)
from .context import Vault, note
from .errors import DamagedError, DestructionRefusedError
from .holds.history import store_hold, store_scopes
from .ids import DocumentId, RecordId
from .ledger import Mark, publish
from .log.stored import append
from .manifests import Manifest
from .orders.adopting import store_policy
from .orders.order import Order
from .policy import Policy
from .salvage import Found, History, ReachableKeys, earliest_due, find_records, read_history, require_ours
from .servings import end_every_serving
from .sheets import NAME_TAG_BYTES, Slip, name_tag
from .sunset.latching import fill_sunset
from .timekeeping import found_marks

__all__ = ["Rebuilt", "rebuild"]

_NO_SLOT: Final = bytes(128)
_ALL_SLOTS_USED: Final = 1024
_VERSIONS_SKIPPED: Final = 1024
"""A process that still runs on the lost catalogue may hold some of the numbers after the last pack's."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found."""

    records: int
    held: int
    condemned: int
    holds_in_force: int
    lost: list[RecordId]
    """Records with a manifest and without a key, though nothing condemned them: an incident."""


def rebuild(
    vault: Vault,
    custodian_uris: Sequence[str],
    tokens: Sequence[Mapping[str, Any]] = (),
    *,
    leave_lost: bool = False,
    retained: Mapping[RecordId, tuple[int, int]] | None = None,
    known: Mark | None = None,
) -> Rebuilt:
    """Fill the empty catalogue of `vault` from its bucket and its custodians.

    Args:
        vault: with an empty, migrated catalogue. No other process may use the vault.
        custodian_uris: every custodian at which its masters may stand; new ones are made at the first.
        tokens: rows of access tokens from an older catalogue; what the ledger says was revoked is revoked.
        leave_lost: go on though records have lost their keys.
        retained: cohort and slot of the records that an older catalogue has as retained. Given by who rebuilds unasked:
            then no key that opens a record may die in it.
        known: how far an older catalogue had published the ledger.

    Raises:
        DamagedError: the ledger is damaged, or records are lost and `leave_lost` is not set.
        DestructionRefusedError: with `retained`, a key that opens a record would die.
        KeyGraphError: the new trees, as read back, do not hold every living key.
        CustodianError, ObjectStoreError, CatalogueError: a service failed; run it again.
    """
    history = read_history(vault.bucket, vault.vault_id)
    require_ours(history, vault.signing.verifier, known)
    reachable = ReachableKeys(vault.bucket, vault.vault_id, {uri: vault.custody.at(uri) for uri in custodian_uris})
    with ExitStack() as owned:
        owned.callback(reachable.close)
        found = find_records(vault.bucket, vault.vault_id, history, reachable)
        for _, key in found.living:
            owned.callback(key.wipe)
        if found.lost and not leave_lost:
            message = (
                f"{len(found.lost)} records have a manifest and no key that opens it, though no destruction condemned "
                "them. See that all custodians in vault.json are in reach; if they are lost, go on with --leave-lost."
            )
            raise DamagedError(message)
        if retained is not None:
            _require_no_death(history, reachable, found, retained)
        held = _held(history, found)
        # By where the ledger ends: a rebuild that was cut off is begun again with the masters it had made.
        rebuild_id = f"{vault.vault_id.hex()[:16]}-{history.mark.last:x}"
        staged = {tree: _stage(vault, tree, rebuild_id, custodian_uris[0], reachable, found, held) for tree in Tree}
        now = vault.clock.now()
        with vault.catalogue.write() as tx:
            _fill(tx, vault, history, reachable, found, staged, tokens, custodian_uris[0], now)
            facts = {
                "custodian": custodian_uris[0],
                "masters": [one.root.master for one in staged.values()],
                "records": len(found.living),
                "lost": len(found.lost),
                "log_key": str(vault.signing.verifier),
            }
            note(tx, now, "rebuilt", rebuild_id, facts)
            end_every_serving(tx, now)
    publish(vault)
    # What is told counts no sealed hold (H11).
    openly = [hold for hold in history.holds.values() if hold.released_at is None and hold.row["sealed"] is None]
    named = set().union(*(hold.named for hold in openly))
    told = sum(manifest.record in named for manifest, _ in found.living)
    return Rebuilt(len(found.living), told, len(found.dead), len(openly), found.lost)


def _require_no_death(
    history: History, reachable: ReachableKeys, found: Found, retained: Mapping[RecordId, tuple[int, int]]
) -> None:
    condemned = sum(
        reachable.reaches(cohort, slots)
        for one in history.destructions_of_records()
        for cohort, slots in one.slots.items()
    )
    living = {manifest.record for manifest, _ in found.living}
    missing = sum(record not in living and history.condemned_by(*place) is None for record, place in retained.items())
    if condemned or missing:
        message = (
            f"By the bucket, {condemned} condemned records have keys that are still to be destroyed, and {missing} "
            "records of this catalogue are missing. Nothing was changed. Find out why; `shredvault rebuild` goes by "
            "what the bucket says."
        )
        raise DestructionRefusedError(message)


def _held(history: History, found: Found) -> set[RecordId]:
    """The living that some hold names. Whom a rule matches is copied by the next start, as new captures are."""
    named = {record for hold in history.holds.values() for record in hold.named}
    return {manifest.record for manifest, _ in found.living if manifest.record in named}


def _stage(
    vault: Vault,
    tree: Tree,
    rebuild_id: str,
    custodian_uri: str,
    reachable: ReachableKeys,
    found: Found,
    held: set[RecordId],
) -> StagedTree:
    custodian = vault.custody.at(custodian_uri)
    master = f"{tree}-{rebuild_id}"
    with suppress(MasterExistsError):
        custodian.create(master)
    put: dict[int, dict[int, Any]] = {}
    for manifest, key in found.living:
        if tree is Tree.ACTIVE or manifest.record in held:
            put.setdefault(manifest.cohort, {})[manifest.slot] = key
    with ExitStack() as owned:
        if tree is Tree.ACTIVE:
            for cohort, slots in put.items():
                index = reachable.index_key(cohort)
                if index is not None:
                    slots[INDEX_SLOT] = owned.enter_context(index)
        staged = stage(
            vault.vault_id,
            None,
            TreeChange(rewritten={cohort: Rewrite(_NO_SLOT, slots) for cohort, slots in put.items()}),
            _no_page,
            tree=tree,
            epoch=reachable.epochs[tree] + 1,
            version=reachable.versions[tree] + _VERSIONS_SKIPPED,
            master=master,
            custodian=custodian,
        )
        mirror.write(vault.bucket, vault.vault_id, staged, {})
        vault.settle()
        seen = mirror.read_back(vault.bucket, vault.vault_id, tree, staged.root.version)
        pages = {page.cohort: page for page in seen.pages}
        with OpenTree.open(vault.vault_id, seen.root, custodian) as opened:
            for cohort, slots in put.items():
                with opened.page(pages[cohort]) as page:
                    for slot, key in slots.items():
                        with page.key(slot) as there:
                            if not there.same_as(key):
                                message = "The rebuilt key tree, as read back, is not what was written."
                                raise KeyGraphError(message)
    return staged


def _no_page(cohort: int) -> Any:
    raise KeyError(cohort)


def _fill(
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
        keys.plan_master(tx, first.root.master, tree, first.root.epoch, custodian_uri, now)
        keys.save_staged(tx, first.root, first.pages)
        keys.switch(tx, tree, base=version - 1, to=version, dropped=())
    new = {one.root.master for one in staged.values()}
    for master, uri in {**history.masters, **reachable.masters}.items():
        # Old masters stand over nothing any more: the next recovery destroys them.
        if master not in new:
            keys.plan_master(tx, master, Tree(master.partition("-")[0]), 0, uri, now)
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
        row = {"id": cohort, "due_on": due.get(cohort, now.date()), "opened_at": now, "next_slot": _ALL_SLOTS_USED}
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
                    stored_at=manifest.completed_at,
                )
            )
        tx.execute(
            sa.update(records)
            .where(records.c.id == manifest.record)
            .values(
                completed_at=manifest.completed_at,
                due_on=earliest_due(manifest, policies, history.decided.get(manifest.record)),
            )
        )


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
