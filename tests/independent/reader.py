"""A second reader of Shredvault's formats, written from `docs/spec/` alone, and sharing nothing with the product.

It needs the custodian's key folder and the objects of the bucket, no database. It is the proof that the
specifications suffice, and the last resort of whoever is left with these two.
"""

import base64
import hashlib
import hmac
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar

from tests.independent.seal import (
    HEAD,
    PIECE,
    TAG,
    UnreadableError,
    document_context,
    key_page_context,
    opaque,
    padme,
    require,
    root_key_context,
    sheet_context,
    slip_context,
    unpad,
    unseal,
    unwrap_root_key,
    wipe,
)

MAX_DOCUMENT = 26_214_400
MAX_COHORT = 65_535
COHORT_CAPACITY = 1024
ROOT_CAPACITIES = range(1024, 65_536 + 1, 1024)
TREES = {1: "active", 2: "held"}
MAX_MANIFEST = 1 << 20
# The specifications say what the writer makes at most; a reader leaves some room.
MAX_SEALED_JSON = 1 << 20
MAX_WRAPPED = 65_536

MEDIA_TYPES = frozenset({"application/pdf", "image/jpeg", "image/png", "image/tiff"})
_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")
_OBJECT = re.compile(r"documents/[0-9a-hjkmnp-tv-z]{26}")
_MASTER = re.compile(r"[a-z0-9-]{1,64}")
_PACK = re.compile(r"keystore/(active|held)/([0-9a-f]{16})")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?\+00:00", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}")

_T = TypeVar("_T")


# ---- key-tree.md: the file custodian's folder


def read_masters(folder: Path) -> dict[str, bytes]:
    """The masters a file custodian has, by name; files of another size or name are none."""
    masters = {}
    for path in folder.glob("*.master"):
        with path.open("rb") as file:
            secret = file.read(33)
        if _MASTER.fullmatch(path.stem) and len(secret) == 32:
            masters[path.stem] = secret
    return masters


# ---- key-page.md


@dataclass(frozen=True)
class KeyPage:
    """An open key page."""

    capacity: int
    bitmap: bytes
    keys: bytearray

    def live(self) -> list[int]:
        """The live slots, ascending."""
        return [slot for slot in range(self.capacity) if self.bitmap[slot // 8] >> slot % 8 & 1]

    def key(self, slot: int) -> bytearray | None:
        """A copy of the key in a slot; None if the slot is not live."""
        bits = int.from_bytes(self.bitmap, "little")
        if not (0 <= slot < self.capacity and bits >> slot & 1):
            return None
        rank = (bits & ((1 << slot) - 1)).bit_count()
        return self.keys[32 * rank : 32 * rank + 32]


@opaque()
def open_page(
    key: bytes | bytearray, vault: bytes, tree: str, number: int, version: int, blob: bytes, copy: bytes | None = None
) -> KeyPage:
    """Open a key page: number 0 is a root page. `copy` is the bitmap as it stands outside the seal, if it does."""
    level = 0 if number else 1
    message = unseal(key, key_page_context(vault, tree, number, version, level), blob)
    try:
        return _parse_page(message, level, copy)
    finally:
        wipe(message)


def _parse_page(message: bytearray, level: int, copy: bytes | None) -> KeyPage:
    split = len(message) // PIECE * PIECE
    trailer = bytes(message[split:])
    magic, form, its_level, capacity, live = struct.unpack(">4sBBII", trailer[:14])
    require(holds=(magic, form, its_level) == (b"SVKP", 1, level))
    require(holds=capacity in ROOT_CAPACITIES if level else capacity == COHORT_CAPACITY)
    bitmap = trailer[14:]
    # Capacities are multiples of 8, so that no bit of the last byte lies past the last slot.
    require(holds=len(bitmap) == capacity // 8 and int.from_bytes(bitmap, "little").bit_count() == live)
    require(holds=copy is None or hmac.compare_digest(copy, bitmap))
    require(holds=split == -(-32 * live // PIECE) * PIECE and not any(message[32 * live : split]))
    return KeyPage(capacity, bitmap, message[: 32 * live])


# ---- mirror-pack.md


@dataclass(frozen=True)
class PackedPage:
    """A cohort's sealed page in a pack."""

    version: int
    bitmap: bytes
    sealed: bytes


@dataclass(frozen=True)
class Pack:
    """A mirror pack: one version of a tree. Nothing in it is believed before its blobs open."""

    vault: bytes
    tree: str
    epoch: int
    version: int
    master: str
    wrapped: bytes
    root_page: bytes
    carried: Mapping[int, int]
    pages: Mapping[int, PackedPage]


@opaque()
def parse_pack(name: str, data: bytes) -> Pack:
    """Take a pack apart, which was found in the bucket as `name`."""
    named = _PACK.fullmatch(name)
    require(holds=named is not None and data[:5] == b"SVMP\x01")
    vault, code, epoch, version, master, wrapped, root, carry, count = struct.unpack_from(">16sBQQ64sIIII", data, 5)
    assert named
    require(holds=(TREES.get(code), version) == (named[1], int(named[2], 16)) and version >= 1 and epoch >= 1)
    heads, blobs = 118 + 12 * carry, 118 + 12 * carry + 144 * count
    require(holds=carry + count <= MAX_COHORT and wrapped <= MAX_WRAPPED and blobs + wrapped + root <= len(data))
    text = master.rstrip(b"\x00").decode("ascii")
    carried = list(struct.iter_unpack(">IQ", data[118:heads]))
    pages = list(struct.iter_unpack(">IQI128s", data[heads:blobs]))
    require(holds=_MASTER.fullmatch(text) is not None and carried == sorted(carried))
    require(holds=blobs + wrapped + root + sum(page[2] for page in pages) == len(data))
    cohorts = {entry[0] for entry in (*carried, *pages)}
    require(holds=len(cohorts) == carry + count and cohorts <= set(range(1, MAX_COHORT + 1)))
    require(holds=all(page[1] == version for page in pages) and all(1 <= at < version for _, at in carried))
    position, packed = blobs + wrapped + root, {}
    for cohort, at, size, bitmap in pages:
        packed[cohort] = PackedPage(at, bitmap, data[position : position + size])
        position += size
    return Pack(
        vault=vault,
        tree=named[1],
        epoch=epoch,
        version=version,
        master=text,
        wrapped=data[blobs : blobs + wrapped],
        root_page=data[blobs + wrapped : blobs + wrapped + root],
        carried=dict(carried),
        pages=packed,
    )


class Trees:
    """All key trees that packs and masters together still open."""

    def __init__(self, packs: Mapping[str, bytes], masters: Mapping[str, bytes]) -> None:
        self._masters = dict(masters)
        self._packs: dict[tuple[str, int], Pack] = {}
        for name, data in packs.items():
            try:
                pack = parse_pack(name, data)
            except UnreadableError:
                continue  # anybody who can write the bucket can write one
            self._packs[pack.tree, pack.version] = pack

    def record_keys(
        self, cohort: int, slot: int, trees: Sequence[str] = ("active", "held")
    ) -> Iterator[tuple[bytes, bytearray]]:
        """Every (vault, record key) that is found at a place: by tree, then from the highest version down."""
        require(holds=1 <= cohort <= MAX_COHORT and 1 <= slot < COHORT_CAPACITY)
        for tree in trees:
            for version in sorted((v for t, v in self._packs if t == tree), reverse=True):
                try:
                    key = self._record_key(self._packs[tree, version], cohort, slot)
                except UnreadableError:
                    continue
                if key is not None:
                    yield self._packs[tree, version].vault, key

    @opaque()
    def _record_key(self, pack: Pack, cohort: int, slot: int) -> bytearray | None:
        """Walk from the master through one version of a tree to a record's key."""
        at = (pack.vault, pack.tree)
        root_context = root_key_context(*at, pack.epoch, pack.version)
        root_key = unwrap_root_key(self._masters[pack.master], root_context, pack.wrapped)
        try:
            root = open_page(root_key, *at, 0, pack.version, pack.root_page)
        finally:
            wipe(root_key)
        try:
            require(holds=set(root.live()) == {*pack.carried, *pack.pages})
            page_key = root.key(cohort)
        finally:
            wipe(root.keys)
        if page_key is None:
            return None
        # A carried page may lie in a pack whose own master is dead: it is not opened through that one.
        source = self._packs[pack.tree, pack.carried[cohort]] if cohort in pack.carried else pack
        packed = source.pages[cohort]
        try:
            page = open_page(page_key, *at, cohort, packed.version, packed.sealed, packed.bitmap)
        finally:
            wipe(page_key)
        try:
            return page.key(slot)
        finally:
            wipe(page.keys)


# ---- manifest.md, and sealed-object.md, sections 4 to 6


@dataclass(frozen=True)
class Entry:
    """A document as its record's manifest lists it."""

    id: str
    object: str
    slip: bytes


@dataclass(frozen=True)
class Manifest:
    """A record's manifest. Only what its blobs prove is certain."""

    record: str
    cohort: int
    slot: int
    policy: int
    opened_at: datetime
    completed_at: datetime
    due_on: date
    sheet: bytes
    documents: tuple[Entry, ...]


def _object(data: bytes | bytearray) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        require(holds=len(dict(pairs)) == len(pairs))
        return dict(pairs)

    def constant(_: str) -> None:
        raise UnreadableError

    value = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=constant)
    require(holds=type(value) is dict)
    json.dumps(value, ensure_ascii=False).encode()  # strings that are no Unicode scalar values do not encode
    return dict(value)


def _member(of: Mapping[str, Any], name: str, kind: type[_T], form: re.Pattern[str] | None = None) -> _T:
    value = of[name]
    if type(value) is not kind or (form and not form.fullmatch(str(value))):
        raise UnreadableError
    return value


def _blob(of: Mapping[str, Any], name: str) -> bytes:
    return base64.b64decode(_member(of, name, str), validate=True)


@opaque()
def parse_manifest(name: str, data: bytes) -> Manifest:
    """Take a manifest apart, which was found in the bucket as `name`."""
    require(holds=len(data) <= MAX_MANIFEST)
    top = _object(data)
    require(holds=top["format"] == "shredvault/manifest/v1" and name == f"records/{top['record']}")
    entries = tuple(
        Entry(_member(item, "id", str, _ID), _member(item, "object", str, _OBJECT), _blob(item, "slip"))
        for item in _member(top, "documents", list)
    )
    ids = [entry.id for entry in entries]
    require(holds=ids == sorted(set(ids)))
    cohort, slot = _member(top, "cohort", int), _member(top, "slot", int)
    require(holds=1 <= cohort <= MAX_COHORT and 1 <= slot < COHORT_CAPACITY)
    return Manifest(
        record=_member(top, "record", str, _ID),
        cohort=cohort,
        slot=slot,
        policy=_member(top, "policy", int),
        opened_at=datetime.fromisoformat(_member(top, "opened_at", str, _INSTANT)),
        completed_at=datetime.fromisoformat(_member(top, "completed_at", str, _INSTANT)),
        due_on=date.fromisoformat(_member(top, "due_on", str, _DATE)),
        sheet=_blob(top, "sheet"),
        documents=entries,
    )


@dataclass(frozen=True)
class Sheet:
    """What a record says of its applicant."""

    applicant: dict[str, Any]


@dataclass(frozen=True)
class Slip:
    """What a record says of one document. `name` is text, not a path: it may be `..` or have control characters."""

    name: str
    media_type: str
    size: int
    sha256: str


def receipt_code(record: str) -> str:
    """The code on the applicant's receipt (receipt.md, section 1)."""
    digest = hashlib.sha256(b"shredvault/receipt/v1" + record.encode("ascii")).digest()
    bits = int.from_bytes(digest[:3], "big") >> 4
    check = "".join("0123456789abcdefghjkmnpqrstvwxyz"[bits >> shift & 31] for shift in (15, 10, 5, 0))
    return "-".join(re.findall(".....", record + check))


@opaque()
def open_sheet(key: bytes | bytearray, vault: bytes, record: str, sealed: bytes) -> Sheet:
    """Open a record's sheet."""
    require(holds=len(sealed) <= MAX_SEALED_JSON)
    top = _object(unseal(key, sheet_context(vault, record), sealed))
    require(holds=_member(top, "v", int) == 1)
    return Sheet(_member(top, "applicant", dict))


@opaque()
def open_slip(key: bytes | bytearray, vault: bytes, record: str, document: str, sealed: bytes) -> Slip:
    """Open a document's slip."""
    require(holds=len(sealed) <= MAX_SEALED_JSON)
    top = _object(unseal(key, slip_context(vault, record, document), sealed))
    name, media_type, size = _member(top, "name", str), _member(top, "media_type", str), _member(top, "size", int)
    require(holds=_member(top, "v", int) == 1 and 1 <= len(name) <= 120 and b"/" not in name.encode())
    require(holds=media_type in MEDIA_TYPES and 1 <= size <= MAX_DOCUMENT)
    return Slip(name, media_type, size, _member(top, "sha256", str, _DIGEST))


@opaque()
def open_document(
    key: bytes | bytearray, vault: bytes, record: str, document: str, sealed: bytes, slip: Slip | None = None
) -> bytes:
    """Open a document's body, and check it against its slip if there is one."""
    require(holds=len(sealed) <= HEAD + (padme(MAX_DOCUMENT + 1) // PIECE + 1) * (PIECE + TAG))
    body = unpad(unseal(key, document_context(vault, record, document), sealed))
    require(holds=1 <= len(body) <= MAX_DOCUMENT)
    if slip:
        require(holds=(len(body), hashlib.sha256(body).hexdigest()) == (slip.size, slip.sha256))
    return body


@dataclass(frozen=True)
class Record:
    """A record whose key was found and whose sheet has opened."""

    vault: bytes
    key: bytearray
    manifest: Manifest
    sheet: Sheet

    def slip(self, entry: Entry) -> Slip:
        """Open the slip of a document."""
        return open_slip(self.key, self.vault, self.manifest.record, entry.id, entry.slip)

    def document(self, entry: Entry, sealed: bytes) -> bytes:
        """Open a document, and check it against its slip."""
        return open_document(self.key, self.vault, self.manifest.record, entry.id, sealed, self.slip(entry))


def open_record(trees: Trees, manifest: Manifest, among: Sequence[str] = ("active", "held")) -> Record:
    """Find a record's key: the first of its place under which its sheet opens."""
    for vault, key in trees.record_keys(manifest.cohort, manifest.slot, among):
        try:
            return Record(vault, key, manifest, open_sheet(key, vault, manifest.record, manifest.sheet))
        except UnreadableError:
            wipe(key)
    raise UnreadableError
