"""Step 8: reclaim the space of what was destroyed. Slow, resumable, and no part of the promise.

The documents are unrecoverable before this begins. What stays of a record is its random id, its place on
a list, and times; and, where the bucket has object lock, the sealed objects that it retains, each noted with its
date and deleted by a later run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, TypeAlias

import sqlalchemy as sa

from keystore import Tree
from vault.catalogue import Transaction, keys
from vault.catalogue.destructions import Destruction, load, unreclaimed, update
from vault.catalogue.locked import locked_names, replace, to_try
from vault.catalogue.schema import cohorts, destructions, documents, records, tree_pages, trees
from vault.context import Vault, note
from vault.ids import RecordId
from vault.records.manifests import MANIFEST_PREFIX, manifest_name
from vault.records.strangers import doubtful_manifests, opens_nothing, unnamed_documents
from vault.records.uploads import DOCUMENT_PREFIX
from vault.trees import mirror

from . import listed_ids
from .carrying_out import require_newest

__all__ = ["reclaim", "sweep_litter"]

_BATCH: Final = 500
_LITTER_AGE: Final = timedelta(hours=24)
"""What no record names is deleted when it is older: an upload or a completion in flight is younger."""

Counter = Callable[[int], None]
Owners: TypeAlias = dict[str, str | None]
"""Object names, and the destruction that each belongs to; None for litter."""


def reclaim(vault: Vault, reclaimed: Counter = lambda _: None, *, every_lock: bool = False) -> int:
    """Delete documents, manifests and sealed sheets of destroyed records, every version; return how many records.

    May be cut off anywhere and run again. What object lock retains is noted, and tried again when its date has
    come; with `every_lock` whatever its date, since somebody may have shortened it.

    Raises:
        ObjectStoreError: the object store failed, or does not allow us to delete; run it again.
    """
    total = 0
    _try_locked(vault, every_lock=every_lock)
    with vault.catalogue.read() as tx:
        pending = unreclaimed(tx)
    for destruction in pending:
        if destruction.freed_at is None:
            for batch in _batches(vault, destruction):
                _reclaim_batch(vault, destruction, batch)
                total += len(batch)
                reclaimed(len(batch))
            _forget_keys(vault, destruction)
        _note_progress(vault, destruction)
    return total


def _note_progress(vault: Vault, destruction: Destruction) -> None:
    """Reclaimed, or reclaimed but for what is locked."""
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        left = load(tx, destruction.id).locked
        if destruction.freed_at is None:
            update(tx, destruction.id, freed_at=now)
            if left.count:
                note(tx, now, "reclaimed except locked", destruction.id, {"locked": left.count})
        if not left.count:
            update(tx, destruction.id, reclaimed_at=now)
            note(tx, now, "reclaimed", destruction.id)


def _batches(vault: Vault, destruction: Destruction) -> Iterator[list[str]]:
    if destruction.tree is not Tree.ACTIVE:
        return
    by_row = records.c.condemned_by == destruction.id
    by_cohort = (
        records.c.cohort_id.in_(sa.select(cohorts.c.id).where(cohorts.c.condemned_by == destruction.id))
        & ~records.c.spared
    )
    while True:
        with vault.catalogue.read() as tx:
            query = sa.select(records.c.id).where(~records.c.reclaimed, by_row | by_cohort).limit(_BATCH)
            batch = list(tx.execute(query).scalars())
        if not batch:
            return
        yield batch


def _reclaim_batch(vault: Vault, destruction: Destruction, batch: list[str]) -> None:
    with vault.catalogue.read() as tx:
        objects = list(tx.execute(sa.select(documents.c.object_name).where(documents.c.record_id.in_(batch))).scalars())
    names = objects + [manifest_name(RecordId(record_id)) for record_id in batch]

    def bare(tx: Transaction) -> None:
        # What is locked is known by its row in `locked_objects` from here on.
        tx.execute(sa.delete(documents).where(documents.c.record_id.in_(batch)))
        tx.execute(
            sa.update(records)
            .where(records.c.id.in_(batch))
            .values(
                reclaimed=True,
                opened_by=None,
                idempotency_hash=None,
                body_tag=None,
                sheet=None,
                due_on=None,
            )
        )

    _delete(vault, dict.fromkeys(names, destruction.id), bare)


def _forget_keys(vault: Vault, destruction: Destruction) -> None:
    """Remove superseded key pages from the catalogue and their packs from the bucket: all closed already."""
    tree = destruction.tree
    with vault.catalogue.write() as tx:
        keys.forget_superseded(tx, tree)
        current = tx.execute(sa.select(trees.c.version).where(trees.c.tree == tree)).scalar_one()
        needed = set(tx.execute(sa.select(tree_pages.c.version).where(tree_pages.c.tree == tree)).scalars())
    needed.add(current)
    keep = {mirror.pack_name(tree, version) for version in needed}
    last = mirror.pack_name(tree, current)
    prefix = f"{mirror.PREFIX}{tree}/"
    # Also those that are there only as an older version under somebody's delete marker, or as parts of an upload.
    there = {version.name for version in vault.bucket.versions(prefix)}
    there |= {upload.name for upload in vault.bucket.unfinished(prefix)}
    old = sorted(name for name in there if name < last and name not in keep)
    for start in range(0, len(old), _BATCH):
        batch = old[start : start + _BATCH]
        with vault.catalogue.read() as tx:
            batch = sorted(set(batch) - locked_names(tx, batch))
        _delete(vault, dict.fromkeys(batch, destruction.id))


def _try_locked(vault: Vault, *, every_lock: bool) -> None:
    """Delete what was locked and may be free by now."""
    with vault.catalogue.read() as tx:
        batch = to_try(tx, None, after="", limit=1)
    if not batch:
        return
    # The store's clock decides when a retention is over.
    now = None if every_lock else vault.bucket.now()
    after = ""
    while True:
        with vault.catalogue.read() as tx:
            batch = to_try(tx, now, after=after, limit=_BATCH)
        if not batch:
            return
        _delete(vault, batch)
        after = list(batch)[-1]


def _delete(vault: Vault, owners: Owners, commit: Callable[[Transaction], None] = lambda _: None) -> int:
    """Delete all that stands under some names, at most a few hundred; how many of them are gone altogether.

    What is locked is noted for the destruction that owns the name, in the transaction of `commit`.
    """
    if owners:
        # Uploads first: one that is completed meanwhile is a version, and is found as such.
        vault.bucket.abort_unfinished("", older_than=None, names=owners)
    locked = vault.bucket.delete_unlocked(owners).locked
    with vault.catalogue.write() as tx:
        commit(tx)
        replace(tx, owners, locked, owners)
    return len(owners) - len({lock.name for lock in locked})


# --- what no destruction owns -------------------------------------------------------------------------


def sweep_litter(vault: Vault) -> int:
    """Delete what broken uploads, late completions and undone destructions left; return how many.

    That is: unfinished parts, documents that no record names, manifests of records that were reclaimed already, and
    lists of destructions that were undone, all of them a day old by the store's clock. Documents and parts are sealed
    under keys of living records, and die with them in any case; the manifests are sealed under dead ones.

    Raises:
        OldCatalogueError: the catalogue is older than the bucket, so what it does not know is no litter.
    """
    require_newest(vault)
    # By the store's clock, which has dated the objects: ours may be far ahead of it.
    before = min(vault.bucket.now(), vault.clock.now()) - _LITTER_AGE
    manifests = _chosen(vault, MANIFEST_PREFIX, doubtful_manifests)
    found = {name: stored for name, stored in manifests.items() if opens_nothing(vault, name)}
    found |= _chosen(vault, DOCUMENT_PREFIX, unnamed_documents)
    found |= _chosen(vault, listed_ids.PREFIX, _undone_lists)
    litter = [name for name, stored in found.items() if stored < before]
    count = sum(
        vault.bucket.abort_unfinished(prefix, older_than=before)
        for prefix in (DOCUMENT_PREFIX, MANIFEST_PREFIX, mirror.PREFIX, listed_ids.PREFIX)
    )
    for start in range(0, len(litter), _BATCH):
        count += _delete(vault, dict.fromkeys(litter[start : start + _BATCH]))
    return count


def _undone_lists(tx: Transaction, names: set[str]) -> set[str]:
    by_id = {name.removeprefix(listed_ids.PREFIX): name for name in names}
    undone = sa.select(destructions.c.id).where(destructions.c.id.in_(by_id), destructions.c.abandoned_at.is_not(None))
    return {by_id[destruction_id] for destruction_id in tx.execute(undone).scalars()}


def _chosen(vault: Vault, prefix: str, choose: Callable[[Transaction, set[str]], set[str]]) -> dict[str, datetime]:
    """Names under `prefix` that `choose` picks, with when the newest version was stored; known locks left out."""
    newest: dict[str, datetime] = {}
    every = vault.bucket.versions(prefix)
    while page := list(islice(every, _BATCH)):
        names = {version.name for version in page}
        with vault.catalogue.read() as tx:
            chosen = choose(tx, names) - locked_names(tx, names)
        for version in page:
            if version.name in chosen:
                newest[version.name] = max(version.stored, newest.get(version.name, version.stored))
    return newest
