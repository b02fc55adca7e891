"""Manifests and documents in the bucket that the catalogue does not know: litter, or the sign that it is an old one."""

from __future__ import annotations

import json

import sqlalchemy as sa

from keystore import slots_of
from vault.catalogue import Transaction
from vault.catalogue.schema import documents, records, sealed_pages, tree_pages
from vault.context import Vault
from vault.errors import OldCatalogueError
from vault.ids import RecordId, is_id
from vault.objects import ObjectNotFound

from .manifests import MANIFEST_LIMIT_BYTES, MANIFEST_PREFIX, manifest_name

__all__ = ["doubtful_manifests", "opens_nothing", "unnamed_documents"]


def unnamed_documents(tx: Transaction, names: set[str]) -> set[str]:
    """Those of these objects that are no record's documents."""
    return names - set(
        tx.execute(sa.select(documents.c.object_name).where(documents.c.object_name.in_(names))).scalars()
    )


def doubtful_manifests(tx: Transaction, names: set[str]) -> set[str]:
    """Manifests of records that were reclaimed, or that the catalogue does not know as completed."""
    ids = {found for name in names if is_id(found := name.removeprefix(MANIFEST_PREFIX))}
    in_order = sa.select(records.c.id).where(
        records.c.id.in_(ids), records.c.completed_at.is_not(None), ~records.c.reclaimed
    )
    return {manifest_name(RecordId(doubtful)) for doubtful in ids - set(tx.execute(in_order).scalars())}


def opens_nothing(vault: Vault, name: str) -> bool:
    """Whether a doubtful manifest is litter; if it is not in order, the catalogue is not.

    A record is in the catalogue before its manifest is in the bucket, and so are its documents. Where they are not,
    the catalogue was restored from a backup, or a standby that lagged took over: then nothing is litter. Filing
    writes no key page, so packs and masters cannot show that.

    Raises:
        OldCatalogueError: the manifest is of a record that can be read and that the catalogue has lost.
    """
    record_id = name.removeprefix(MANIFEST_PREFIX)
    with vault.catalogue.read() as tx:
        reclaimed = tx.execute(sa.select(records.c.reclaimed).where(records.c.id == record_id)).scalar()
    if reclaimed:
        return True
    is_known = reclaimed is not None
    try:
        manifest = json.loads(vault.bucket.get(name, limit=MANIFEST_LIMIT_BYTES))
        cohort, slot = int(manifest["cohort"]), int(manifest["slot"])
        objects = {str(document["object"]) for document in manifest["documents"]}
    except (ObjectNotFound, ValueError, KeyError, TypeError):
        return False  # somebody else's, or under a delete marker: nothing can be told from it, so it stays
    with vault.catalogue.read() as tx:
        pages = tx.execute(
            sa.select(sealed_pages.c.live)
            .join(
                tree_pages,
                (tree_pages.c.tree == sealed_pages.c.tree)
                & (tree_pages.c.cohort_id == sealed_pages.c.cohort_id)
                & (tree_pages.c.version == sealed_pages.c.version),
            )
            .where(sealed_pages.c.cohort_id == cohort)
        ).scalars()
        is_live = any(slot in slots_of(live) for live in pages)
        complete = not unnamed_documents(tx, objects)
    if is_live and not (is_known and complete):
        raise OldCatalogueError
    return not is_known
