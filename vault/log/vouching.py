"""Whether the vault itself wrote an entry of the journal, or somebody who can write in the catalogue.

The salt of an entry is a tag over the entry, made with a key from the home's `signing.json`. So it still hides the
facts from whoever sees a leaf, and nobody makes one who has the database alone. Nothing else is published or signed;
and what an entry alone says, such as that a deadline has latched, is believed only of such a one.

After a rebuild with another key, the entries before it have the salts of the key that was lost. They came from the
ledger whose newest checkpoint was verified, and nothing can be slipped in before the rebuild's own entry.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.engine import tagger_of
from vault.catalogue.schema import journal, vaults
from vault.errors import HomeError, LedgerBrokenError

from .leaves import SALT_BYTES, Entry, plain_facts

__all__ = ["entry_of", "is_ours", "our_entries", "require_key_in_use", "require_ours", "salted"]

_PURPOSE = "shredvault/journal/v1"


def entry_of(
    tx: Transaction, number: int, at: datetime, event: str, subject: str, facts: Mapping[str, Any] | None
) -> Entry:
    """A new entry, which the vault vouches for."""
    return salted(tx, Entry(number, at, event, subject, plain_facts(facts), b""))


def salted(tx: Transaction, entry: Entry) -> Entry:
    """The same entry with the salt that the vault's key gives it."""
    bare = replace(entry, salt=b"")
    return replace(entry, salt=tagger_of(tx)(_PURPOSE, bare.leaf())[:SALT_BYTES])


def is_ours(tx: Transaction, entry: Entry) -> bool:
    """Whether the vault wrote this entry with its present key."""
    return hmac.compare_digest(salted(tx, entry).salt, entry.salt)


def require_ours(tx: Transaction, entries: Iterable[Entry]) -> None:
    """Make sure that the vault wrote all of these entries, before they are published.

    Raises:
        LedgerBrokenError: it did not write one of them.
    """
    for entry in entries:
        if not is_ours(tx, entry):
            message = (
                f"Entry {entry.id} of the journal was not written by the vault but by somebody who can write in its "
                "database. Nothing more is published, destroyed or released. Keep the database as it is; "
                "`shredvault rebuild` makes a catalogue from the ledger, which does not have that entry."
            )
            raise LedgerBrokenError(message)


def require_key_in_use(tx: Transaction) -> None:
    """Make sure that this home's key is the one that the others vouch with, before anything is written.

    A home that kept the old key when a rebuild elsewhere made another would write what nobody else believes: neither
    that a hold was placed, nor that people decided to preserve.

    Raises:
        HomeError: it is another.
    """
    published = tx.execute(sa.select(vaults.c.published)).scalar() or 0
    begun = _read(tx, journal.c.event.in_(("founded", "rebuilt")))
    # What was published had its writer's tag; what was not, anybody may have written: so one of ours is enough.
    told = [one for one in begun if one.id > published] + [one for one in begun if one.id <= published][-1:]
    if told and not any(is_ours(tx, one) for one in told):
        message = (
            "The signing key in this home is not the one with which the vault's journal is written now. Bring "
            "signing.json from the host on which `shredvault rebuild` made the key in use, or back from the backup of "
            "the home. If the catalogue is an old one, or the key is lost: `shredvault rebuild`."
        )
        raise HomeError(message)


def our_entries(tx: Transaction, event: str, subject: str) -> list[Entry]:
    """The entries of this kind that the vault wrote, oldest first."""
    found = _read(tx, sa.and_(journal.c.event == event, journal.c.subject == subject))
    before = next((one.id for one in reversed(_read(tx, journal.c.event == "rebuilt")) if is_ours(tx, one)), 0)
    return [one for one in found if one.id < before or is_ours(tx, one)]


def _read(tx: Transaction, which: sa.ColumnElement[bool]) -> list[Entry]:
    rows = tx.execute(sa.select(journal).where(which).order_by(journal.c.id))
    return [Entry(row.id, row.at, row.event, row.subject, row.facts, row.salt) for row in rows]
