"""The adversary: tries to open everything with what was seized. For the demo, and for the seizure game in the tests.

He holds any number of copies of a vault (catalogue, bucket; the live one is one of them) and may use the
masters of any custodians without limit. He knows the code. So he

1. gathers every root, key page, sheet, slip and object of every copy: catalogues, mirror packs, manifests;
2. asks every custodian to unwrap every root under every master it has, whatever name the root bears;
3. opens every version of every page below the roots that opened, from whichever copy it came;
4. tries every record key so found on every sealed sheet and slip, whatever its place says;
5. opens the documents of the records that opened.

Nothing here destroys anything, and no other module of the vault uses it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from pydantic import SecretStr

from keystore import (
    INDEX_SLOT,
    Custodian,
    Key,
    KeystoreError,
    OpenTree,
    SealBrokenError,
    SealedPage,
    SealedRoot,
    Tree,
    open_custodian,
    open_sealed,
    slots_of,
)
from vault.catalogue import Catalogue, sqlite_url
from vault.catalogue.schema import documents, records, roots, sealed_pages
from vault.context import Vault
from vault.host.embedded_store import EmbeddedStore, flush
from vault.ids import DocumentId, RecordId
from vault.objects import Bucket, BucketSettings, ObjectNotFound
from vault.records.documents import DOCUMENT_BYTES_MAX
from vault.records.manifests import MANIFEST_PREFIX
from vault.records.sheets import Sheet, Slip, document_context
from vault.trees import mirror

__all__ = ["Copy", "Haul", "attack", "copied_masters", "live_copy", "open_backup", "seize"]

_MANIFEST_BYTES_MAX: Final = 1024 * 1024
_SEALED_BYTES_MAX: Final = 2 * DOCUMENT_BYTES_MAX

# What only concerns a running object store: its sockets, its lock, and the ports it listens on.
_NOT_DATA: Final = ("run", ".lock", "endpoint", "m[0-9]*", "mini.options", "*.sock")


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a vault in the adversary's hands: a catalogue and a bucket."""

    catalogue: Catalogue
    bucket: Bucket


@dataclass(slots=True)
class Haul:
    """What an attack tried, and what it opened."""

    roots_seen: int = 0
    unwraps_tried: int = 0
    roots_opened: int = 0
    record_keys: int = 0
    trials: int = 0
    """Record keys tried on sealed sheets and slips."""
    sealed_records: set[RecordId] = field(default_factory=set)
    """Records whose sealed sheet is in some copy."""
    opened_records: set[RecordId] = field(default_factory=set)
    documents: dict[tuple[RecordId, str], str] = field(default_factory=dict)
    """Documents opened to the last byte: record and file name, to SHA-256 (hex) of the content."""


@dataclass(slots=True)
class _Loot:
    """Everything sealed that the copies hold, each thing once."""

    roots: set[SealedRoot] = field(default_factory=set)
    pages: dict[tuple[Tree, int], set[SealedPage]] = field(default_factory=dict)
    sheets: set[tuple[RecordId, bytes]] = field(default_factory=set)
    slips: set[tuple[RecordId, DocumentId, bytes, str]] = field(default_factory=set)


def seize(vault: Vault, home: Path, objects_folder: Path, into: Path) -> None:
    """Copy a whole home and the folder of its embedded object store, while they are in use.

    The catalogue is copied between two transactions: a copy in the middle of one might not open.
    """
    flush(objects_folder)
    with vault.catalogue.write():
        shutil.copytree(home, into / "home", ignore=shutil.ignore_patterns("*.lock"))
        shutil.copytree(objects_folder, into / "objects", ignore=shutil.ignore_patterns(*_NOT_DATA))


def live_copy(vault: Vault) -> Copy:
    """The live vault, as an adversary with all its credentials sees it."""
    return Copy(vault.catalogue, vault.bucket)


@contextmanager
def open_backup(folder: Path) -> Iterator[Copy]:
    """Start what `seize` copied: a second object store with the seized credentials, and the catalogue."""
    settings = json.loads((folder / "home" / "vault.json").read_text("utf-8"))
    credentials = json.loads((folder / "home" / "bucket.json").read_text("utf-8"))
    secret = SecretStr(credentials["secret_key"])
    with ExitStack() as opened:
        store = EmbeddedStore(folder / "objects", credentials["access_key"], secret)
        endpoint = store.start()
        opened.callback(store.stop)
        bucket = Bucket(
            BucketSettings(
                endpoint_url=endpoint,
                region=settings["region"],
                bucket=settings["bucket"],
                access_key=credentials["access_key"],
                secret_key=secret,
            )
        )
        opened.callback(bucket.close)
        catalogue = Catalogue(sqlite_url(folder / "home" / "catalogue.db"))
        opened.callback(catalogue.close)
        yield Copy(catalogue, bucket)


def copied_masters(folder: Path, home: Path) -> Custodian:
    """A custodian over copies of master key files: what a control experiment hands to the adversary."""
    return open_custodian(f"file:{folder}", away_from=home)


def attack(vault_id: bytes, copies: Iterable[Copy], custodians: Iterable[Custodian]) -> Haul:
    """Try everything with everything; see the module's description for the steps."""
    held = list(copies)
    haul = Haul()
    loot = _Loot()
    # 1. Gather.
    for copy in held:
        _gather_catalogue(copy, loot)
        _gather_bucket(vault_id, copy, loot)
    haul.roots_seen = len(loot.roots)
    haul.sealed_records = {record for record, _ in loot.sheets}
    with ExitStack() as wiped:
        keys: dict[bytes, Key] = {}
        # 2. Unwrap.
        for tree, opened in _open_roots(vault_id, loot, list(custodians), haul):
            with opened:
                # 3. Open the pages.
                for key in _keys_below(tree, opened, loot):
                    # Told apart by digest: the same key stands in every version of its page.
                    if wiped.enter_context(key) is keys.setdefault(_digest(key), key):
                        continue
                    key.wipe()
        haul.record_keys = len(keys)
        # 4. Try the keys.
        for record, key in _openings(vault_id, loot, list(keys.values()), haul):
            haul.opened_records.add(record)
            # 5. Open the documents.
            _open_documents(vault_id, held, loot, record, key, haul)
    return haul


def _digest(key: Key) -> bytes:
    return hashlib.sha256(key.reveal()).digest()


def _gather_catalogue(copy: Copy, loot: _Loot) -> None:
    with copy.catalogue.read() as tx:
        for row in tx.execute(sa.select(roots)):
            tree = Tree(row.tree)
            root = SealedRoot(tree, row.epoch, row.version, row.master, row.wrapped_key, row.sealed_page)
            loot.roots.add(root)
        for row in tx.execute(sa.select(sealed_pages)):
            tree = Tree(row.tree)
            page = SealedPage(tree, row.cohort_id, row.version, row.live, row.sealed)
            loot.pages.setdefault((tree, row.cohort_id), set()).add(page)
        sheets = sa.select(records.c.id, records.c.sheet).where(records.c.sheet.is_not(None))
        loot.sheets.update((RecordId(row.id), row.sheet) for row in tx.execute(sheets))
        for row in tx.execute(sa.select(documents)):
            loot.slips.add((RecordId(row.record_id), DocumentId(row.id), row.slip, row.object_name))


def _gather_bucket(vault_id: bytes, copy: Copy, loot: _Loot) -> None:
    for name in copy.bucket.names(mirror.PREFIX):
        staged, _ = mirror.unpack(vault_id, copy.bucket.get(name, limit=mirror.PACK_LIMIT_BYTES))
        loot.roots.add(staged.root)
        for page in staged.pages:
            loot.pages.setdefault((page.tree, page.cohort), set()).add(page)
    for name in copy.bucket.names(MANIFEST_PREFIX):
        manifest = json.loads(copy.bucket.get(name, limit=_MANIFEST_BYTES_MAX))
        record = RecordId(manifest["record"])
        loot.sheets.add((record, base64.b64decode(manifest["sheet"])))
        for line in manifest["documents"]:
            loot.slips.add((record, DocumentId(line["id"]), base64.b64decode(line["slip"]), line["object"]))


def _open_roots(
    vault_id: bytes, loot: _Loot, custodians: list[Custodian], haul: Haul
) -> Iterator[tuple[Tree, OpenTree]]:
    for root in loot.roots:
        for custodian, master in [(each, name) for each in custodians for name in each.names()]:
            haul.unwraps_tried += 1
            try:
                opened = OpenTree.open(vault_id, replace(root, master=master), custodian)
            except KeystoreError:
                continue
            haul.roots_opened += 1
            yield root.tree, opened
            break


def _keys_below(tree: Tree, opened: OpenTree, loot: _Loot) -> Iterator[Key]:
    for cohort in slots_of(opened.root_page.bitmap):
        for sealed in loot.pages.get((tree, cohort), ()):
            try:
                page = opened.page(sealed)
            except SealBrokenError:
                continue
            with page:
                yield from (page.key(slot) for slot in slots_of(page.bitmap) if slot != INDEX_SLOT)


def _openings(vault_id: bytes, loot: _Loot, keys: list[Key], haul: Haul) -> Iterator[tuple[RecordId, Key]]:
    """Every pair of a record and a key that opens its sheet, or the slip of one of its documents."""
    for key in keys:
        for record, sheet in loot.sheets:
            haul.trials += 1
            with suppress(SealBrokenError):
                Sheet.open(key, vault_id, record, sheet)
                yield record, key
        for record, document, slip, _ in loot.slips:
            haul.trials += 1
            with suppress(SealBrokenError):
                Slip.open(key, vault_id, record, document, slip)
                yield record, key


def _open_documents(vault_id: bytes, copies: list[Copy], loot: _Loot, record: RecordId, key: Key, haul: Haul) -> None:
    for owner, document, sealed_slip, name in loot.slips:
        if owner != record:
            continue
        for copy in copies:
            with suppress(SealBrokenError, ObjectNotFound):
                slip = Slip.open(key, vault_id, record, document, sealed_slip)
                if (record, slip.name) in haul.documents:
                    continue
                sealed = copy.bucket.get(name, limit=_SEALED_BYTES_MAX)
                content = open_sealed(key, document_context(vault_id, record, document), sealed)
                haul.documents[record, slip.name] = hashlib.sha256(content[: slip.size]).hexdigest()
