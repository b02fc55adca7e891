"""The adversary at work: trial opening of every recorded blob with every key he can reach.

He has the recording and the unlimited use of custodians; he knows the code and all ids. He opens with the independent
reader (`tests.independent`), which shares nothing with the product but the specifications.

1. gather: every root, page, sheet, slip and body of every state of the bucket and the catalogue
2. ask every custodian to unwrap every root under every master it has, whatever master the root names
3. open every page with every key found so far, until nothing new opens
4. try the record keys on every sheet and slip, and open the documents of what opened
"""

import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from keystore import KeystoreError
from keystore.custodians import Custodian
from tests.independent.reader import Slip, open_document, open_page, open_sheet, open_slip, parse_manifest, parse_pack
from tests.independent.seal import UnreadableError, key_page_context, root_key_context, sheet_context, slip_context
from tests.seizure.recording import Recording

TRIALS_MAX = 400_000
"""So many pairs of a record key and a sealed sheet or slip are tried, all on all; of more, a sample of this size.

Beside the sample each key is tried on everything that was ever sealed at its own place.
"""
_PREFIX = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"


class Root(NamedTuple):
    tree: str
    epoch: int
    version: int
    wrapped: bytes
    page: bytes


class Page(NamedTuple):
    tree: str
    number: int
    version: int
    sealed: bytes


class Sealed(NamedTuple):
    """A sealed sheet (no document) or slip."""

    record: str
    document: str
    blob: bytes
    object_name: str = ""


@dataclass
class Spoils:
    vault_id: bytes
    roots: set[Root] = field(default_factory=set)
    pages: set[Page] = field(default_factory=set)
    sealed: set[Sealed] = field(default_factory=set)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    bodies: dict[str, set[bytes]] = field(default_factory=dict)
    # What the attack found.
    unwraps: int = 0
    trials: int = 0
    pairs: int = 0
    """Of record keys and sealed sheets or slips."""
    roots_opened: int = 0
    keys: dict[bytes, set[tuple[int, int]]] = field(default_factory=dict)
    """Record keys, with the places at which they stood."""
    upper_keys: set[bytes] = field(default_factory=set)
    """Root keys and page keys."""
    index_keys: set[bytes] = field(default_factory=set)
    opened: dict[str, bytes] = field(default_factory=dict)
    """Records whose sheet or a slip opened, and the key."""
    documents: dict[str, list[bytes]] = field(default_factory=dict)
    swapped: list[str] = field(default_factory=list)
    """Blobs that opened in another place than their own."""


def gather(vault_id: bytes, recording: Recording, *, with_rows: bool = True) -> Spoils:
    """Step 1; without the rows of the catalogue where the adversary has the bucket only."""
    spoils = Spoils(vault_id)
    for name, data in recording.every("bucket"):
        kind, _, where = name.partition(" ")
        path = where.partition("@")[0]
        if kind != "object":
            continue
        if path.startswith("keystore/"):
            _take_pack(spoils, path, data)
        elif path.startswith("records/"):
            _take_manifest(spoils, path, data)
        else:
            spoils.bodies.setdefault(path, set()).add(data)
    for name, data in recording.every("rows") if with_rows else ():
        kind, *parts = name.split("/")
        if kind == "root":
            tree, epoch, version, size = parts[0], int(parts[1]), int(parts[2]), int(parts[3])
            spoils.roots.add(Root(tree, epoch, version, data[:size], data[size:]))
        elif kind == "page":
            spoils.pages.add(Page(parts[0], int(parts[1]), int(parts[2]), data))
        elif kind == "sheet":
            spoils.sealed.add(Sealed(parts[0], "", data))
            spoils.places[parts[0]] = (int(parts[1]), int(parts[2]))
        elif kind == "slip":
            spoils.sealed.add(Sealed(parts[0], parts[1], data, "/".join(parts[2:])))
    return spoils


def _take_pack(spoils: Spoils, path: str, data: bytes) -> None:
    try:
        pack = parse_pack(path, data)
    except UnreadableError:
        return
    spoils.roots.add(Root(pack.tree, pack.epoch, pack.version, pack.wrapped, pack.root_page))
    for cohort, page in pack.pages.items():
        spoils.pages.add(Page(pack.tree, cohort, page.version, page.sealed))


def _take_manifest(spoils: Spoils, path: str, data: bytes) -> None:
    try:
        manifest = parse_manifest(path, data)
    except UnreadableError:
        return
    spoils.sealed.add(Sealed(manifest.record, "", manifest.sheet))
    spoils.places[manifest.record] = (manifest.cohort, manifest.slot)
    for entry in manifest.documents:
        spoils.sealed.add(Sealed(manifest.record, entry.id, entry.slip, entry.object))


def attack(
    spoils: Spoils, custodians: Iterable[Custodian], loose_keys: Iterable[bytes] = (), trials: int = TRIALS_MAX
) -> Spoils:
    """Steps 2 to 4. `loose_keys` are 32-byte values found lying about; they are tried as root and page keys.

    Where the adversary is known to win, `trials` may be 0: keys are tried at their own places only.
    """
    spoils.upper_keys |= set(loose_keys)
    # 2.
    for root in spoils.roots:
        bound_to = root_key_context(spoils.vault_id, root.tree, root.epoch, root.version)
        for custodian in custodians:
            for master in custodian.names():
                spoils.unwraps += 1
                try:
                    with custodian.unwrap(master, root.wrapped, bound_to) as key:
                        spoils.upper_keys.add(bytes(key.reveal()))
                except KeystoreError:
                    continue
    # 3.
    _open_pages(spoils)
    # 4.
    _open_records(spoils, trials)
    return spoils


def commits(key: bytes, context: bytes, blob: bytes) -> bool:
    """Whether a seal was made under this key and context, by the first 20 bytes of its commitment."""
    okm = hmac.digest(key, _PREFIX + blob[:24] + context + b"\x01", "sha512")
    return okm[44:64] == blob[24:44]


def _open_pages(spoils: Spoils) -> None:
    closed = {Page(root.tree, 0, root.version, root.page) for root in spoils.roots} | spoils.pages
    waiting = list(spoils.upper_keys)
    while waiting:
        key = waiting.pop()
        for page in list(closed):
            level = 0 if page.number else 1
            bound_to = key_page_context(spoils.vault_id, page.tree, page.number, page.version, level)
            spoils.trials += 1
            if not commits(key, bound_to, page.sealed):
                continue
            opened = open_page(key, spoils.vault_id, page.tree, page.number, page.version, page.sealed)
            closed.discard(page)
            for slot in opened.live():
                child = opened.key(slot)
                assert child is not None
                if page.number == 0:
                    spoils.roots_opened += slot < 2
                    if bytes(child) not in spoils.upper_keys:
                        spoils.upper_keys.add(bytes(child))
                        waiting.append(bytes(child))
                elif slot == 0:
                    spoils.index_keys.add(bytes(child))
                else:
                    spoils.keys.setdefault(bytes(child), set()).add((page.number, slot))


def _pairs(spoils: Spoils, trials: int) -> Iterator[tuple[bytes, Sealed]]:
    """Which keys are tried on which blobs: all on all, or, past the limit, those of the same place and a sample."""
    spoils.pairs = len(spoils.keys) * len(spoils.sealed)
    if spoils.pairs <= trials:
        yield from ((key, blob) for key in spoils.keys for blob in spoils.sealed)
        return
    by_place: dict[tuple[int, int], list[bytes]] = {}
    for key, places in spoils.keys.items():
        for place in places:
            by_place.setdefault(place, []).append(key)
    blobs = list(spoils.sealed)
    for blob in blobs:
        for key in by_place.get(spoils.places.get(blob.record, (0, 0)), ()):
            yield key, blob
    random, keys = Random(0), list(spoils.keys)
    if keys and blobs:
        yield from zip(random.choices(keys, k=trials), random.choices(blobs, k=trials), strict=True)


def _open_records(spoils: Spoils, trials: int) -> None:
    vault = spoils.vault_id
    contexts = {
        blob: slip_context(vault, blob.record, blob.document) if blob.document else sheet_context(vault, blob.record)
        for blob in spoils.sealed
    }
    for key, blob in _pairs(spoils, trials):
        spoils.trials += 1
        if commits(key, contexts[blob], blob.blob):
            spoils.opened[blob.record] = key
    slips = [blob for blob in spoils.sealed if blob.document and blob.record in spoils.opened]
    for blob in slips:
        key = spoils.opened[blob.record]
        try:
            slip = open_slip(key, vault, blob.record, blob.document, blob.blob)
        except UnreadableError:
            continue
        _open_bodies(spoils, blob, key, slip)
        for other in slips:
            # A slip must open for its own document only: else rows could be exchanged.
            if other.record == blob.record and other.document != blob.document:
                spoils.trials += 1
                if commits(key, slip_context(vault, blob.record, other.document), blob.blob):
                    spoils.swapped.append(f"a slip of record {blob.record} opens for another of its documents")


def _open_bodies(spoils: Spoils, blob: Sealed, key: bytes, slip: Slip) -> None:
    for body in spoils.bodies.get(blob.object_name, ()):
        try:
            content = open_document(key, spoils.vault_id, blob.record, blob.document, body, slip)
        except UnreadableError:
            continue
        spoils.documents.setdefault(blob.record, []).append(content)


def sheet_of(spoils: Spoils, record: str) -> dict[str, object] | None:
    """The applicant as the adversary reads it; None where no sheet of the record opened."""
    key = spoils.opened.get(record)
    for blob in spoils.sealed if key else ():
        if blob.record == record and not blob.document and key:
            try:
                return open_sheet(key, spoils.vault_id, record, blob.blob).applicant
            except UnreadableError:
                continue
    return None
