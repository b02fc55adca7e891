"""The manifest of a record: what a rebuilt catalogue needs to know of it (docs/spec/manifest.md).

It stands in the bucket in the clear, and says nothing personal. Its tag is made with the record's own key: whoever
can write to the bucket can lose a manifest, and cannot change one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from keystore import Key, SealBrokenError, context, derive_tag
from vault.ids import RecordId

__all__ = ["MANIFEST_LIMIT_BYTES", "MANIFEST_PREFIX", "Filed", "Manifest", "manifest_name"]

MANIFEST_PREFIX: Final = "records/"
MANIFEST_LIMIT_BYTES: Final = 1024 * 1024
_FORMAT: Final = "shredvault/manifest/v1"


@dataclass(frozen=True, slots=True, repr=False)
class Filed:
    """A document as the manifest lists it."""

    id: str
    object_name: str
    slip: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Manifest:
    """What is known of a complete record outside its seals."""

    record: RecordId
    cohort: int
    slot: int
    policy: int
    opened_at: datetime
    completed_at: datetime
    due_on: date
    opened_by: str | None
    idempotency_hash: bytes
    body_tag: bytes
    sheet: bytes
    documents: Sequence[Filed]

    def encode(self, key: Key, vault_id: bytes) -> bytes:
        """As it is stored, with the tag that the record's key makes."""
        fields = self._fields()
        return _text({**fields, "tag": _tag(key, vault_id, fields).hex()})

    @classmethod
    def decode(cls, name: str, blob: bytes) -> tuple[Manifest, bytes]:
        """Take a manifest that was found under `name` apart: itself, and the tag that it carries.

        Raises:
            SealBrokenError: it is no manifest.
        """
        try:
            fields = json.loads(blob)
            if fields["format"] != _FORMAT or name != manifest_name(fields["record"]):
                raise SealBrokenError
            manifest = cls(
                RecordId(fields["record"]),
                int(fields["cohort"]),
                int(fields["slot"]),
                int(fields["policy"]),
                datetime.fromisoformat(fields["opened_at"]),
                datetime.fromisoformat(fields["completed_at"]),
                date.fromisoformat(fields["due_on"]),
                fields["opened_by"],
                bytes.fromhex(fields["idempotency"]),
                bytes.fromhex(fields["body_tag"]),
                base64.b64decode(fields["sheet"], validate=True),
                [Filed(d["id"], d["object"], base64.b64decode(d["slip"], validate=True)) for d in fields["documents"]],
            )
            return manifest, bytes.fromhex(fields["tag"])
        except (ValueError, KeyError, TypeError) as broken:
            raise SealBrokenError from broken

    def is_tagged_by(self, key: Key, vault_id: bytes, tag: bytes) -> bool:
        """Whether this key made the tag, over exactly these fields."""
        return hmac.compare_digest(_tag(key, vault_id, self._fields()), tag)

    def _fields(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "record": self.record,
            "cohort": self.cohort,
            "slot": self.slot,
            "policy": self.policy,
            "opened_at": self.opened_at.isoformat(),
            "completed_at": self.completed_at.isoformat(),
            "due_on": self.due_on.isoformat(),
            "opened_by": self.opened_by,
            "idempotency": self.idempotency_hash.hex(),
            "body_tag": self.body_tag.hex(),
            "sheet": base64.b64encode(self.sheet).decode(),
            "documents": [
                {"id": d.id, "object": d.object_name, "slip": base64.b64encode(d.slip).decode()} for d in self.documents
            ],
        }


def manifest_name(record_id: RecordId) -> str:
    """Object name of a record's manifest."""
    return MANIFEST_PREFIX + record_id


def _text(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _tag(key: Key, vault_id: bytes, fields: dict[str, Any]) -> bytes:
    return derive_tag(key, context("shredvault/manifest/v1", vault_id, hashlib.sha512(_text(fields)).digest()))
