"""The one sealing primitive: C2SP chunked-encryption, Cobblestone-256 (https://c2sp.org/chunked-encryption).

Key-committing, bound to a context, and truncation is detected. Contexts are sequences of length-prefixed
fields, so two different sequences never give the same bytes (docs/spec/sealed-object.md).
"""

from __future__ import annotations

from typing import Final

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from .errors import SealBrokenError, WrongOrderError
from .secret import Key

__all__ = ["CHUNK_BYTES", "Opener", "Sealer", "context", "derive_tag", "open_sealed", "seal", "sealed_size"]

CHUNK_BYTES: Final = 16 * 1024
TAG_BYTES: Final = 16
PREFIX_BYTES: Final = 24 + 32
"""Salt and commitment, before the first chunk."""

TAG_LIMIT_BYTES: Final = 64


def context(label: str, *fields: bytes) -> bytes:
    """Encode a label and fields unambiguously: each as a 32-bit big-endian length, then its bytes."""
    parts = (label.encode("ascii"), *fields)
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def sealed_size(size: int) -> int:
    """Size in bytes of what sealing `size` bytes gives: 56, plus a tag per chunk, the last one short."""
    return PREFIX_BYTES + size + (size // CHUNK_BYTES + 1) * TAG_BYTES


class Sealer:
    """Seals one message piece by piece into the caller's buffers."""

    __slots__ = ("_encryptor", "_ended")

    def __init__(self, key: Key, bound_to: bytes) -> None:
        self._encryptor = Cobblestone256Encryptor(key.reveal(), bound_to)
        self._ended = False

    def update_into(self, data: bytes | bytearray | memoryview, out: bytearray | memoryview) -> int:
        """Seal `data`; write what is complete to `out`, which needs `sealed_size(len(data))` bytes of room.

        Returns the number of bytes written. Up to one chunk is kept back until later.
        """
        return self._encryptor.update_into(data, out)

    def finish(self) -> bytes:
        """Return the last bytes of the sealed message (at most one chunk and its tag)."""
        if self._ended:
            message = "this message has been sealed"
            raise WrongOrderError(message)
        self._ended = True
        return self._encryptor.finalize()


class Opener:
    """Opens one sealed message piece by piece; every byte handed out has been authenticated.

    Only after `finish` returned is it certain that nothing was cut off the end. After any failure the
    object is dead.
    """

    __slots__ = ("_decryptor",)

    def __init__(self, key: Key, bound_to: bytes) -> None:
        self._decryptor: Cobblestone256Decryptor | None = Cobblestone256Decryptor(key.reveal(), bound_to)

    def update_into(self, data: bytes | bytearray | memoryview, out: bytearray | memoryview) -> int:
        """Open `data` into `out` (at least `len(data) + CHUNK_BYTES` of room); return the bytes written.

        Raises:
            SealBrokenError: the data is not what was sealed under this key and context.
        """
        decryptor = self._alive()
        try:
            return decryptor.update_into(data, out)
        except InvalidTag as broken:
            self._decryptor = None
            raise SealBrokenError from broken

    def finish(self) -> bytes:
        """Return the last bytes.

        Raises:
            SealBrokenError: the message was altered or cut short.
        """
        decryptor = self._alive()
        self._decryptor = None
        try:
            return decryptor.finalize()
        except InvalidTag as broken:
            raise SealBrokenError from broken

    def _alive(self) -> Cobblestone256Decryptor:
        if self._decryptor is None:
            message = "this opener is finished"
            raise WrongOrderError(message)
        return self._decryptor


def seal(key: Key, bound_to: bytes, plaintext: bytes | bytearray | memoryview) -> bytearray:
    """Seal a whole message held in memory."""
    out = bytearray(sealed_size(len(plaintext)))
    sealer = Sealer(key, bound_to)
    count = sealer.update_into(plaintext, out)
    out[count:] = sealer.finish()
    return out


def open_sealed(key: Key, bound_to: bytes, sealed: bytes | bytearray | memoryview) -> bytearray:
    """Open a whole message held in memory. Not for keys: the last chunk passes through `bytes`.

    Raises:
        SealBrokenError: wrong key or context, altered, or truncated.
    """
    out = bytearray(len(sealed) + CHUNK_BYTES)
    opener = Opener(key, bound_to)
    count = opener.update_into(sealed, out)
    out[count:] = opener.finish()
    return out


def derive_tag(key: Key, bound_to: bytes, size: int = 32) -> bytes:
    """Compute a keyed tag: HKDF-Expand with SHA-512 (RFC 5869) under `key`, with the context as `info`.

    A tag says that two inputs are equal only to whoever has the key; it dies with the key.
    """
    if not 0 < size <= TAG_LIMIT_BYTES:
        message = f"a tag has 1 to {TAG_LIMIT_BYTES} bytes"
        raise ValueError(message)
    return HKDFExpand(SHA512(), size, bound_to).derive(key.reveal())
