"""The sealed sheet of a record and the sealed slip of each document: JSON under the record key.

Here stands everything that may be personal: the applicant's fields, file names, types, true sizes, digests.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from keystore import Key, SealBrokenError, context, derive_tag, open_sealed, seal
from vault.ids import DocumentId, RecordId

__all__ = ["NAME_TAG_BYTES", "Sheet", "Slip", "body_tag", "document_context", "name_tag"]

_VERSION: Final = 1
_STEP_BYTES: Final = 512
NAME_TAG_BYTES = 16


@dataclass(frozen=True, slots=True, repr=False)
class Sheet:
    """What the center wrote about the applicant."""

    applicant: dict[str, Any]

    def seal(self, key: Key, vault_id: bytes, record: RecordId) -> bytes:
        """Seal under the record key, bound to vault and record."""
        return _seal(key, _sheet_context(vault_id, record), asdict(self))

    @classmethod
    def open(cls, key: Key, vault_id: bytes, record: RecordId, sealed: bytes) -> Sheet:
        """Open a sealed sheet.

        Raises:
            SealBrokenError: it is not this record's sheet.
        """
        fields = _open(key, _sheet_context(vault_id, record), sealed)
        return cls(fields["applicant"])


@dataclass(frozen=True, slots=True, repr=False)
class Slip:
    """What is known of a document: the name it was filed under, its type, true size in bytes and SHA-256 (hex)."""

    name: str
    media_type: str
    size: int
    sha256: str

    def seal(self, key: Key, vault_id: bytes, record: RecordId, document: DocumentId) -> bytes:
        """Seal under the record key, bound to vault, record and document."""
        return _seal(key, _slip_context(vault_id, record, document), asdict(self))

    @classmethod
    def open(cls, key: Key, vault_id: bytes, record: RecordId, document: DocumentId, sealed: bytes) -> Slip:
        """Open a sealed slip.

        Raises:
            SealBrokenError: it is not this document's slip.
        """
        fields = _open(key, _slip_context(vault_id, record, document), sealed)
        return cls(fields["name"], fields["media_type"], fields["size"], fields["sha256"])


def document_context(vault_id: bytes, record: RecordId, document: DocumentId) -> bytes:
    """What a document's seal is bound to."""
    return context("shredvault/document/v1", vault_id, record.encode(), document.encode())


def name_tag(key: Key, record: RecordId, name: str) -> bytes:
    """A keyed tag of a document's name, 16 bytes: finds the document, and dies with the record key."""
    return derive_tag(key, context("shredvault/name-tag/v1", record.encode(), name.encode()), NAME_TAG_BYTES)


def body_tag(key: Key, record: RecordId, body_digest: bytes) -> bytes:
    """A keyed tag of the request that opened a record, to recognise its repetition."""
    return derive_tag(key, context("shredvault/body-tag/v1", record.encode(), body_digest))


def _sheet_context(vault_id: bytes, record: RecordId) -> bytes:
    return context("shredvault/sheet/v1", vault_id, record.encode())


def _slip_context(vault_id: bytes, record: RecordId, document: DocumentId) -> bytes:
    return context("shredvault/slip/v1", vault_id, record.encode(), document.encode())


def _seal(key: Key, bound_to: bytes, fields: dict[str, Any]) -> bytes:
    text = json.dumps({"v": _VERSION, **fields}, ensure_ascii=False, separators=(",", ":")).encode()
    # Spaces up to a whole step, so that the size does not tell how long a name is.
    return bytes(seal(key, bound_to, text.ljust(-(-len(text) // _STEP_BYTES) * _STEP_BYTES)))


def _open(key: Key, bound_to: bytes, sealed: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(open_sealed(key, bound_to, sealed))
    if fields.get("v") != _VERSION:
        raise SealBrokenError
    return fields
