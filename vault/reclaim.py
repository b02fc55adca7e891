"""Step 8: reclaim the space of what was destroyed. Slow, resumable, and no part of the promise.

The documents are unrecoverable before this begins. What stays of a record is its random id, its place on
a list, and times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from keystore import Tree

from . import mirror
from .catalogue import keys
from .catalogue.destructions import Destruction, unreclaimed, update
from .catalogue.schema import cohorts, documents, records, tree_pages, trees
from .context import Vault, note
from .destruction import require_newest
from .filing import manifest_name
from .ids import RecordId
from .uploads import DOCUMENT_PREFIX

__all__ = ["reclaim", "sweep_litter"]

_BATCH: Final = 500
_LITTER_AGE: Final = timedelta(hours=24)
"""Objects that no record names are deleted when they are older: an upload in flight is younger."""

Counter = Callable[[int], None]


def reclaim(vault: Vault, reclaimed: Counter = lambda _: None) -> int:
    """Delete documents, manifests and sealed sheets of destroyed records, every version; return how many records.

    May be cut off anywhere and run again.

    Raises:
        ObjectStoreError: the object store failed; run it again.
    """
    total = 0
    with vault.catalogue.read() as tx:
        pending = unreclaimed(tx)
    for destruction in pending:
        for batch in _batches(vault, destruction):
            _reclaim_batch(vault, batch)
            total += len(batch)
            reclaimed(len(batch))
        _forget_keys(vault, destruction.tree)
        now = vault.clock.now()
        with vault.catalogue.write() as tx:
            update(tx, destruction.id, reclaimed_at=now)
            note(tx, now, "reclaimed", destruction.id)
    return total


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


def _reclaim_batch(vault: Vault, batch: list[str]) -> None:
    with vault.catalogue.read() as tx:
        objects = list(tx.execute(sa.select(documents.c.object_name).where(documents.c.record_id.in_(batch))).scalars())
    names = objects + [manifest_name(RecordId(record_id)) for record_id in batch]
    vault.bucket.delete_every_version(names)
    with vault.catalogue.write() as tx:
        tx.execute(sa.delete(documents).where(documents.c.record_id.in_(batch)))
        tx.execute(
            sa.update(records)
            .where(records.c.id.in_(batch))
            .values(
                reclaimed=True,
                opened_by=None,
                idempotency_hash=None,
                body_tag=None,
                receipt_hash=None,
                sheet=None,
                due_on=None,
            )
        )


def _forget_keys(vault: Vault, tree: Tree) -> None:
    """Remove superseded key pages from the catalogue and their packs from the bucket: all closed already."""
    with vault.catalogue.write() as tx:
        keys.forget_superseded(tx, tree)
        current = tx.execute(sa.select(trees.c.version).where(trees.c.tree == tree)).scalar_one()
        needed = set(tx.execute(sa.select(tree_pages.c.version).where(tree_pages.c.tree == tree)).scalars())
    needed.add(current)
    keep = {mirror.pack_name(tree, version) for version in needed}
    last = mirror.pack_name(tree, current)
    old = [name for name in vault.bucket.names(f"{mirror.PREFIX}{tree}/") if name < last and name not in keep]
    vault.bucket.delete_every_version(old)


def sweep_litter(vault: Vault) -> int:
    """Delete what broken uploads left: unfinished parts, and documents that no record names; return how many.

    All of it is sealed under keys of living records, and dies with them in any case.

    Raises:
        DestructionRefusedError: the catalogue is older than the bucket, so what it does not know is no litter.
    """
    require_newest(vault)
    # By the store's clock, which has dated the objects: ours may be far ahead of it.
    before = min(vault.bucket.now(), vault.clock.now()) - _LITTER_AGE
    count = vault.bucket.abort_unfinished(DOCUMENT_PREFIX, older_than=before)
    for name in list(vault.bucket.names_older_than(DOCUMENT_PREFIX, before)):
        with vault.catalogue.read() as tx:
            known = tx.execute(sa.select(documents.c.id).where(documents.c.object_name == name)).scalar()
        if known is None:
            vault.bucket.delete_every_version([name])
            count += 1
    return count
