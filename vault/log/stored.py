"""The Merkle tree over the journal as it stands in the catalogue: grown and read in O(log n).

Table `ledger_nodes` has the hash of every complete subtree. An entry adds its leaf, and one node for every subtree that
it completes: one on average. A proof reads the few hashes it consists of.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.schema import journal, ledger_nodes

from .leaves import Entry
from .merkle import consistency_path, inclusion_path, leaf_hash, node_hash, root_of

__all__ = ["append", "entries", "prove_consistency", "prove_inclusion", "root_at", "size_of"]


def append(tx: Transaction, entry: Entry) -> None:
    """Write an entry into the journal and the tree. In a writing transaction; there is one writer at a time."""
    row = {"id": entry.id, "at": entry.at, "event": entry.event, "subject": entry.subject}
    tx.execute(sa.insert(journal).values(**row, facts=entry.facts, salt=entry.salt))
    level, position, node = 0, entry.id - 1, leaf_hash(entry.leaf())
    tx.execute(sa.insert(ledger_nodes).values(level=level, position=position, hash=node))
    while position & 1:
        node = node_hash(_node(tx, level, position - 1), node)
        level, position = level + 1, position >> 1
        tx.execute(sa.insert(ledger_nodes).values(level=level, position=position, hash=node))


def size_of(tx: Transaction) -> int:
    """How many entries the journal has."""
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(journal.c.id), 0))).scalar_one())


def entries(tx: Transaction, after: int, count: int) -> list[Entry]:
    """The `count` entries after number `after`, or as many as there are."""
    query = sa.select(journal).where(journal.c.id > after).order_by(journal.c.id).limit(count)
    return [Entry(row.id, row.at, row.event, row.subject, row.facts, row.salt) for row in tx.execute(query)]


def root_at(tx: Transaction, size: int) -> bytes:
    """The root when the journal had `size` entries.

    Raises:
        ValueError: it never had so many.
    """
    _require_size(tx, size)
    return root_of(size, lambda level, position: _node(tx, level, position))


def prove_inclusion(tx: Transaction, entry_id: int, size: int) -> Sequence[bytes]:
    """The audit path of an entry in the tree of the first `size`.

    Raises:
        ValueError: there is no such entry, or the journal never had so many.
    """
    _require_size(tx, size)
    return inclusion_path(entry_id - 1, size, lambda level, position: _node(tx, level, position))


def prove_consistency(tx: Transaction, old: int, new: int) -> Sequence[bytes]:
    """The proof that the tree of the first `new` entries begins with that of the first `old`.

    Raises:
        ValueError: `old` is not between 1 and `new`, or the journal never had so many.
    """
    _require_size(tx, new)
    return consistency_path(old, new, lambda level, position: _node(tx, level, position))


def _require_size(tx: Transaction, size: int) -> None:
    if not 0 <= size <= size_of(tx):
        message = "the journal never had so many entries"
        raise ValueError(message)


def _node(tx: Transaction, level: int, position: int) -> bytes:
    query = sa.select(ledger_nodes.c.hash).where(ledger_nodes.c.level == level, ledger_nodes.c.position == position)
    return bytes(tx.execute(query).scalar_one())
