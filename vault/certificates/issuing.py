"""Issuing certificates: once for each completed destruction of records, signed, journaled whole.

The journal has the certificate's text, so the ledger in the bucket has it, and a rebuilt catalogue has it back byte
for byte. A certificate bears the id of its destruction: whoever is told "destroyed by D" can ask for certificate D.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault import canonical
from vault.catalogue import Transaction
from vault.catalogue.destructions import list_destructions, load
from vault.catalogue.law import certificates
from vault.catalogue.schema import destructions, journal
from vault.context import Vault, note
from vault.errors import CertificateRefusedError, NotFoundError
from vault.ids import DestructionId
from vault.law.retention import OF_RECORDS
from vault.ledger.publishing import publish, published_mark
from vault.log import SigningKey
from vault.log.merkle import leaf_hash
from vault.log.stored import entries, prove_inclusion, root_at

from .facts import CERTIFICATE, REHEARSAL, certificate_facts
from .observations import require_observed

__all__ = [
    "ISSUED",
    "Certificate",
    "issue_certificate",
    "issue_missing",
    "list_certificates",
    "load_certificate",
]

ISSUED: Final = "certificate issued"
"""The journal's event; its facts have the certificate's text."""
_STEPS: Final = ("list frozen", "condemned", "completed")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was issued."""

    id: DestructionId
    document: bytes
    """The signed text: one canonical JSON object with the members `certificate` and `signature`."""
    issued_at: datetime

    @property
    def content(self) -> dict[str, Any]:
        """What it says."""
        return dict(canonical.decode(self.document)["certificate"])


def issue_certificate(vault: Vault, destruction_id: str, *, rehearsal: bool = False) -> Certificate:
    """Issue the certificate of a completed destruction, or find the one that was issued.

    Args:
        vault: whose destruction it is.
        destruction_id: the destruction, which is also the certificate's id.
        rehearsal: whether nothing real was destroyed: the certificate then has another format name, and is signed
            with a key that nobody keeps.

    Raises:
        NotFoundError: there is no such destruction.
        CertificateRefusedError: an observation is missing.
        OldCatalogueError, ObjectStoreError, CatalogueError: see `vault.ledger.publishing.publish`.
    """
    # Only what is in the bucket is signed: a checkpoint must outlive the catalogue.
    publish(vault)
    now = vault.clock.now()
    key = SigningKey(f"rehearsal/{vault.vault_id.hex()}", Ed25519PrivateKey.generate()) if rehearsal else vault.signing
    # All that takes long is read before: writers follow one another, and centers are filing.
    with vault.catalogue.read() as tx:
        found = _find(tx, destruction_id)
        if found is not None:
            return found
        if tx.execute(sa.select(destructions.c.id).where(destructions.c.id == destruction_id)).scalar() is None:
            message = "There is no such destruction; `shredvault destruction list` shows them."
            raise NotFoundError(message)
        destruction = load(tx, destruction_id)
        require_observed(destruction)
        facts = certificate_facts(tx, vault.vault_id, destruction, _position(tx, vault, destruction_id), now)
    document = _signed({**facts, "format": REHEARSAL if rehearsal else CERTIFICATE}, key)
    with vault.catalogue.write() as tx:
        found = _find(tx, destruction_id)
        if found is not None:
            return found
        row = {"id": destruction_id, "document": document, "issued_at": now}
        tx.execute(sa.insert(certificates).values(row))
        digest = hashlib.sha256(document).hexdigest()
        note(tx, now, ISSUED, destruction_id, {"document": document.decode("utf-8"), "sha256": digest})
    publish(vault)
    return Certificate(DestructionId(destruction_id), document, now)


def issue_missing(vault: Vault) -> list[DestructionId]:
    """Issue every certificate that can be issued; returns which destructions of records have none in spite of that.

    Raises:
        ObjectStoreError, CatalogueError: a service failed; run it again.
    """
    with vault.catalogue.read() as tx:
        have = set(tx.execute(sa.select(certificates.c.id)).scalars())
        open_ones = [
            one.id
            for one in list_destructions(tx)
            if one.completed_at is not None and one.kind in OF_RECORDS and one.id not in have
        ]
    without = []
    for destruction_id in open_ones:
        try:
            issue_certificate(vault, destruction_id)
        except CertificateRefusedError:
            without.append(destruction_id)
    return without


def list_certificates(tx: Transaction) -> list[Certificate]:
    """All certificates, oldest first."""
    query = sa.select(certificates).order_by(certificates.c.issued_at, certificates.c.id)
    return [Certificate(DestructionId(row.id), row.document, row.issued_at) for row in tx.execute(query)]


def load_certificate(vault: Vault, certificate_id: str) -> Certificate:
    """One certificate.

    Raises:
        NotFoundError: there is none of this id.
    """
    with vault.catalogue.read() as tx:
        found = _find(tx, certificate_id)
    if found is None:
        message = "There is no such certificate; `shredvault certificate list` shows them."
        raise NotFoundError(message)
    return found


def _find(tx: Transaction, certificate_id: str) -> Certificate | None:
    row = tx.execute(sa.select(certificates).where(certificates.c.id == certificate_id)).one_or_none()
    return None if row is None else Certificate(DestructionId(row.id), row.document, row.issued_at)


def _signed(content: dict[str, Any], key: SigningKey) -> bytes:
    """The certificate with its signature, which is over the format name, a line end and the canonical content."""
    message = f"{content['format']}\n".encode() + canonical.encode(content)
    signature = {"key": str(key.verifier), "value": key.sign(message).hex()}
    return canonical.encode({"certificate": content, "signature": signature})


def _position(tx: Transaction, vault: Vault, destruction_id: str) -> dict[str, Any]:
    """Where the destruction's entries stand in the log, with the proof of each under one signed checkpoint."""
    size = published_mark(tx).last
    query = sa.select(journal.c.id).where(journal.c.subject == destruction_id, journal.c.event.in_(_STEPS))
    steps = [entries(tx, number - 1, 1)[0] for number in tx.execute(query.order_by(journal.c.id)).scalars()]
    return {
        "checkpoint": vault.signing.sign_checkpoint(size, root_at(tx, size)),
        "entries": [
            {
                "event": one.event,
                "id": one.id,
                "leaf": leaf_hash(one.leaf()).hex(),
                "path": [node.hex() for node in prove_inclusion(tx, one.id, size)],
            }
            for one in steps
        ],
    }
