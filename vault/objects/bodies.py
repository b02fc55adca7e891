"""Bodies on their way out and in, without needless copies."""

import io
import os
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

from .errors import ObjectStoreMisbehaved, wall

__all__ = ["PUT_BYTES_MAX", "Body", "Incoming", "ObjectReader", "outgoing"]

PUT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Largest body of one request: room for a full pack of key pages; documents come in parts of 7 MiB."""

BLOCK_BYTES: Final = 256 * 1024
"""Sent at a time: the read timeout holds for one block."""

Body: TypeAlias = bytes | bytearray | memoryview


class _Window(io.RawIOBase):
    """A memoryview as the seekable file that botocore takes (it takes no memoryview).

    As a file the body is sent when the store has agreed to receive it (100-continue), block by block, and the
    timeout holds for a block; a bytearray would go out in one call that must end within the timeout.
    """

    def __init__(self, view: memoryview) -> None:
        super().__init__()
        self._view = view
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._view)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Give the next block, larger than the 16 KiB that urllib3 asks for: each costs a system call."""
        wanted = len(self._view) if size < 0 else max(size, BLOCK_BYTES)
        block = bytes(self._view[self._at : self._at + wanted])
        self._at += len(block)
        return block

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: any writeable buffer
        window = self._view[self._at : self._at + len(buffer)]
        buffer[: len(window)] = window
        self._at += len(window)
        return len(window)


def outgoing(body: Body) -> io.RawIOBase:
    """`body` as a file, uncopied. It must not change until the call is over.

    Raises: ValueError when it is longer than `PUT_BYTES_MAX`.
    """
    view = memoryview(body).cast("B")
    if len(view) > PUT_BYTES_MAX:
        raise ValueError(f"A body of one request has at most {PUT_BYTES_MAX} bytes.")
    return _Window(view)


class Incoming(Protocol):
    """What is used of botocore's StreamingBody; its `readinto` compares with Content-Length at the end."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer`; how many bytes, 0 at the end."""

    def close(self) -> None:
        """Give up the connection."""


class ObjectReader(AbstractContextManager["ObjectReader"]):
    """An object being read from its first byte to its last. Made by `Bucket.open`; for one thread."""

    def __init__(self, body: Incoming, size: int) -> None:
        self._body = body
        self._left = size
        self.size: Final = size
        """Length in bytes, as the store announced it."""

    def read_into(self, buffer: memoryview) -> int:
        """Fill the front of `buffer`; how many bytes were written, 0 at the end and only there.

        Raises: ObjectStoreUnavailable when the connection breaks or stalls, also when the body stops short of
        `size`. ObjectStoreMisbehaved when the body is short or long although the connection ended in order.
        """
        if not len(buffer):
            raise ValueError("An empty buffer would look like the end of the object.")
        with wall():
            count = self._body.readinto(buffer)
        self._left -= count
        if self._left < 0 or (count == 0 and self._left > 0):
            raise ObjectStoreMisbehaved("The object store sent a body of another length than it announced.")
        return count

    def close(self) -> None:
        """Give the connection up. An unread rest is not fetched."""
        with wall():
            self._body.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self
