"""What is shown of the ledger to whoever asks: signed checkpoints, leaves, proofs.

Only what is in the bucket is signed and proved: a checkpoint promises entries that the loss of the catalogue does not
take away. Facts are not shown here; who may see an entry's facts gets them with its salt and can check them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.schema import journal
from vault.context import Vault
from vault.errors import NotFoundError
from vault.log.leaves import Entry
from vault.log.stored import entries, prove_consistency, prove_inclusion, root_at

from .publishing import publish, published_mark

__all__ = [
    "Proven",
    "checkpoint_at",
    "consistency",
    "entry_number",
    "inclusion",
    "latest_checkpoint",
    "leaf_of",
    "prove_entry",
    "prove_published",
]


@dataclass(frozen=True, slots=True)
class Proven:
    """An entry with everything that shows that it stands in the log."""

    entry: Entry
    path: Sequence[bytes]
    """Its audit path in the tree that the checkpoint is about."""
    checkpoint: str
    """A signed note."""

    def closed(self) -> dict[str, Any]:
        """The entry's leaf with its proof, as JSON values: that it is there and when, and none of its facts."""
        return {
            "leaf": self.entry.leaf().decode(),
            "path": [one.hex() for one in self.path],
            "checkpoint": self.checkpoint,
        }

    def extract(self) -> dict[str, Any]:
        """The entry, opened, with its proof, as JSON values: what a certificate carries."""
        return {**self.closed(), "facts": self.entry.facts, "salt": self.entry.salt.hex()}


def latest_checkpoint(vault: Vault) -> str:
    """The checkpoint over everything that is published, as a signed note."""
    with vault.catalogue.read() as tx:
        return _sign(vault, tx, published_mark(tx).last)


def checkpoint_at(vault: Vault, size: int) -> str:
    """The checkpoint when the log had `size` entries.

    Raises:
        NotFoundError: it has not so many.
    """
    with vault.catalogue.read() as tx:
        _require_published(tx, size)
        return _sign(vault, tx, size)


def leaf_of(vault: Vault, number: int) -> bytes:
    """The leaf of an entry, by the entry's number from 1 on.

    Raises:
        NotFoundError: there is no such entry.
    """
    with vault.catalogue.read() as tx:
        _require_published(tx, number)
        return _entry(tx, number).leaf()


def inclusion(vault: Vault, number: int, size: int) -> Sequence[bytes]:
    """The audit path of an entry in the log's first `size` entries.

    Raises:
        NotFoundError: the log has not so many entries, or this is not one of them.
    """
    with vault.catalogue.read() as tx:
        _require_published(tx, size)
        if not 1 <= number <= size:
            raise NotFoundError("There is no such entry in the ledger of this size.")
        return prove_inclusion(tx, number, size)


def consistency(vault: Vault, old: int, new: int) -> Sequence[bytes]:
    """The proof that the log of `new` entries begins with that of `old`.

    Raises:
        NotFoundError: the log has not so many entries, or `old` is not between 1 and `new`.
    """
    with vault.catalogue.read() as tx:
        _require_published(tx, new)
        if not 1 <= old <= new:
            raise NotFoundError("A ledger of the first size does not come before one of the second.")
        return prove_consistency(tx, old, new)


def entry_number(tx: Transaction, event: str, subject: str) -> int | None:
    """The number of the last entry of this event about this subject."""
    query = sa.select(sa.func.max(journal.c.id)).where(journal.c.event == event, journal.c.subject == subject)
    number = tx.execute(query).scalar()
    return None if number is None else int(number)


def prove_entry(vault: Vault, number: int) -> Proven:
    """An entry with its proof in the latest checkpoint; publishes what is not published yet.

    Raises:
        NotFoundError: there is no such entry.
        OldCatalogueError, ObjectStoreError, CatalogueError: see `publish`.
    """
    publish(vault)
    with vault.catalogue.read() as tx:
        return prove_published(vault, tx, number)


def prove_published(vault: Vault, tx: Transaction, number: int) -> Proven:
    """An entry with its proof in the latest checkpoint, if it is published.

    Raises:
        NotFoundError: there is no such entry, or it is not published yet.
    """
    size = published_mark(tx).last
    _require_published(tx, number)
    return Proven(_entry(tx, number), prove_inclusion(tx, number, size), _sign(vault, tx, size))


def _require_published(tx: Transaction, size: int) -> None:
    if not 1 <= size <= published_mark(tx).last:
        raise NotFoundError("The ledger has no entry of this number.")


def _entry(tx: Transaction, number: int) -> Entry:
    return entries(tx, number - 1, 1)[0]


def _sign(vault: Vault, tx: Transaction, size: int) -> str:
    return vault.signing.sign_checkpoint(size, root_at(tx, size))
