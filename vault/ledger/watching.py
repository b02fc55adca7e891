"""Looks whether the ledger is still what it was, cheaply enough for every few minutes; `verifying` reads all of it.

1. the bucket has nothing that the catalogue does not know: else the catalogue is an old one
2. the newest object in the bucket is byte for byte what the catalogue accepted, and its entries are the journal's
3. its checkpoint is signed with the log's key, over the root of the catalogue's own tree
4. every checkpoint that was kept before, a witness's above all, is of this history

An edit of an older entry in the bucket is found by `ledger verify` only, or by whoever asks for a proof of that entry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.context import Vault
from vault.errors import DamagedError, LedgerBrokenError
from vault.log.notes import check_note
from vault.log.stored import entries, root_at

from .publishing import (
    OBJECT_ENTRIES_MAX,
    OBJECT_LIMIT_BYTES,
    PREFIX,
    Mark,
    Published,
    ledger_name,
    parse_object,
    published_mark,
    require_published,
)
from .verifying import log_keys
from .witnesses import latest_cosigned

__all__ = ["Watched", "watch_ledger"]

_NUMBER_BASE: Final = 16


@dataclass(frozen=True, slots=True)
class Watched:
    """What was looked at and found to agree."""

    size: int
    kept: int
    """Checkpoints that were kept before."""


def watch_ledger(vault: Vault, kept: Sequence[str] = ()) -> Watched:
    """Steps 1 to 4; see above.

    Args:
        vault: whose ledger it is.
        kept: signed checkpoints that somebody kept; what a witness signed last is looked at in any case.

    Raises:
        OldCatalogueError: the bucket has entries that the catalogue does not know.
        DamagedError: something is not as it should be; the sentence says what.
        ObjectStoreError, CatalogueError: a service does not answer; nothing is known.
    """
    # 1.
    require_published(vault)
    keys = log_keys(vault)
    with vault.catalogue.read() as tx:
        mark = published_mark(tx)
        cosigned = latest_cosigned(tx)
    # 2.
    newest = _newest(vault, mark)
    with vault.catalogue.read() as tx:
        if entries(tx, newest.entries[0].id - 1, len(newest.entries)) != list(newest.entries):
            message = "The journal in the catalogue differs from the ledger in the bucket, in its newest entries."
            raise LedgerBrokenError(message)
        # 3.
        signed = check_note(newest.checkpoint, keys)
        if signed.root != _root(tx, mark.last):
            message = "The Merkle tree in the catalogue is not that of the ledger."
            raise LedgerBrokenError(message)
        # 4.
        claims = [check_note(one, keys) for one in (cosigned, *kept) if one is not None]
        for claim in claims:
            if claim.size > mark.last or _root(tx, claim.size) != claim.root:
                message = (
                    f"A checkpoint over {claim.size} entries was kept that is not of this history: the ledger was "
                    "forked, or an older state was put back."
                )
                raise LedgerBrokenError(message)
    return Watched(mark.last, len(claims))


def _newest(vault: Vault, mark: Mark) -> Published:
    """The object that holds the last published entry, if it is the one that the catalogue knows."""
    earliest = ledger_name(max(mark.last - OBJECT_ENTRIES_MAX, 0))
    # Others may have published more since; who knows those is asked the next time.
    names = [name for name in vault.bucket.names(PREFIX, after=earliest) if name <= ledger_name(mark.last)]
    if not names:
        message = (
            f"The ledger in the bucket ends before entry {mark.last}, which had been written. Its end was cut off."
        )
        raise LedgerBrokenError(message)
    blob = vault.bucket.get(names[-1], limit=OBJECT_LIMIT_BYTES)
    if hashlib.sha256(blob).digest() != mark.digest:
        message = "The newest object of the ledger in the bucket is not the one that the catalogue knows."
        raise LedgerBrokenError(message)
    try:
        first = int(names[-1].removeprefix(PREFIX), _NUMBER_BASE)
        before = bytes.fromhex(json.loads(blob)["before"])
    except (ValueError, KeyError, TypeError) as broken:
        message = "The newest object of the ledger is damaged."
        raise DamagedError(message) from broken
    return parse_object(vault.vault_id, Mark(first - 1, before), blob)


def _root(tx: Transaction, size: int) -> bytes:
    try:
        return root_at(tx, size)
    except (ValueError, sa.exc.NoResultFound) as broken:
        message = "The Merkle tree in the catalogue has holes."
        raise LedgerBrokenError(message) from broken
