"""Witnesses: others who sign the log's checkpoints, each only what continues everything that it signed before.

Who is a witness, and what it signed, are entries of the log itself, so that a rebuild brings both back. What makes a
witness worth something is the copy that it keeps, where nobody of the vault can change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.schema import journal
from vault.context import Vault, note
from vault.errors import LedgerBrokenError
from vault.log.notes import COSIGNATURE, Cosigned, VerifierKey, bears_cosignature, check_cosignature, check_note
from vault.log.stored import root_at

from .publishing import publish, published_mark

__all__ = ["keep_cosigned", "latest_cosigned", "name_witness", "witnesses"]

NAME_CHARACTERS_MAX: Final = 64
_NAMED: Final = "witness named"
_COSIGNED: Final = "checkpoint cosigned"


def name_witness(vault: Vault, text: str) -> VerifierKey:
    """Accept a witness by its verifier key (`name+id+key`); the same again changes nothing.

    Raises:
        LedgerBrokenError: it is no key of a witness, or another one has the name.
        OldCatalogueError, ObjectStoreError, CatalogueError: see `publish`.
    """
    key = VerifierKey.parse(text)
    if key.type != COSIGNATURE or len(key.name) > NAME_CHARACTERS_MAX:
        message = (
            f"This is no witness's key: it must be for cosignatures, its name at most {NAME_CHARACTERS_MAX} letters."
        )
        raise LedgerBrokenError(message)
    with vault.catalogue.write() as tx:
        known = {one.name: one for one in witnesses(tx)}
        if known.get(key.name, key) != key:
            message = "Another witness has this name."
            raise LedgerBrokenError(message)
        if key.name not in known:
            note(tx, vault.clock.now(), _NAMED, key.name, {"key": str(key)})
    publish(vault)
    return key


def witnesses(tx: Transaction) -> list[VerifierKey]:
    """All witnesses, in the order in which they were named."""
    query = sa.select(journal.c.facts).where(journal.c.event == _NAMED).order_by(journal.c.id)
    return [VerifierKey.parse(facts["key"]) for facts in tx.execute(query).scalars()]


def keep_cosigned(vault: Vault, signed: str) -> Sequence[Cosigned]:
    """Keep a checkpoint with the cosignatures of known witnesses; gives what each of them says.

    Raises:
        LedgerBrokenError: it is not this log's, not of this history, or no known witness has signed it.
        OldCatalogueError, ObjectStoreError, CatalogueError: see `publish`.
    """
    checkpoint = check_note(signed, [vault.signing.verifier])
    with vault.catalogue.write() as tx:
        if not 1 <= checkpoint.size <= published_mark(tx).last or root_at(tx, checkpoint.size) != checkpoint.root:
            message = (
                "The log's key has signed this checkpoint, and it is not of this history: it was forked, or an older "
                "state was put back."
            )
            raise LedgerBrokenError(message)
        found = [check_cosignature(signed, one) for one in witnesses(tx) if bears_cosignature(signed, one)]
        if not found:
            message = "No witness that this vault knows has signed the checkpoint."
            raise LedgerBrokenError(message)
        facts = {"note": signed, "witnesses": [one.witness for one in found]}
        note(tx, vault.clock.now(), _COSIGNED, str(checkpoint.size), facts)
    publish(vault)
    return found


def latest_cosigned(tx: Transaction) -> str | None:
    """The checkpoint that was kept last, with its cosignatures."""
    query = sa.select(journal.c.facts).where(journal.c.event == _COSIGNED).order_by(journal.c.id.desc()).limit(1)
    facts = tx.execute(query).scalar()
    return None if facts is None else str(facts["note"])
