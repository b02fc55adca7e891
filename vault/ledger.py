"""The ledger in the bucket: the catalogue's journal, copied out in order before anything depends on it.

One object holds one or more entries, named by the number of its first; it also holds the SHA-256 of the object
before it, so nothing can be changed, left out or slipped in between (docs/spec/ledger.md). Objects are created
conditionally: of two processes that publish the same entries one writes, and both find the same. A catalogue that
was restored from an old backup finds entries that it does not know, and says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from .catalogue import Transaction
from .catalogue.schema import journal, vaults
from .context import Vault
from .errors import DamagedError, OldCatalogueError
from .objects import Bucket, ObjectExists

__all__ = ["PREFIX", "Entry", "Mark", "ledger_name", "publish", "read_ledger", "require_published"]

PREFIX: Final = "ledger/"
OBJECT_LIMIT_BYTES: Final = 64 * 1024**2
_FORMAT: Final = "shredvault/ledger/v1"
_BATCH: Final = 500
_TRIES: Final = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the journal."""

    id: int
    at: datetime
    event: str
    subject: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the ledger goes: the last entry's number, and the SHA-256 of the object that holds it."""

    last: int
    digest: bytes


def ledger_name(first: int) -> str:
    """Object name of the entries from `first` on."""
    return f"{PREFIX}{first:016x}"


def publish(vault: Vault) -> None:
    """Bring the ledger in the bucket up to the catalogue. Durable when this returns.

    Raises:
        OldCatalogueError: the bucket has other entries; this catalogue is an old one.
        ObjectStoreError, CatalogueError: a service failed; run it again.
    """
    for _ in range(_TRIES):
        with vault.catalogue.read() as tx:
            mark = _mark(tx)
            fresh = _entries(tx, mark.last, _BATCH)
        if not fresh:
            return
        blob = _encode(vault.vault_id, mark, fresh)
        try:
            vault.bucket.put(ledger_name(mark.last + 1), blob, if_absent=True)
        except ObjectExists:
            blob = vault.bucket.get(ledger_name(mark.last + 1), limit=OBJECT_LIMIT_BYTES)
            _require_same(vault, mark, blob)
        vault.settle()
        last = _decode(vault.vault_id, mark, blob)[-1].id
        with vault.catalogue.write() as tx:
            tx.execute(
                sa.update(vaults)
                .where(vaults.c.published == mark.last)
                .values(published=last, published_digest=hashlib.sha256(blob).digest())
            )


def require_published(vault: Vault) -> None:
    """Make sure that the bucket has no entry that this catalogue does not know.

    Raises:
        OldCatalogueError: it has.
    """
    with vault.catalogue.read() as tx:
        mark = _mark(tx)
    later = next(iter(vault.bucket.names(PREFIX, after=ledger_name(mark.last))), None)
    if later is None:
        return
    # What another process published a moment ago is no sign of age: it is in the catalogue.
    publish(vault)
    with vault.catalogue.read() as tx:
        mark = _mark(tx)
    if any(True for _ in vault.bucket.names(PREFIX, after=ledger_name(mark.last))):
        raise OldCatalogueError


def read_ledger(bucket: Bucket, vault_id: bytes) -> Iterator[tuple[Entry, Mark]]:
    """All entries in the bucket, in order, each with the mark of the object that holds it.

    Raises:
        DamagedError: an object is missing or altered.
    """
    mark = Mark(0, bytes(32))
    for name in bucket.names(PREFIX):
        if name != ledger_name(mark.last + 1):
            message = "The ledger in the bucket has a gap."
            raise DamagedError(message)
        blob = bucket.get(name, limit=OBJECT_LIMIT_BYTES)
        entries = _decode(vault_id, mark, blob)
        mark = Mark(entries[-1].id, hashlib.sha256(blob).digest())
        for entry in entries:
            yield entry, mark


def _mark(tx: Transaction) -> Mark:
    row = tx.execute(sa.select(vaults.c.published, vaults.c.published_digest)).one()
    return Mark(row.published, row.published_digest)


def _entries(tx: Transaction, after: int, count: int) -> list[Entry]:
    query = sa.select(journal).where(journal.c.id > after).order_by(journal.c.id).limit(count)
    return [Entry(row.id, row.at, row.event, row.subject, row.facts) for row in tx.execute(query)]


def _encode(vault_id: bytes, before: Mark, entries: list[Entry]) -> bytes:
    lines = [
        {"id": e.id, "at": e.at.isoformat(), "event": e.event, "subject": e.subject, "facts": e.facts} for e in entries
    ]
    content = {"format": _FORMAT, "vault": vault_id.hex(), "before": before.digest.hex(), "entries": lines}
    return json.dumps(content, separators=(",", ":")).encode()


def _decode(vault_id: bytes, before: Mark, blob: bytes) -> list[Entry]:
    try:
        content = json.loads(blob)
        if (content["format"], content["vault"], content["before"]) != (_FORMAT, vault_id.hex(), before.digest.hex()):
            raise ValueError  # noqa: TRY301  # one refusal for all that is wrong with it
        entries = [
            Entry(line["id"], datetime.fromisoformat(line["at"]), line["event"], line["subject"], line["facts"])
            for line in content["entries"]
        ]
        if [e.id for e in entries] != list(range(before.last + 1, before.last + 1 + len(entries))) or not entries:
            raise ValueError  # noqa: TRY301
        if any(e.at.tzinfo is not UTC for e in entries):
            raise ValueError  # noqa: TRY301
    except (ValueError, KeyError, TypeError) as broken:
        message = "An object of the ledger in the bucket is damaged, or belongs to another history."
        raise DamagedError(message) from broken
    return entries


def _require_same(vault: Vault, mark: Mark, blob: bytes) -> None:
    """What another process published from the same journal says the same."""
    try:
        theirs = _decode(vault.vault_id, mark, blob)
    except DamagedError as other:
        raise OldCatalogueError from other
    with vault.catalogue.read() as tx:
        ours = _entries(tx, mark.last, len(theirs))
    if ours != theirs:
        raise OldCatalogueError
