"""Key pages: arrays of child keys with a liveness bitmap, sealed as one blob (docs/spec/key-page.md).

The same type serves both levels of a tree: a root page holds one key per cohort, a cohort page one key per
record and, in slot 0, the cohort's index key. Only live keys are stored, packed in slot order, so an
emptied slot leaves nothing behind. The packed keys are padded to whole chunks of the seal; the trailer
with the bitmap stands alone in the last, short chunk. The reason: opening gives the last chunk out as an
immutable `bytes`, and no key may be in one.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NoReturn, Self

from .errors import SealBrokenError, WrongOrderError
from .sealing import CHUNK_BYTES, Opener, Sealer, context, sealed_size
from .secret import KEY_BYTES, Key, fill_random, wipe

__all__ = [
    "COHORT_BITMAP_BYTES",
    "COHORT_SLOTS",
    "INDEX_SLOT",
    "MAX_COHORTS",
    "ROOT_PAGE",
    "KeyPage",
    "PageName",
    "Tree",
    "slots_of",
    "slots_to_bitmap",
]

COHORT_SLOTS: Final = 1024
"""Slots of a cohort page: the index key and up to 1023 record keys, which fill two chunks exactly."""
COHORT_BITMAP_BYTES: Final = COHORT_SLOTS // 8
"""A bit for each slot; slot s is bit s mod 8 of byte s div 8."""

INDEX_SLOT: Final = 0
MAX_COHORTS: Final = 65_535
"""Cohorts one root page can number, about 67 million records; past that a third level is needed."""

ROOT_PAGE: Final = 0
"""Page number of the root page. Cohorts are numbered from 1."""

_MAGIC: Final = b"SVKP"
_FORMAT: Final = 1
_TRAILER: Final = struct.Struct(">4sBBII")
_ROOT_CAPACITIES: Final = range(1024, MAX_COHORTS + 2, 1024)


class Tree(StrEnum):
    """The two trees of a vault."""

    ACTIVE = "active"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class PageName:
    """What a page's seal is bound to."""

    vault_id: bytes
    tree: Tree
    number: int
    version: int

    @property
    def level(self) -> int:
        """1 for the root page, 0 for a cohort page."""
        return 1 if self.number == ROOT_PAGE else 0

    def context(self) -> bytes:
        """The context of the seal: vault, tree, page number, version, level."""
        return context(
            "shredvault/key-page/v1",
            self.vault_id,
            self.tree.encode("ascii"),
            self.number.to_bytes(4, "big"),
            self.version.to_bytes(8, "big"),
            bytes([self.level]),
        )


def slots_of(bitmap: bytes) -> Iterator[int]:
    """Yield the numbers of the set bits, ascending. Slot s is bit `s % 8` of byte `s // 8`."""
    for index, byte in enumerate(bitmap):
        if byte:
            for bit in range(8):
                if byte >> bit & 1:
                    yield index * 8 + bit


def slots_to_bitmap(slots: Iterable[int], capacity: int = COHORT_SLOTS) -> bytes:
    """Encode slot numbers as a bitmap of `ceil(capacity / 8)` bytes."""
    bitmap = bytearray((capacity + 7) // 8)
    for slot in slots:
        if not 0 <= slot < capacity:
            message = f"slot {slot} is outside the page"
            raise ValueError(message)
        bitmap[slot >> 3] |= 1 << (slot & 7)
    return bytes(bitmap)


def _rank(bitmap_int: int, slot: int) -> int:
    """How many live slots stand before `slot`."""
    return (bitmap_int & ((1 << slot) - 1)).bit_count()


class KeyPage:
    """An opened key page. Owns its key bytes; wipe it when done (or use it as a context manager)."""

    __slots__ = ("_bitmap", "_ended", "_keys", "capacity", "level")

    def __init__(self, level: int, capacity: int, bitmap: bytes, keys: bytearray) -> None:
        """Take ownership of `keys`: the live keys, packed in slot order (padding behind them is allowed)."""
        self.level = level
        self.capacity = capacity
        self._bitmap = int.from_bytes(bitmap, "little")
        self._keys = keys
        self._ended = False

    @classmethod
    def empty(cls, level: int, capacity: int) -> Self:
        """Make a page without live keys."""
        return cls(level, capacity, bytes((capacity + 7) // 8), bytearray())

    @classmethod
    def fresh_cohort(cls) -> Self:
        """Make a cohort page: all 1024 keys drawn at random."""
        keys = bytearray(COHORT_SLOTS * KEY_BYTES)
        fill_random(keys)
        return cls(0, COHORT_SLOTS, b"\xff" * (COHORT_SLOTS // 8), keys)

    @property
    def bitmap(self) -> bytes:
        """Liveness, `ceil(capacity / 8)` bytes."""
        return self._bitmap.to_bytes((self.capacity + 7) // 8, "little")

    @property
    def live_count(self) -> int:
        """How many keys are live."""
        return self._bitmap.bit_count()

    def is_live(self, slot: int) -> bool:
        """Whether the slot holds a key."""
        return bool(self._bitmap >> slot & 1)

    def _require_alive(self) -> None:
        if self._ended:
            message = "this page has been wiped"
            raise WrongOrderError(message)

    def _view(self, slot: int) -> memoryview:
        self._require_alive()
        start = _rank(self._bitmap, slot) * KEY_BYTES
        return memoryview(self._keys)[start : start + KEY_BYTES]

    def key(self, slot: int) -> Key:
        """Copy out the key of a live slot; the caller wipes it.

        Raises:
            KeyError: the slot is empty.
        """
        if not self.is_live(slot):
            raise KeyError(slot)
        return Key.copy_of(self._view(slot))

    def rewritten(self, keep: bytes, put: Mapping[int, Key] | None = None, capacity: int | None = None) -> KeyPage:
        """Copy this page, keeping only the live slots set in the bitmap `keep`, with `put` added or replaced.

        Runs of neighbouring kept keys are copied as blocks.
        """
        # A wiped page would give zeros for keys.
        self._require_alive()
        put = put or {}
        capacity = capacity or self.capacity
        added = sum(1 << slot for slot in put)
        kept = self._bitmap & int.from_bytes(keep, "little") & ~added
        if (kept | added) >> capacity:
            message = "a slot is outside the page"
            raise ValueError(message)
        out = bytearray((kept | added).bit_count() * KEY_BYTES)
        source = memoryview(self._keys)
        for start, length in _runs(kept):
            first = _rank(self._bitmap, start) * KEY_BYTES
            target = _rank(kept | added, start) * KEY_BYTES
            size = length * KEY_BYTES
            out[target : target + size] = source[first : first + size]
        for slot, key in put.items():
            target = _rank(kept | added, slot) * KEY_BYTES
            out[target : target + KEY_BYTES] = key.reveal()
        bitmap = (kept | added).to_bytes((capacity + 7) // 8, "little")
        return KeyPage(self.level, capacity, bitmap, out)

    def carries(self, other: KeyPage, slots: bytes) -> bool:
        """Whether every slot set in the bitmap `slots` is live in both pages, with the same key."""
        wanted = int.from_bytes(slots, "little")
        if wanted & ~self._bitmap or wanted & ~other._bitmap:
            return False
        with self.rewritten(slots) as mine, other.rewritten(slots) as theirs:
            return hmac.compare_digest(mine._keys, theirs._keys)  # noqa: SLF001 - the same class

    def seal(self, name: PageName, page_key: Key) -> bytearray:
        """Seal this page under its own key. A page key seals exactly one version of one page."""
        self._require_alive()
        size = self.live_count * KEY_BYTES
        area = bytearray(-(-size // CHUNK_BYTES) * CHUNK_BYTES)
        area[:size] = memoryview(self._keys)[:size]
        trailer = _TRAILER.pack(_MAGIC, _FORMAT, self.level, self.capacity, self.live_count) + self.bitmap
        out = bytearray(sealed_size(len(area) + len(trailer)))
        sealer = Sealer(page_key, name.context())
        count = sealer.update_into(area, out)
        wipe(area)
        count += sealer.update_into(trailer, memoryview(out)[count:])
        out[count:] = sealer.finish()
        return out

    @classmethod
    def open(cls, name: PageName, page_key: Key, sealed: bytes | bytearray | memoryview) -> Self:
        """Open a sealed page.

        Raises:
            SealBrokenError: the blob is not this version of this page under this key, or its layout is wrong.
        """
        opener = Opener(page_key, name.context())
        keys = bytearray(max(0, len(sealed)) + CHUNK_BYTES)
        try:
            count = opener.update_into(sealed, keys)
            trailer = opener.finish()
            level, capacity, bitmap = _read_trailer(trailer, keys, count, name.level)
        except SealBrokenError:
            wipe(keys)
            raise
        return cls(level, capacity, bitmap, keys)

    def wipe(self) -> None:
        """Overwrite the keys and end this page."""
        wipe(self._keys)
        self._ended = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __del__(self) -> None:
        # An owner that forgot is no reason to leave the keys behind.
        if not getattr(self, "_ended", True):
            wipe(self._keys)

    def __reduce__(self) -> NoReturn:
        message = "key pages are never pickled or copied"
        raise TypeError(message)

    def __repr__(self) -> str:
        return f"<KeyPage level={self.level} live={self.live_count}>"


def _runs(bits: int) -> Iterator[tuple[int, int]]:
    """Yield (first, length) of every run of set bits, ascending."""
    while bits:
        first = (bits & -bits).bit_length() - 1
        shifted = bits >> first
        length = (~shifted & (shifted + 1)).bit_length() - 1
        yield first, length
        bits &= ~(((1 << length) - 1) << first)


def _read_trailer(trailer: bytes, keys: bytearray, area: int, expected_level: int) -> tuple[int, int, bytes]:
    """Check the layout of an opened page; every deviation is the same opaque error."""
    if len(trailer) < _TRAILER.size:
        raise SealBrokenError
    magic, page_format, level, capacity, live = _TRAILER.unpack_from(trailer)
    bitmap = trailer[_TRAILER.size :]
    number = int.from_bytes(bitmap, "little")
    if (
        magic != _MAGIC
        or page_format != _FORMAT
        or level != expected_level
        or capacity not in (_ROOT_CAPACITIES if level else (COHORT_SLOTS,))
        or len(bitmap) != (capacity + 7) // 8
        or number >> capacity
        or number.bit_count() != live
        or area != -(-live * KEY_BYTES // CHUNK_BYTES) * CHUNK_BYTES
        # A removed key in the padding would survive its destruction, unseen by the key-graph check.
        or keys.count(0, live * KEY_BYTES, area) != area - live * KEY_BYTES
    ):
        raise SealBrokenError
    return level, capacity, bitmap
