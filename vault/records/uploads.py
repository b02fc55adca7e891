"""One document on its way in: checked, padded, sealed and handed to the bucket, a piece at a time.

At most one part (7 MiB) is held in memory, sealed; plaintext only as the chunk that just arrived. A broken
upload leaves nothing that counts: the document exists when the catalogue's transaction has committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from keystore import CHUNK_BYTES, Key, Sealer, sealed_size
from vault.access import Caller
from vault.catalogue.filed import document_by_tag, insert_document
from vault.context import Vault
from vault.errors import (
    BadDocumentError,
    BusyError,
    DamagedError,
    DocumentConflictError,
    DocumentTooLargeError,
    RecordClosedError,
    RuleBrokenError,
    TooManyDocumentsError,
)
from vault.ids import DocumentId, RecordId, new_id
from vault.keys.key_uses import UseCutError
from vault.objects import ObjectStoreError, PartedUpload
from vault.trees.keyring import fetch_key

from .documents import DOCUMENT_BYTES_MAX, PAD_MARK, Inspection, padme
from .filing import own_record
from .sheets import Slip, document_context, name_tag

__all__ = ["DOCUMENTS_MAX", "NAME_CHARACTERS_MAX", "Filed", "Upload", "begin_upload"]

DOCUMENTS_MAX: Final = 32
"""Documents of one record."""
NAME_CHARACTERS_MAX: Final = 120
DOCUMENT_PREFIX: Final = "documents/"
PART_BYTES: Final = 7 * 1024 * 1024
"""A part is sent when this much is sealed; with the chunk in hand, under 8 MiB are held for an upload."""
_CHUNK_BYTES: Final = 64 * 1024
_FIRST_BUFFER_BYTES: Final = 256 * 1024
_MARGIN_BYTES: Final = sealed_size(CHUNK_BYTES + _CHUNK_BYTES)
_BUFFER_BYTES: Final = PART_BYTES + _MARGIN_BYTES
"""The buffer grows to this size, and past it only for chunks longer than 64 KiB."""


@dataclass(frozen=True, slots=True)
class Filed:
    """A document that is safely in the vault."""

    document_id: DocumentId
    size: int
    media_type: str
    repeated: bool
    """Whether the same bytes under the same name were there already."""


def begin_upload(
    vault: Vault,
    caller: Caller,
    record_id: str,
    name: str,
    *,
    declared_size: int | None,
    declared_type: str | None,
) -> Upload:
    """Authorise an upload and fetch the record key, before one byte of the document is accepted.

    Args:
        vault: the vault.
        caller: the center that opened the record.
        record_id: the record.
        name: 1 to 120 printable characters without `/`; it goes into the sealed slip.
        declared_size: what the sender says the size is, in bytes.
        declared_type: what the sender says the media type is; it must agree with the first bytes.

    Raises:
        ForbiddenError, NotFoundError, DestroyedError: see `own_record`.
        BadDocumentError: the name cannot be used.
        DocumentTooLargeError: the declared size is over the limit.
    """
    with vault.catalogue.read() as tx:
        row = own_record(tx, caller, record_id)
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable() or "/" in name:
        message = f"A document's name has 1 to {NAME_CHARACTERS_MAX} printable characters and no slash."
        raise BadDocumentError(message)
    if declared_size is not None and declared_size > DOCUMENT_BYTES_MAX:
        message = "The document is larger than 25 MiB."
        raise DocumentTooLargeError(message)
    return Upload(vault, caller, row, name, declared_size, declared_type)


class Upload:
    """Legal order: `add` each chunk, `send_part` whenever `part_is_full`, then `finish`. Or `abort`, any time."""

    def __init__(
        self,
        vault: Vault,
        caller: Caller,
        row: sa.Row[Any],
        name: str,
        declared_size: int | None,
        declared_type: str | None,
    ) -> None:
        self._vault = vault
        self._caller = caller
        self._name = name
        self._declared_type = declared_type
        self._closed = row.completed_at is not None
        self.record_id = RecordId(row.id)
        self.document_id = DocumentId(new_id())
        self._object = DOCUMENT_PREFIX + new_id()
        self._parts: PartedUpload | None = None
        self._inspection = Inspection()
        self._sealer: Sealer | None = None
        self._out = bytearray(_room_for(declared_size))
        self._filled = 0
        self._use = vault.uses.begin(self.record_id, self._drop_cipher)
        try:
            fetch_key(vault, self._use, row)
            with self._key() as key:
                bound_to = document_context(vault.vault_id, self.record_id, self.document_id)
                self._sealer = Sealer(key, bound_to)
        except BaseException:
            self._use.end()
            raise

    @property
    def part_is_full(self) -> bool:
        """Whether `send_part` must be called before the next `add`."""
        return self._filled >= PART_BYTES

    def add(self, chunk: bytes) -> None:
        """Take the next bytes of the document (any length up to 1 MiB).

        Raises:
            UnsupportedTypeError, DocumentTooLargeError: see `Inspection.add`.
            DestroyedError: the record was condemned meanwhile.
        """
        known = self._inspection.media_type
        self._inspection.add(chunk)
        if known is None and self._inspection.media_type is not None:
            self._compare_types()
        self._seal(chunk)

    def send_part(self) -> None:
        """Send what is sealed so far as a part. Blocks.

        Raises:
            ObjectStoreError: the object store failed; the upload cannot go on.
        """
        if self._parts is None:
            self._parts = self._vault.bucket.start_parts(self._object)
        with memoryview(self._out) as view:
            self._parts.add(view[: self._filled])
        self._filled = 0

    def finish(self) -> Filed:
        """Seal the end, store the object, and commit the document. Blocks.

        Raises:
            EmptyDocumentError, DocumentTruncatedError, UnsupportedTypeError: see `Inspection.finish`.
            DocumentConflictError: the record has another document of this name.
            RecordClosedError: the record was completed, and this document is not in it.
            TooManyDocumentsError: the record is full.
            DestroyedError: the record was condemned meanwhile.
            ObjectStoreError: the object store failed; nothing counts, try again.
        """
        digest = self._inspection.finish().hex()
        self._compare_types()
        size = self._inspection.size
        media_type = str(self._inspection.media_type)
        with self._key() as key:
            slip = Slip(self._name, media_type, size, digest)
            tag = name_tag(key, self.record_id, self._name)
            sealed_slip = slip.seal(key, self._vault.vault_id, self.record_id, self.document_id)
        if self._closed:
            try:
                return self._repeated(tag, digest)
            finally:
                self.abort()
        self._pad(size)
        self._store()
        try:
            if self._commit(tag, sealed_slip):
                return Filed(self.document_id, size, media_type, repeated=False)
            # The record has this name already, or takes no more: ours goes, and the caller hears why.
            self._discard_object()
            return self._repeated(tag, digest)
        finally:
            self._end()

    def abort(self) -> None:
        """Give up: nothing of the upload counts, and what was sent is thrown away. Safe at any time."""
        self._end()
        if self._parts is not None:
            # What cannot be aborted now is found by `recover`, which aborts unfinished uploads.
            with suppress(ObjectStoreError):
                self._parts.abort()
            self._parts = None

    def _end(self) -> None:
        self._use.end()
        self._out = bytearray()
        self._filled = 0

    def _drop_cipher(self) -> None:
        self._sealer = None

    def _require_living(self) -> None:
        with self._vault.catalogue.read() as tx:
            own_record(tx, self._caller, self.record_id)

    @contextmanager
    def _key(self) -> Iterator[Key]:
        """The record key, while the record lives."""
        try:
            with self._use.key() as key:
                yield key
        except UseCutError as cut:
            self._require_living()
            message = "The upload was interrupted; try again."
            raise BusyError(message) from cut

    def _compare_types(self) -> None:
        declared = (self._declared_type or "").partition(";")[0].strip().lower()
        found = self._inspection.media_type
        if declared and declared != "application/octet-stream" and found is not None and declared != found:
            message = f"The file is {found} by its first bytes, not what its Content-Type says."
            raise BadDocumentError(message)

    def _seal(self, chunk: bytes | memoryview) -> None:
        with self._key():
            assert self._sealer is not None
            # The sealer kept back up to a chunk of what came before, and gives it out now.
            room = self._filled + sealed_size(CHUNK_BYTES + len(chunk))
            if room > len(self._out):
                self._out.extend(bytes(max(room, min(2 * len(self._out), _BUFFER_BYTES)) - len(self._out)))
            with memoryview(self._out) as view:
                self._filled += self._sealer.update_into(chunk, view[self._filled :])

    def _pad(self, size: int) -> None:
        self._seal(PAD_MARK)
        left = padme(size + 1) - size - 1
        zeros = memoryview(bytes(_CHUNK_BYTES))
        while left:
            if self.part_is_full:
                self.send_part()
            count = min(left, _CHUNK_BYTES)
            self._seal(zeros[:count])
            left -= count

    def _store(self) -> None:
        with self._key():
            assert self._sealer is not None
            last = self._sealer.finish()
        self._out[self._filled :] = last
        self._filled += len(last)
        if self._parts is None:
            self._vault.bucket.put(self._object, self._out)
            return
        self._parts.add(self._out)
        self._parts.complete()

    def _commit(self, tag: bytes, slip: bytes) -> bool:
        """Put the document into the catalogue; False when its rules forbid it."""
        try:
            with self._vault.catalogue.write() as tx:
                return insert_document(
                    tx,
                    document_id=self.document_id,
                    record_id=self.record_id,
                    name_tag=tag,
                    object_name=self._object,
                    slip=slip,
                    limit=DOCUMENTS_MAX,
                )
        except RuleBrokenError:
            return False

    def _repeated(self, tag: bytes, digest: str) -> Filed:
        """Answer with the document that is there already, or say why this one cannot be added."""
        with self._vault.catalogue.read() as tx:
            row = own_record(tx, self._caller, self.record_id)
            found = document_by_tag(tx, self.record_id, tag)
        if found is not None:
            with self._key() as key:
                slip = Slip.open(key, self._vault.vault_id, self.record_id, DocumentId(found.id), found.slip)
            if slip.name != self._name:
                message = "The catalogue names another document here. This is an incident: call the operator."
                raise DamagedError(message)
            if slip.sha256 != digest:
                message = "The record has a document of this name already, with other content."
                raise DocumentConflictError(message)
            return Filed(DocumentId(found.id), slip.size, slip.media_type, repeated=True)
        if row.completed_at is not None:
            message = "The record is complete; nothing can be added to it."
            raise RecordClosedError(message)
        message = f"A record has at most {DOCUMENTS_MAX} documents."
        raise TooManyDocumentsError(message)

    def _discard_object(self) -> None:
        # What cannot be deleted now is an object that no manifest names; `recover` deletes those.
        with suppress(ObjectStoreError):
            self._vault.bucket.delete_every_version([self._object])


def _room_for(declared_size: int | None) -> int:
    """First size of the buffer: enough for what was announced, up to a part."""
    if declared_size is None:
        return _FIRST_BUFFER_BYTES
    return min(sealed_size(padme(declared_size + 1)), PART_BYTES) + _MARGIN_BYTES
