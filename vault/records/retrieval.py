"""Reading: by reviewers, for a purpose, noted before the first byte leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from keystore import CHUNK_BYTES, Opener
from vault.access import Caller, Role
from vault.catalogue import Transaction
from vault.catalogue.filed import document_by_tag, documents_of, record_state
from vault.catalogue.schema import journal, reads
from vault.context import Vault
from vault.errors import BusyError, DamagedError, DestroyedError, NotFoundError, VaultError
from vault.ids import DocumentId, RecordId, is_id
from vault.keys.key_uses import UseCutError
from vault.objects import ObjectNotFound
from vault.sunset.latching import require_not_sealed_off
from vault.trees.keyring import fetch_key

from .sheets import Sheet, Slip, document_context, name_tag

__all__ = [
    "DocumentLine",
    "DocumentReading",
    "Purpose",
    "PurposeError",
    "RecordView",
    "read_document",
    "read_record",
]

READ_BYTES: Final = 256 * 1024
"""Sealed bytes fetched at a time."""


class Purpose(StrEnum):
    """Why somebody reads. A closed list: free text would bring names into the clear."""

    APPLICATION_REVIEW = "application-review"
    FRAUD_INVESTIGATION = "fraud-investigation"
    COURT_ORDER = "court-order"
    SUBJECT_ACCESS = "subject-access"
    QUALITY_CHECK = "quality-check"
    AUDIT = "audit"


class PurposeError(VaultError):
    """No purpose was given, or one that is not on the list."""


@dataclass(frozen=True, slots=True, repr=False)
class DocumentLine:
    """A document in a record's view."""

    name: str
    media_type: str
    size: int


@dataclass(frozen=True, slots=True, repr=False)
class RecordView:
    """A record as a reviewer sees it."""

    record_id: RecordId
    state: str
    applicant: dict[str, Any]
    opened_at: datetime
    completed_at: datetime | None
    due_on: date | None
    documents: list[DocumentLine]


def purpose_of(text: str | None) -> Purpose:
    """Read the purpose that a caller states.

    Raises:
        PurposeError: none, or not on the list.
    """
    try:
        return Purpose((text or "").strip().lower())
    except ValueError as unknown:
        message = "A purpose is needed, one of: " + ", ".join(Purpose) + "."
        raise PurposeError(message) from unknown


def read_record(vault: Vault, caller: Caller, record_id: str, purpose: str | None) -> RecordView:
    """Open a record's sheet and the slips of its documents.

    Raises:
        ForbiddenError: the caller is no reviewer.
        PurposeError: see `purpose_of`.
        NotFoundError: there is no such record.
        DestroyedError: condemned, destroyed or abandoned.
        SealedOffError: its sunset's deadline is over (S7).
    """
    row = _authorised(vault, caller, record_id, purpose, whole_record=True)
    with vault.catalogue.read() as tx:
        filed = documents_of(tx, row.id)
    use = vault.uses.begin(row.id)
    try:
        fetch_key(vault, use, row)
        with use.key() as key:
            sheet = Sheet.open(key, vault.vault_id, row.id, row.sheet)
            slips = [Slip.open(key, vault.vault_id, row.id, DocumentId(d.id), d.slip) for d in filed]
    except UseCutError as cut:
        raise _interrupted(vault, row.id) from cut
    finally:
        use.end()
    lines = sorted((DocumentLine(s.name, s.media_type, s.size) for s in slips), key=lambda line: line.name)
    return RecordView(row.id, row.state, sheet.applicant, row.opened_at, row.completed_at, row.due_on, lines)


def read_document(vault: Vault, caller: Caller, record_id: str, name: str, purpose: str | None) -> DocumentReading:
    """Begin to read a document. The read is on record when this returns.

    Raises:
        ForbiddenError, PurposeError, NotFoundError, DestroyedError: see `read_record`.
        DamagedError: the stored object is gone.
        ObjectStoreError: the object store failed.
    """
    row = _authorised(vault, caller, record_id, purpose, whole_record=False)
    return DocumentReading(vault, row, name)


def _forgotten(tx: Transaction) -> str:
    """Why there may have been one all the same: without the list of a destruction a rebuild knows not all its ids."""
    rebuilds = tx.execute(sa.select(journal.c.at, journal.c.facts).where(journal.c.event == "rebuilt"))
    missing = [row.at for row in rebuilds if row.facts["unlisted"]]
    if not missing:
        return ""
    return (
        f" The catalogue was rebuilt on {max(missing):%Y-%m-%d} (UTC) without the list of a destruction: a record "
        "that was destroyed and reclaimed before is not known any more; the certificates of that time stand."
    )


def _living(tx: Transaction, record_id: str) -> sa.Row[Any]:
    row = record_state(tx, record_id) if is_id(record_id) else None
    if row is None:
        raise NotFoundError(f"There is no such record.{_forgotten(tx)}")
    if row.destruction_id is not None:
        raise DestroyedError(row.destruction_id)
    return row


def _interrupted(vault: Vault, record_id: str) -> BusyError:
    """What a reader whose use of the key was cut is told: destroyed, or else to try again.

    Raises:
        DestroyedError: the record has been condemned.
    """
    with vault.catalogue.read() as tx:
        _living(tx, record_id)
    return BusyError("The reading was interrupted; try again.")


def _authorised(
    vault: Vault, caller: Caller, record_id: str, purpose: str | None, *, whole_record: bool
) -> sa.Row[Any]:
    """Check role, purpose and state, and note the read: durable before anything is opened."""
    caller.require(Role.REVIEWER)
    stated = purpose_of(purpose)
    with vault.catalogue.write() as tx:
        row = _living(tx, record_id)
        require_not_sealed_off(tx, row.id, vault.clock.now())
        tx.execute(
            sa.insert(reads).values(
                at=vault.clock.now(),
                token_id=caller.token_id,
                record_id=record_id,
                whole_record=whole_record,
                purpose=stated,
            )
        )
    return row


def _require_name(slip: Slip, name: str) -> None:
    """The slip decides what a document is called; the catalogue only finds it."""
    if slip.name != name:
        message = "The catalogue names another document here. This is an incident: call the operator."
        raise DamagedError(message)


class DocumentReading:
    """A document on its way out. Iterate `chunks` once; `close` in any case."""

    def __init__(self, vault: Vault, row: sa.Row[Any], name: str) -> None:
        """Fetch the key, find the document, and open its object."""
        self._vault = vault
        self._record_id = RecordId(row.id)
        self._opener: Opener | None = None
        self._use = vault.uses.begin(self._record_id, self._drop_cipher)
        try:
            fetch_key(vault, self._use, row)
            with self._use.key() as key:
                found = self._find(name_tag(key, self._record_id, name))
                slip = Slip.open(key, vault.vault_id, self._record_id, found.id, found.slip)
                _require_name(slip, name)
                self._opener = Opener(key, document_context(vault.vault_id, self._record_id, found.id))
            self._reader = vault.bucket.open(found.object_name)
        except ObjectNotFound as missing:
            self._use.end()
            self._still_living()
            message = "The stored document is missing. This is an incident: call the operator."
            raise DamagedError(message) from missing
        except UseCutError as cut:
            raise _interrupted(vault, row.id) from cut
        except BaseException:
            self._use.end()
            raise
        self.size = slip.size
        self.media_type = slip.media_type

    def chunks(self) -> Iterator[bytes]:
        """Yield the document's bytes, each authenticated, `size` in all.

        Raises:
            SealBrokenError: the stored object was altered or cut short.
            DamagedError: it is whole, and not the one its slip describes.
            DestroyedError: the record was condemned meanwhile.
            ObjectStoreError: the object store failed.
        """
        sealed = memoryview(bytearray(READ_BYTES))
        opened = bytearray(READ_BYTES + CHUNK_BYTES)
        left = self.size
        count = 1
        try:
            while count:
                count = self._reader.read_into(sealed)
                piece = self._open(sealed[:count], opened)[:left]
                left -= len(piece)
                if piece:
                    yield piece
            if left:
                message = "The stored document is shorter than its slip says. This is an incident: call the operator."
                raise DamagedError(message)
        finally:
            self.close()

    def close(self) -> None:
        """Drop the key and the connection. Safe to repeat."""
        self._use.end()
        self._reader.close()

    def _open(self, sealed: memoryview, opened: bytearray) -> bytes:
        """Open the next sealed bytes; none means the end of the object."""
        try:
            with self._use.key():
                assert self._opener is not None
                if not sealed:
                    return self._opener.finish()
                size = self._opener.update_into(sealed, opened)
                return bytes(memoryview(opened)[:size])
        except UseCutError as cut:
            raise _interrupted(self._vault, self._record_id) from cut

    def _find(self, tag: bytes) -> sa.Row[Any]:
        with self._vault.catalogue.read() as tx:
            found = document_by_tag(tx, self._record_id, tag)
        if found is None:
            message = "The record has no document of this name."
            raise NotFoundError(message)
        return found

    def _still_living(self) -> None:
        with self._vault.catalogue.read() as tx:
            _living(tx, self._record_id)

    def _drop_cipher(self) -> None:
        self._opener = None
