"""Frozen lists that await an order: the exact records, bound by the Merkle root over their ids.

A list is frozen when its order is drafted, so that what people sign is what dies, and not a record more. It is void
after 14 days, when the policy changes, and when its root, computed again, is not the one that was signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from keystore import COHORT_BITMAP_BYTES
from vault.catalogue import Transaction
from vault.catalogue.law import list_slots, lists
from vault.catalogue.schema import records
from vault.context import current_policy, note
from vault.errors import OrderRefusedError
from vault.ids import ListId, new_id
from vault.log.merkle import tree_hash

from .order import Order

__all__ = ["LIST_LIFE", "ListedRecord", "StoredList", "keep_list", "load_stored_list", "require_list", "root_of"]

LIST_LIFE: Final = timedelta(days=14)
_BATCH: Final = 500

ListedRecord = tuple[str, int, int]
"""Record id, cohort, slot."""


@dataclass(frozen=True, slots=True)
class StoredList:
    """A frozen list."""

    id: ListId
    kind: str
    """`scrub` or `destroy`: the action it was frozen for."""
    root: bytes
    count: int
    policy_version: int
    frozen_at: datetime
    not_listed: dict[str, int]


def root_of(record_ids: Iterable[str]) -> bytes:
    """The Merkle root of a list: over the ids in ascending order, in ASCII."""
    return tree_hash(sorted(record_id.encode() for record_id in record_ids))


def keep_list(
    tx: Transaction, kind: str, listed: Iterable[ListedRecord], not_listed: Mapping[str, int], now: datetime
) -> StoredList:
    """Freeze a list for an order to name."""
    rows = list(listed)
    slots: dict[int, int] = {}
    for _, cohort, slot in rows:
        slots[cohort] = slots.get(cohort, 0) | 1 << slot
    kept = StoredList(
        ListId(new_id()),
        kind,
        root_of(record_id for record_id, _, _ in rows),
        len(rows),
        current_policy(tx).version,
        now,
        dict(not_listed),
    )
    tx.execute(
        sa.insert(lists).values(
            id=kept.id,
            kind=kind,
            root=kept.root,
            count=kept.count,
            policy_version=kept.policy_version,
            frozen_at=now,
            not_listed=kept.not_listed,
        )
    )
    if slots:
        tx.execute(
            sa.insert(list_slots),
            [
                {"list_id": kept.id, "cohort_id": cohort, "slots": bits.to_bytes(COHORT_BITMAP_BYTES, "little")}
                for cohort, bits in slots.items()
            ],
        )
    note(tx, now, "list drafted", kept.id, {"kind": kind, "root": kept.root.hex(), "count": kept.count})
    return kept


def load_stored_list(tx: Transaction, list_id: str) -> tuple[StoredList, list[ListedRecord]]:
    """A frozen list with its records, whatever has become of them.

    Raises:
        OrderRefusedError: there is no such list.
    """
    row = tx.execute(sa.select(lists).where(lists.c.id == list_id)).mappings().one_or_none()
    if row is None:
        message = "The order's list is not in this vault; a rebuild voids lists. Draft a new order."
        raise OrderRefusedError(message)
    stored = StoredList(**{**row, "id": ListId(row["id"])})
    slots = {
        cohort: int.from_bytes(bits, "little")
        for cohort, bits in tx.execute(
            sa.select(list_slots.c.cohort_id, list_slots.c.slots).where(list_slots.c.list_id == list_id)
        )
    }
    return stored, _records_at(tx, slots)


def _records_at(tx: Transaction, slots: Mapping[int, int]) -> list[ListedRecord]:
    found: list[ListedRecord] = []
    wanted = sorted(slots)
    for start in range(0, len(wanted), _BATCH):
        query = sa.select(records.c.id, records.c.cohort_id, records.c.slot).where(
            records.c.cohort_id.in_(wanted[start : start + _BATCH])
        )
        found += [(r.id, r.cohort_id, r.slot) for r in tx.execute(query) if slots[r.cohort_id] >> r.slot & 1]
    return found


def require_list(tx: Transaction, order: Order, now: datetime) -> tuple[StoredList, list[ListedRecord]]:
    """The list that an order names with its records, if it still stands as it was signed.

    Raises:
        OrderRefusedError: it was edited, is too old, is of another policy or of another action.
    """
    stored, listed = load_stored_list(tx, str(order.scope["list"]))
    why = _void(stored, order.scope, order.action, current_policy(tx).version, now)
    if why is None and (len(listed), root_of(one[0] for one in listed)) != (stored.count, stored.root):
        why = "the list was edited after it was frozen."
    if why is not None:
        message = f"The order's list is void: {why} Draft a new order."
        raise OrderRefusedError(message)
    return stored, listed


def _void(stored: StoredList, scope: Mapping[str, Any], kind: str, policy_version: int, now: datetime) -> str | None:
    if stored.kind != kind:
        return f"it was frozen for another action, {stored.kind}."
    if (scope["root"], scope["count"]) != (stored.root.hex(), stored.count):
        return "the order names another root or count than the list has."
    if stored.policy_version != policy_version:
        return "the policy has changed since it was frozen."
    if now - stored.frozen_at > LIST_LIFE:
        return f"it was frozen more than {LIST_LIFE.days} days ago."
    return None
