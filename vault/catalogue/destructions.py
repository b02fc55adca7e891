"""Queries about destructions, their frozen lists, and the marking of the condemned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from keystore import COHORT_BITMAP_BYTES, Tree
from vault.ids import DestructionId

from .engine import Transaction
from .locked import Remaining, remaining
from .schema import cohorts, destruction_lists, destructions, records

__all__ = [
    "Destruction",
    "condemn",
    "insert_destruction",
    "list_destructions",
    "listed_ids",
    "load",
    "load_list",
    "unfinished",
    "unreclaimed",
    "update",
]

_FEW = 100
"""Of a cohort's 1023 slots: so many are asked for one by one."""


@dataclass(frozen=True, slots=True)
class Destruction:
    """A destruction as far as it has come. Times are None for steps not yet taken."""

    id: DestructionId
    kind: str
    tree: Tree
    authority: str
    order_id: str | None
    """The order it is under; None: under the standing policy, or the command line."""
    policy_version: int
    hold_id: str | None
    moves_to: str | None
    """For a move: the custodian that is to hold the next master."""
    list_root: bytes
    listed: int
    not_listed: dict[str, int]
    withdrawn: int
    condemned: int | None
    old_master: str | None
    new_master: str | None
    old_version: int | None
    staged_version: int | None
    observed: dict[str, Any]
    frozen_at: datetime
    condemned_at: datetime | None
    fenced_at: datetime | None
    completed_at: datetime | None
    freed_at: datetime | None
    reclaimed_at: datetime | None
    abandoned_at: datetime | None
    locked: Remaining
    """What of it is still in the bucket because object lock retains it."""


def _made(tx: Transaction, row: sa.Row[Any]) -> Destruction:
    begun = row.completed_at is not None and row.reclaimed_at is None
    locked = remaining(tx, row.id) if begun else Remaining(0, 0, None, ())
    return Destruction(**row._asdict() | {"tree": Tree(row.tree), "id": DestructionId(row.id), "locked": locked})


def insert_destruction(tx: Transaction, slots: Mapping[int, int], revisions: Mapping[int, int], **columns: Any) -> None:
    """Store a frozen list: the destruction and, for each cohort, a bitmap of slots (an integer) and its revision."""
    tx.execute(sa.insert(destructions).values(**columns))
    rows = [
        {
            "destruction_id": columns["id"],
            "cohort_id": cohort,
            "slots": bits.to_bytes(COHORT_BITMAP_BYTES, "little"),
            "revision": revisions[cohort],
        }
        for cohort, bits in slots.items()
    ]
    if rows:
        tx.execute(sa.insert(destruction_lists), rows)


def load(tx: Transaction, destruction_id: str) -> Destruction:
    """One destruction; it must exist."""
    return _made(tx, tx.execute(sa.select(destructions).where(destructions.c.id == destruction_id)).one())


def list_destructions(tx: Transaction) -> list[Destruction]:
    """All destructions, oldest first."""
    return [_made(tx, row) for row in tx.execute(sa.select(destructions).order_by(destructions.c.frozen_at))]


def load_list(tx: Transaction, destruction_id: str) -> tuple[dict[int, int], dict[int, int]]:
    """The frozen list: cohort to bitmap of slots (an integer), and cohort to its revision when it was frozen."""
    query = sa.select(destruction_lists).where(destruction_lists.c.destruction_id == destruction_id)
    rows = list(tx.execute(query))
    return (
        {row.cohort_id: int.from_bytes(row.slots, "little") for row in rows},
        {row.cohort_id: row.revision for row in rows},
    )


def listed_ids(tx: Transaction, slots: Mapping[int, int]) -> list[bytes]:
    """The ids of the records in some slots (bitmaps by cohort), in ASCII, ascending.

    Where few of a cohort are asked for, its other records are not looked at.
    """
    ids: list[bytes] = []
    for cohort, bits in slots.items():
        query = sa.select(records.c.id, records.c.slot).where(records.c.cohort_id == cohort)
        if bits.bit_count() <= _FEW:
            query = query.where(records.c.slot.in_(_slots(bits)))
        ids += [row.id.encode("ascii") for row in tx.execute(query) if bits >> row.slot & 1]
    # Not sorted by the database, whose collation may be another.
    return sorted(ids)


def unfinished(tx: Transaction) -> list[Destruction]:
    """Destructions that were frozen, and neither completed nor undone."""
    query = sa.select(destructions).where(destructions.c.completed_at.is_(None), destructions.c.abandoned_at.is_(None))
    return [_made(tx, row) for row in tx.execute(query.order_by(destructions.c.frozen_at))]


def unreclaimed(tx: Transaction) -> list[Destruction]:
    """Completed destructions whose space has not been reclaimed, or not all of it: see `freed_at`."""
    query = sa.select(destructions).where(
        destructions.c.completed_at.is_not(None), destructions.c.reclaimed_at.is_(None)
    )
    return [_made(tx, row) for row in tx.execute(query.order_by(destructions.c.completed_at))]


def update(tx: Transaction, destruction_id: str, **columns: Any) -> None:
    """Set columns of one destruction."""
    tx.execute(sa.update(destructions).where(destructions.c.id == destruction_id).values(**columns))


def condemn(
    tx: Transaction,
    destruction_id: str,
    condemned: Mapping[int, int],
    survivors: Mapping[int, int],
    keyless: Mapping[int, int],
) -> None:
    """Mark the condemned.

    Where most of a cohort dies, the cohort is marked and its survivors are spared; where few die, they are marked one
    by one. So the work never grows with the records of whole cohorts.

    Of the keyless, those that were not condemned before are spared as well: a missing key is no destruction.
    """
    fresh = set(tx.execute(sa.select(cohorts.c.id).where(cohorts.c.condemned_by.is_(None))).scalars())
    whole = [c for c in condemned if c in fresh and condemned[c].bit_count() > survivors[c].bit_count()]
    single = set(condemned) - set(whole)
    spared = [{"c": cohort, "s": slot} for cohort in whole for slot in _slots(survivors[cohort] | keyless[cohort])]
    marked = [{"c": cohort, "s": slot} for cohort in sorted(single) for slot in _slots(condemned[cohort])]
    here = (records.c.cohort_id == sa.bindparam("c")) & (records.c.slot == sa.bindparam("s"))
    if spared:
        tx.execute(sa.update(records).where(here, records.c.condemned_by.is_(None)).values(spared=True), spared)
    if marked:
        tx.execute(sa.update(records).where(here).values(condemned_by=destruction_id), marked)
    if whole:
        tx.execute(
            sa.update(cohorts).where(cohorts.c.id == sa.bindparam("c")).values(condemned_by=destruction_id),
            [{"c": cohort} for cohort in whole],
        )


def _slots(bits: int) -> list[int]:
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found
