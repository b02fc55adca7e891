"""Key bytes with an owner and an end.

A `Key` lives in one `bytearray` that is overwritten when its owner is done; it has no repr, cannot be
pickled, copied or compared by value, and raises when used after its end.

What CPython cannot do: a library that copies the buffer internally (OpenSSL's key schedule) keeps its
copy until the object that holds it is freed, and pages may be swapped. The operator's guide says how
swap and core dumps are switched off; the seizure game measures what remains.
"""

from __future__ import annotations

import hmac
import io
from typing import Final, NoReturn, Self

from .errors import KeyGoneError

__all__ = ["KEY_BYTES", "Key", "fill_random", "wipe"]

KEY_BYTES: Final = 32
_RANDOM_DEVICE: Final = "/dev/urandom"


def fill_random(buffer: bytearray | memoryview) -> None:
    """Fill `buffer` from the kernel's random source without an intermediate `bytes` object.

    `os.urandom` would return an immutable copy that nobody can overwrite.
    """
    view = memoryview(buffer)
    with io.FileIO(_RANDOM_DEVICE) as source:
        filled = 0
        while filled < len(view):
            count = source.readinto(view[filled:])
            if not count:
                message = "the kernel's random source ended"
                raise OSError(message)
            filled += count


def wipe(buffer: bytearray | memoryview) -> None:
    """Overwrite `buffer` with zeros, in place."""
    view = memoryview(buffer).cast("B")
    view[:] = bytes(len(view))


class Key:
    """One 32-byte secret. Use it as a context manager, or call `wipe` when done."""

    __slots__ = ("_buffer", "_ended")

    def __init__(self, buffer: bytearray) -> None:
        """Take ownership of `buffer` (32 bytes); the caller must not use it afterwards."""
        if len(buffer) != KEY_BYTES:
            message = f"a key has {KEY_BYTES} bytes"
            raise ValueError(message)
        self._buffer = buffer
        self._ended = False

    @classmethod
    def generate(cls) -> Self:
        """Draw a fresh key from the kernel."""
        buffer = bytearray(KEY_BYTES)
        fill_random(buffer)
        return cls(buffer)

    @classmethod
    def copy_of(cls, source: memoryview | bytearray) -> Self:
        """Copy 32 bytes out of a larger buffer that somebody else wipes."""
        buffer = bytearray(KEY_BYTES)
        buffer[:] = source
        return cls(buffer)

    def reveal(self) -> bytearray:
        """Give the live buffer to a primitive. Not a copy: never keep it.

        Raises:
            KeyGoneError: the key was wiped.
        """
        if self._ended:
            raise KeyGoneError
        return self._buffer

    def same_as(self, other: Key) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.reveal(), other.reveal())

    def wipe(self) -> None:
        """End this key. Safe to call twice."""
        wipe(self._buffer)
        self._ended = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __del__(self) -> None:
        # An owner that forgot is no reason to leave the bytes behind.
        buffer = getattr(self, "_buffer", None)
        if buffer is not None:
            wipe(buffer)

    def __repr__(self) -> str:
        return "<Key>"

    def __eq__(self, other: object) -> NoReturn:
        message = "keys are compared with same_as()"
        raise TypeError(message)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        message = "keys are never pickled or copied"
        raise TypeError(message)
