"""Queries about records and documents on their way in and out: the hot path, so the statements are built once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from .engine import Transaction
from .schema import destructions, documents, gone_records, record_states

__all__ = ["document_by_tag", "documents_of", "insert_document", "record_state"]

_KNOWN_OF_GONE = {
    "id": gone_records.c.id,
    "destruction_id": gone_records.c.destruction_id,
    "state": sa.case((destructions.c.completed_at.is_(None), "condemned"), else_="destroyed"),
}
_STATE = sa.union_all(
    sa.select(record_states).where(record_states.c.id == sa.bindparam("record")),
    sa.select(*(_KNOWN_OF_GONE.get(c.name, sa.null()).label(c.name) for c in record_states.c))
    .select_from(gone_records.join(destructions, destructions.c.id == gone_records.c.destruction_id))
    .where(gone_records.c.id == sa.bindparam("record")),
)
_BY_TAG: sa.Select[Any] = sa.select(documents.c.id, documents.c.object_name, documents.c.slip).where(
    documents.c.record_id == sa.bindparam("record"), documents.c.name_tag == sa.bindparam("tag")
)
_OF_RECORD = (
    sa.select(documents.c.id, documents.c.object_name, documents.c.slip)
    .where(documents.c.record_id == sa.bindparam("record"))
    .order_by(documents.c.id)
)
_COUNT = sa.select(sa.func.count()).where(documents.c.record_id == sa.bindparam("new_record_id")).scalar_subquery()
_INSERT = (
    sa.insert(documents)
    .from_select(
        [c.name for c in documents.c],
        sa.select(*(sa.bindparam(f"new_{c.name}", type_=c.type) for c in documents.c)).where(
            sa.bindparam("limit", type_=sa.Integer) > _COUNT
        ),
    )
    .returning(documents.c.id)
)


def record_state(tx: Transaction, record_id: str) -> sa.Row[Any] | None:
    """A record with its state, or None. Of one that was gone before a rebuild all else but its destruction is None."""
    return tx.execute(_STATE, {"record": record_id}).one_or_none()


def document_by_tag(tx: Transaction, record_id: str, name_tag: bytes) -> sa.Row[Any] | None:
    """The document of a record whose name has this tag, or None."""
    return tx.execute(_BY_TAG, {"record": record_id, "tag": name_tag}).one_or_none()


def documents_of(tx: Transaction, record_id: str) -> list[sa.Row[Any]]:
    """All documents of a record, in the order of their ids."""
    return list(tx.execute(_OF_RECORD, {"record": record_id}))


def insert_document(
    tx: Transaction,
    *,
    document_id: str,
    record_id: str,
    name_tag: bytes,
    object_name: str,
    slip: bytes,
    limit: int,
) -> bool:
    """Add a document to a receiving record; False when the record has `limit` of them.

    Raises:
        RuleBrokenError: the record is not receiving, or has a document of this name.
    """
    done = tx.execute(
        _INSERT,
        {
            "new_id": document_id,
            "new_record_id": record_id,
            "new_name_tag": name_tag,
            "new_object_name": object_name,
            "new_slip": slip,
            "limit": limit,
        },
    )
    return done.scalar() is not None
