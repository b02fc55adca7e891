"""Queries about what object lock retains: versions that should be gone and may not be deleted yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from .engine import Transaction
from .schema import locked_objects

__all__ = ["LISTED_MAX", "LockedObject", "Remaining", "locked_names", "remaining", "replace", "to_try"]

LISTED_MAX: Final = 10_000
"""So many are listed one by one; beyond that they are counted only. The catalogue knows all of them."""


@dataclass(frozen=True, slots=True)
class LockedObject:
    """One version that stays in the bucket: before `until`, or, if that is None, while its legal hold is on."""

    name: str
    version_id: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Remaining:
    """What object lock retains: of one destruction, or of the whole vault.

    `until` is when the last retention ends; legal holds, of which there are `on_legal_hold`, have no such date.
    `objects` are the first `LISTED_MAX`, by name.
    """

    count: int
    on_legal_hold: int
    until: datetime | None
    objects: tuple[LockedObject, ...]


def remaining(tx: Transaction, destruction_id: str | None = None) -> Remaining:
    """What is locked of one destruction; without one, of all, broken uploads included."""
    chosen = sa.true() if destruction_id is None else locked_objects.c.destruction_id == destruction_id
    count, dated, until = tx.execute(
        sa.select(sa.func.count(), sa.func.count(locked_objects.c.until), sa.func.max(locked_objects.c.until)).where(
            chosen
        )
    ).one()
    if not count:
        return Remaining(0, 0, None, ())
    listing = (
        sa.select(locked_objects.c.name, locked_objects.c.version_id, locked_objects.c.until)
        .where(chosen)
        .order_by(locked_objects.c.name, locked_objects.c.version_id)
        .limit(LISTED_MAX)
    )
    return Remaining(count, count - dated, until, tuple(LockedObject(*row) for row in tx.execute(listing)))


def to_try(tx: Transaction, now: datetime | None, *, after: str, limit: int) -> dict[str, str | None]:
    """Names, in order, of what may be free at `now` (None: every name), and the destruction each belongs to.

    Legal holds are always among them: nobody tells when one ends.
    """
    query = sa.select(locked_objects.c.name, sa.func.min(locked_objects.c.destruction_id))
    if now is not None:
        query = query.where(locked_objects.c.until.is_(None) | (locked_objects.c.until <= now))
    query = query.where(locked_objects.c.name > after).group_by(locked_objects.c.name)
    return {row[0]: row[1] for row in tx.execute(query.order_by(locked_objects.c.name).limit(limit))}


def locked_names(tx: Transaction, names: Collection[str]) -> set[str]:
    """Which of these names, a few hundred at most, are known to be locked."""
    return set(tx.execute(sa.select(locked_objects.c.name).where(locked_objects.c.name.in_(names))).scalars())


def replace(
    tx: Transaction,
    names: Collection[str],
    found: Iterable[tuple[str, str, datetime | None]],
    owners: dict[str, str | None],
) -> None:
    """Forget what was known of these names, and note what is locked of them now: (name, version, until)."""
    if names:
        tx.execute(sa.delete(locked_objects).where(locked_objects.c.name.in_(names)))
    rows = [
        {"name": name, "version_id": version, "until": until, "destruction_id": owners[name]}
        for name, version, until in found
    ]
    if rows:
        tx.execute(sa.insert(locked_objects), rows)
