"""Verifies a whole ledger: in the bucket, or exported into a folder and read far from the vault.

1. the objects follow one another without gap, each with the digest of the one before (`publishing.read_objects`)
2. the entries of each give the root that its checkpoint says
3. each checkpoint is signed by the log's key
4. every checkpoint that somebody kept, a witness above all, says the root that the ledger had at its size
5. where there is a catalogue, its journal and its stored tree say the same

1 and 2 find edits, gaps and reordering; 3 finds whoever writes another history without the key; 4 finds another
history that was signed with the key, and an older state that was put back, which is whole in itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.schema import journal
from vault.context import Vault
from vault.errors import LedgerBrokenError
from vault.log.leaves import Entry
from vault.log.merkle import Frontier, leaf_hash
from vault.log.notes import NOTE_LIMIT_BYTES, VerifierKey, check_note, checkpoint_of
from vault.log.stored import entries, root_at

from .publishing import OBJECT_LIMIT_BYTES, PREFIX, bucket_objects, publish, published_mark, read_objects

__all__ = [
    "Verified",
    "export_ledger",
    "log_keys",
    "named_keys",
    "read_note",
    "verify_folder",
    "verify_ledger",
    "verify_vault",
]

_CHECKPOINT_FILE: Final = "checkpoint"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was verified."""

    size: int
    root: bytes
    kept: int
    """How many checkpoints that others kept were found to be of this history."""


def verify_ledger(
    objects: Iterable[tuple[str, bytes]], vault_id: bytes, keys: Sequence[VerifierKey], kept: Sequence[str] = ()
) -> Verified:
    """Steps 1 to 4.

    Args:
        objects: names and contents, in order.
        vault_id: whose ledger it is to be.
        keys: the log's; more than one after the first was lost.
        kept: signed checkpoints that were kept elsewhere.

    Raises:
        DamagedError: something is not as it should be; the sentence says what.
    """
    return _verify(objects, vault_id, keys, kept, lambda _: None)


def verify_vault(vault: Vault, kept: Sequence[str] = ()) -> Verified:
    """Steps 1 to 5, for the bucket of an open vault; publishes what is not published yet.

    Raises:
        DamagedError: something is not as it should be; the sentence says what.
        OldCatalogueError: the catalogue is older than the bucket.
    """
    publish(vault)

    def compare(theirs: Sequence[Entry]) -> None:
        with vault.catalogue.read() as tx:
            ours = entries(tx, theirs[0].id - 1, len(theirs))
        if ours != list(theirs):
            message = f"The journal in the catalogue differs from the ledger, at entry {theirs[0].id} or soon after."
            raise LedgerBrokenError(message)

    found = _verify(bucket_objects(vault.bucket), vault.vault_id, log_keys(vault), kept, compare)
    with vault.catalogue.read() as tx:
        mark = published_mark(tx)
        if found.size < mark.last:
            message = f"The ledger ends at entry {found.size}; {mark.last} had been written. Its end was cut off."
            raise LedgerBrokenError(message)
        if root_at(tx, found.size) != found.root:
            message = "The Merkle tree in the catalogue is not that of the ledger."
            raise LedgerBrokenError(message)
    return found


def verify_folder(folder: Path, keys: Sequence[VerifierKey], vault_id: bytes, kept: Sequence[str] = ()) -> Verified:
    """Steps 1 to 4, for a ledger that `export_ledger` wrote. Needs no vault.

    Raises:
        DamagedError: something is not as it should be; the sentence says what.
        OSError: the folder cannot be read.
    """
    newest = read_note(folder / _CHECKPOINT_FILE)
    found = verify_ledger(_files(folder), vault_id, keys, [newest, *kept])
    return Verified(found.size, found.root, found.kept - 1)


def export_ledger(vault: Vault, folder: Path) -> int:
    """Write the ledger, entries with facts and salts, and its newest checkpoint into a folder. Gives its size.

    Raises:
        OSError: the folder cannot be written.
        OldCatalogueError, ObjectStoreError, CatalogueError: see `publish`.
    """
    publish(vault)
    (folder / PREFIX).mkdir(parents=True, exist_ok=True)
    note = ""
    for name, blob in bucket_objects(vault.bucket):
        (folder / name).write_bytes(blob)
    for one in read_objects(_files(folder), vault.vault_id):
        note = one.checkpoint
    (folder / _CHECKPOINT_FILE).write_text(note, "utf-8")
    return checkpoint_of(note).size


def log_keys(vault: Vault) -> list[VerifierKey]:
    """The keys of this vault's log: the present one, and those that a rebuild replaced."""
    with vault.catalogue.read() as tx:
        return list(dict.fromkeys([vault.signing.verifier, *named_keys(tx)]))


def named_keys(tx: Transaction) -> list[VerifierKey]:
    """The keys of the log that a catalogue's journal names."""
    query = sa.select(journal.c.facts).where(journal.c.event.in_(("founded", "rebuilt"))).order_by(journal.c.id)
    return [VerifierKey.parse(facts["log_key"]) for facts in tx.execute(query).scalars()]


def read_note(path: Path) -> str:
    """Read a file with a signed note.

    Raises:
        LedgerBrokenError: it is too long for one, or no text.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        raw = file.read(NOTE_LIMIT_BYTES + 1)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as broken:
        message = "This is no signed note."
        raise LedgerBrokenError(message) from broken
    checkpoint_of(text)
    return text


def _verify(
    objects: Iterable[tuple[str, bytes]],
    vault_id: bytes,
    keys: Sequence[VerifierKey],
    kept: Sequence[str],
    compare: Callable[[Sequence[Entry]], None],
) -> Verified:
    claims = [check_note(note, keys) for note in kept]
    frontier = Frontier()
    roots = {0: frontier.root()}
    sizes = {claim.size for claim in claims}
    # 1, 2.
    for one in read_objects(objects, vault_id):
        # 3.
        check_note(one.checkpoint, keys)
        for entry in one.entries:
            frontier.add(leaf_hash(entry.leaf()))
            if frontier.size in sizes:
                roots[frontier.size] = frontier.root()
        # 5, the journal's part.
        compare(one.entries)
    # 4.
    for claim in claims:
        if claim.size > frontier.size:
            message = (
                f"The ledger ends at entry {frontier.size}, and a checkpoint over {claim.size} was signed: its end was "
                "cut off, or an older state was put back."
            )
            raise LedgerBrokenError(message)
        if roots[claim.size] != claim.root:
            message = (
                f"The log's key has signed another history: a checkpoint over {claim.size} entries that is not this "
                "ledger's."
            )
            raise LedgerBrokenError(message)
    return Verified(frontier.size, frontier.root(), len(claims))


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted((folder / PREFIX).iterdir()):
        with path.open("rb") as file:
            blob = file.read(OBJECT_LIMIT_BYTES + 1)
        if len(blob) > OBJECT_LIMIT_BYTES:
            message = "An object of the ledger is longer than any that is written."
            raise LedgerBrokenError(message)
        yield f"{PREFIX}{path.name}", blob
