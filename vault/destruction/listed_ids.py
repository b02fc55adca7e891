"""The ids on the frozen list of a destruction, in the bucket, one object for each (docs/spec/list.md).

After reclaim nothing else in the bucket names the destroyed. Without it a rebuilt catalogue would know neither them
nor the list that a receipt's proof is built from. The list's Merkle root in the ledger vouches for the object.
"""

from __future__ import annotations

import base64
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from vault.errors import DamagedError
from vault.ids import DestructionId, base32, number_of
from vault.log.merkle import tree_hash
from vault.objects import Bucket, ObjectExists, ObjectNotFound

__all__ = ["PREFIX", "fetch_list", "list_name", "pack_places", "place_of", "store_list", "unpack_places"]

PREFIX: Final = "lists/"
OBJECT_LIMIT_BYTES: Final = 2 * 1024**3
_MAGIC: Final = b"shredvault/list/v1\n"
_HEAD: Final = struct.Struct(">16sI")
_ID_BYTES: Final = 16
_ID_CHARACTERS: Final = 26


def list_name(destruction_id: DestructionId) -> str:
    """Object name of a destruction's list."""
    return PREFIX + destruction_id


def store_list(bucket: Bucket, vault_id: bytes, destruction_id: DestructionId, ids: Sequence[bytes]) -> None:
    """Store the ids on a list, ASCII and ascending, and read them back. Safe to repeat.

    Raises:
        DamagedError: the bucket does not give back what was stored, or has another list of this name.
        ObjectStoreError: the object store failed.
    """
    name, blob = list_name(destruction_id), _encode(vault_id, ids)
    # Stored by somebody whose answer was lost: it is compared in any case.
    with suppress(ObjectExists):
        bucket.put_new(name, blob)
    if bucket.get(name, limit=OBJECT_LIMIT_BYTES) != blob:
        message = "The list of what is to be destroyed, as read back from the bucket, is not what was stored."
        raise DamagedError(message)


def fetch_list(bucket: Bucket, vault_id: bytes, destruction_id: DestructionId, root: bytes) -> list[bytes] | None:
    """The ids on a list, ASCII and ascending; None where the bucket does not have it.

    Raises:
        DamagedError: what is there is not the list with this Merkle root.
        ObjectStoreError: the object store failed.
    """
    try:
        blob = bucket.get(list_name(destruction_id), limit=OBJECT_LIMIT_BYTES)
    except ObjectNotFound:
        return None
    start = len(_MAGIC) + _HEAD.size
    ids = [
        base32(int.from_bytes(blob[at : at + _ID_BYTES]), _ID_CHARACTERS).encode()
        for at in range(start, len(blob), _ID_BYTES)
    ]
    # The root is over ids in order; what is written in another way than we do was not written by us.
    if _encode(vault_id, ids) != blob or tree_hash(ids) != root:
        message = "A list of what was destroyed is damaged in the bucket, or is another one."
        raise DamagedError(message)
    return ids


def _encode(vault_id: bytes, ids: Sequence[bytes]) -> bytes:
    numbers = (number_of(one.decode("ascii")).to_bytes(_ID_BYTES) for one in ids)
    return b"".join((_MAGIC, _HEAD.pack(vault_id, len(ids)), *numbers))


def place_of(ids: bytes, one: bytes) -> int:
    """The place, from 0, of an id on a list whose ids stand one after the other, ASCII and ascending."""
    places = range(len(ids) // _ID_CHARACTERS)
    return bisect_left(places, one, key=lambda at: ids[at * _ID_CHARACTERS : (at + 1) * _ID_CHARACTERS])


def pack_places(places: Iterable[int], count: int) -> str:
    """Some of `count` places on a list, for the ledger: a bitmap, deflated, in base64.

    Place n, from 0, is bit n mod 8 of byte n div 8.
    """
    bitmap = bytearray((count + 7) // 8)
    for place in places:
        bitmap[place // 8] |= 1 << place % 8
    return base64.b64encode(zlib.compress(bitmap)).decode("ascii")


def unpack_places(text: str, count: int) -> frozenset[int]:
    """What `pack_places` packed.

    Raises:
        ValueError: it did not.
    """
    size, inflating = (count + 7) // 8, zlib.decompressobj()
    try:
        bitmap = inflating.decompress(base64.b64decode(text, validate=True), size)
    except zlib.error as broken:
        message = "these are no packed places"
        raise ValueError(message) from broken
    if not inflating.eof or len(bitmap) != size:
        message = "these are places on another list"
        raise ValueError(message)
    return frozenset(8 * at + bit for at, byte in enumerate(bitmap) if byte for bit in range(8) if byte >> bit & 1)
