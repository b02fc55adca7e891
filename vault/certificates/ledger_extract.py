"""The part of the ledger that shows a certificate true: its destruction's entries, opened, and proofs of each.

Who has it and the vault's public key can check offline that the ledger says what the certificate says, and that the
certificate itself stands in the ledger, word for word (`verify_certificate.py`).
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from vault import canonical
from vault.catalogue.schema import journal
from vault.context import Vault
from vault.errors import NotFoundError
from vault.ledger.publishing import publish, published_mark
from vault.log.stored import entries, prove_inclusion, root_at

from .issuing import ISSUED

__all__ = ["EXTRACT", "extract_ledger"]

EXTRACT: Final = "shredvault/ledger-extract/v1"
_SHOWN: Final = ("list frozen", "condemned", "completed", ISSUED)


def extract_ledger(vault: Vault, certificate_id: str) -> bytes:
    """The extract for a certificate, as canonical JSON under a checkpoint over the whole ledger of this moment.

    Publishes what is not published yet: nothing is signed that is not in the bucket.

    Raises:
        NotFoundError: there is no such certificate.
        OldCatalogueError, ObjectStoreError, CatalogueError: see `vault.ledger.publishing.publish`.
    """
    publish(vault)
    with vault.catalogue.read() as tx:
        size = published_mark(tx).last
        query = sa.select(journal.c.id).where(journal.c.subject == certificate_id, journal.c.event.in_(_SHOWN))
        shown = [entries(tx, number - 1, 1)[0] for number in tx.execute(query.order_by(journal.c.id)).scalars()]
        if not any(one.event == ISSUED for one in shown):
            message = "There is no such certificate; `shredvault certificate list` shows them."
            raise NotFoundError(message)
        lines: list[dict[str, Any]] = [
            {
                "at": one.at.isoformat(),
                "event": one.event,
                "facts": one.facts,
                "id": one.id,
                "path": [node.hex() for node in prove_inclusion(tx, one.id, size)],
                "salt": one.salt.hex(),
                "subject": one.subject,
            }
            for one in shown
        ]
        checkpoint = vault.signing.sign_checkpoint(size, root_at(tx, size))
    return canonical.encode({"format": EXTRACT, "checkpoint": checkpoint, "entries": lines})
