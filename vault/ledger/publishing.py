"""The ledger in the bucket: the catalogue's journal, copied out in order before anything depends on it.

One object holds one or more entries, named by the number of its first; it also holds the SHA-256 of the object
before it, so nothing can be changed, left out or slipped in between, and a signed checkpoint of the Merkle tree up to
its last entry (docs/spec/ledger.md). Objects are created conditionally: of two processes that publish the same entries
one writes, and both find the same. A catalogue that was restored from an old backup finds entries that it does not
know, and says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.schema import vaults
from vault.context import Vault
from vault.errors import DamagedError, LedgerBrokenError, OldCatalogueError
from vault.log import Entry
from vault.log.leaves import SALT_BYTES
from vault.log.merkle import Frontier, leaf_hash
from vault.log.notes import checkpoint_of
from vault.log.signing import origin_of
from vault.log.stored import entries, root_at
from vault.log.vouching import require_ours
from vault.objects import Bucket, ObjectExists

__all__ = [
    "OBJECT_ENTRIES_MAX",
    "OBJECT_LIMIT_BYTES",
    "PREFIX",
    "Entry",
    "Mark",
    "Published",
    "bucket_objects",
    "ledger_name",
    "parse_object",
    "publish",
    "published_mark",
    "read_objects",
    "require_published",
]

PREFIX: Final = "ledger/"
OBJECT_LIMIT_BYTES: Final = 64 * 1024**2
_FORMAT: Final = "shredvault/ledger/v2"
OBJECT_ENTRIES_MAX: Final = 500
_TRIES: Final = 1000


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the ledger goes: the last entry's number, and the SHA-256 of the object that holds it."""

    last: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """One object of the ledger in the bucket."""

    entries: Sequence[Entry]
    checkpoint: str
    """A signed note over the tree up to the last entry. Its signature is the business of `vault.ledger.verifying`."""
    mark: Mark


def ledger_name(first: int) -> str:
    """Object name of the entries from `first` on."""
    return f"{PREFIX}{first:016x}"


def publish(vault: Vault) -> None:
    """Bring the ledger in the bucket up to the catalogue. Durable when this returns.

    Raises:
        OldCatalogueError: the bucket has other entries; this catalogue is an old one.
        LedgerBrokenError: the vault did not write an entry that is to be published.
        ObjectStoreError, CatalogueError: a service failed; run it again.
    """
    for _ in range(_TRIES):
        with vault.catalogue.read() as tx:
            mark = published_mark(tx)
            fresh = entries(tx, mark.last, OBJECT_ENTRIES_MAX)
            root = root_at(tx, fresh[-1].id) if fresh else b""
            require_ours(tx, fresh)
        if not fresh:
            return
        blob = _encode(vault.vault_id, mark, fresh, vault.signing.sign_checkpoint(fresh[-1].id, root))
        try:
            vault.bucket.put(ledger_name(mark.last + 1), blob, if_absent=True)
        except ObjectExists:
            blob = vault.bucket.get(ledger_name(mark.last + 1), limit=OBJECT_LIMIT_BYTES)
            _require_same(vault, mark, blob)
        vault.settle()
        last = parse_object(vault.vault_id, mark, blob).mark.last
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
        mark = published_mark(tx)
    later = next(iter(vault.bucket.names(PREFIX, after=ledger_name(mark.last))), None)
    if later is None:
        return
    # What another process published a moment ago is no sign of age: it is in the catalogue.
    publish(vault)
    with vault.catalogue.read() as tx:
        mark = published_mark(tx)
    if any(True for _ in vault.bucket.names(PREFIX, after=ledger_name(mark.last))):
        raise OldCatalogueError


def bucket_objects(bucket: Bucket) -> Iterator[tuple[str, bytes]]:
    """Name and content of the ledger's objects in a bucket, in order."""
    for name in bucket.names(PREFIX):
        yield name, bucket.get(name, limit=OBJECT_LIMIT_BYTES)


def read_objects(objects: Iterable[tuple[str, bytes]], vault_id: bytes) -> Iterator[Published]:
    """All objects of the ledger, in order; each has the root that its checkpoint says.

    Raises:
        DamagedError: an object is missing or altered.
    """
    mark, frontier = Mark(0, bytes(32)), Frontier()
    for name, blob in objects:
        if name != ledger_name(mark.last + 1):
            message = "The ledger has a gap: an object of it is missing or stands in another place."
            raise DamagedError(message)
        one = parse_object(vault_id, mark, blob)
        for entry in one.entries:
            frontier.add(leaf_hash(entry.leaf()))
        mark = one.mark
        if checkpoint_of(one.checkpoint).root != frontier.root():
            message = "Entries of the ledger are not those that its checkpoint was made over."
            raise DamagedError(message)
        yield one


def published_mark(tx: Transaction) -> Mark:
    """How far the ledger in the bucket goes, as far as this catalogue knows."""
    row = tx.execute(sa.select(vaults.c.published, vaults.c.published_digest)).one()
    return Mark(row.published, row.published_digest)


def _encode(vault_id: bytes, before: Mark, fresh: list[Entry], checkpoint: str) -> bytes:
    lines = [
        {
            "id": one.id,
            "at": one.at.isoformat(),
            "event": one.event,
            "subject": one.subject,
            "facts": one.facts,
            "salt": one.salt.hex(),
        }
        for one in fresh
    ]
    content = {
        "format": _FORMAT,
        "vault": vault_id.hex(),
        "before": before.digest.hex(),
        "entries": lines,
        "checkpoint": checkpoint,
    }
    return json.dumps(content, separators=(",", ":")).encode()


def parse_object(vault_id: bytes, before: Mark, blob: bytes) -> Published:
    """Read the object that follows on `before`.

    Raises:
        DamagedError: it does not follow on it, or is no object of this vault's ledger.
    """
    try:
        content = json.loads(blob)
        if (content["format"], content["vault"], content["before"]) != (_FORMAT, vault_id.hex(), before.digest.hex()):
            raise ValueError  # noqa: TRY301  # one refusal for all that is wrong with it
        read = [
            Entry(
                line["id"],
                datetime.fromisoformat(line["at"]),
                line["event"],
                line["subject"],
                line["facts"],
                bytes.fromhex(line["salt"]),
            )
            for line in content["entries"]
        ]
        if [one.id for one in read] != list(range(before.last + 1, before.last + 1 + len(read))) or not read:
            raise ValueError  # noqa: TRY301
        if any(one.at.tzinfo is not UTC or len(one.salt) != SALT_BYTES for one in read):
            raise ValueError  # noqa: TRY301
        checkpoint = checkpoint_of(content["checkpoint"])
        if (checkpoint.origin, checkpoint.size) != (origin_of(vault_id), read[-1].id):
            raise ValueError  # noqa: TRY301
        if _encode(vault_id, before, read, content["checkpoint"]) != blob:
            raise ValueError  # noqa: TRY301  # it says the same in another way; nobody of ours wrote it
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, LedgerBrokenError) as broken:
        message = "An object of the ledger is damaged, or belongs to another history."
        raise DamagedError(message) from broken
    return Published(read, content["checkpoint"], Mark(read[-1].id, hashlib.sha256(blob).digest()))


def _require_same(vault: Vault, mark: Mark, blob: bytes) -> None:
    """What another process published from the same journal says the same."""
    try:
        theirs = parse_object(vault.vault_id, mark, blob)
    except DamagedError as other:
        raise OldCatalogueError from other
    with vault.catalogue.read() as tx:
        ours = entries(tx, mark.last, len(theirs.entries))
        same = ours == theirs.entries and root_at(tx, ours[-1].id) == checkpoint_of(theirs.checkpoint).root
    if not same:
        raise OldCatalogueError
