"""What counts as a document, and how its bytes are framed inside the seal.

Padding: the document, the byte 0x80, zeros up to the Padmé size (Nikitin and others, "Reducing Metadata Leakage
from Encrypted Files", PETS 2019): at most 12 % longer, and the sealed size says only the order of magnitude
and a few bits. The true size stands in the sealed slip.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final

from vault.errors import DocumentTooLargeError, DocumentTruncatedError, EmptyDocumentError, UnsupportedTypeError

__all__ = ["DOCUMENT_BYTES_MAX", "PAD_MARK", "Inspection", "MediaType", "padme"]

DOCUMENT_BYTES_MAX: Final = 25 * 1024 * 1024
PAD_MARK: Final = b"\x80"
_HEAD_BYTES: Final = 8
_TAIL_BYTES: Final = 2048


class MediaType(StrEnum):
    """The accepted types."""

    PDF = "application/pdf"
    JPEG = "image/jpeg"
    PNG = "image/png"
    TIFF = "image/tiff"


_MAGIC: Final = (
    (b"%PDF-", MediaType.PDF),
    (b"\xff\xd8\xff", MediaType.JPEG),
    (b"\x89PNG\r\n\x1a\n", MediaType.PNG),
    (b"II*\0", MediaType.TIFF),
    (b"MM\0*", MediaType.TIFF),
)


def padme(size: int) -> int:
    """The Padmé size for `size` bytes: rounded up so that only the top bits of the length remain."""
    if size < 2:  # noqa: PLR2004
        return size
    exponent = size.bit_length() - 1
    mantissa = exponent.bit_length()
    mask = (1 << (exponent - mantissa)) - 1
    return (size + mask) & ~mask


class Inspection:
    """Looks at a document as it streams by: type by first bytes, size, SHA-256, and whether its end is there."""

    def __init__(self) -> None:
        self.size = 0
        self.media_type: MediaType | None = None
        self._head = b""
        self._tail = b""
        self._digest = hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        """Look at the next bytes.

        Raises:
            UnsupportedTypeError: the first bytes are of no accepted type.
            DocumentTooLargeError: more bytes than `DOCUMENT_BYTES_MAX`.
        """
        self.size += len(chunk)
        if self.size > DOCUMENT_BYTES_MAX:
            message = "The document is larger than 25 MiB."
            raise DocumentTooLargeError(message)
        self._digest.update(chunk)
        if len(self._head) < _HEAD_BYTES:
            self._head += chunk[: _HEAD_BYTES - len(self._head)]
            if len(self._head) == _HEAD_BYTES:
                self.media_type = self._sniff()
        self._tail = (self._tail + chunk[-_TAIL_BYTES:])[-_TAIL_BYTES:]

    def finish(self) -> bytes:
        """Check that the document is whole; return its SHA-256 (which is kept under seal only).

        Raises:
            EmptyDocumentError: no bytes came.
            UnsupportedTypeError: too few bytes to be of an accepted type.
            DocumentTruncatedError: the end that its type has is missing.
        """
        if not self.size:
            message = "The file is empty."
            raise EmptyDocumentError(message)
        if self.media_type is None:
            self.media_type = self._sniff()
        if not self._ends_well(self.media_type):
            message = "The file ends too early; scan or export it again."
            raise DocumentTruncatedError(message)
        return self._digest.digest()

    def _sniff(self) -> MediaType:
        for magic, media_type in _MAGIC:
            if self._head.startswith(magic):
                return media_type
        message = "The file is not a PDF, JPEG, PNG or TIFF, whatever its name says."
        raise UnsupportedTypeError(message)

    def _ends_well(self, media_type: MediaType) -> bool:
        # Some scanners append a few bytes, so the mark is looked for near the end, not at it.
        if media_type is MediaType.JPEG:
            return b"\xff\xd9" in self._tail
        if media_type is MediaType.PNG:
            return b"IEND\xaeB`\x82" in self._tail
        if media_type is MediaType.PDF:
            return b"%%EOF" in self._tail
        order = "little" if self._head[:1] == b"I" else "big"
        first_directory = int.from_bytes(self._head[4:8], order)  # type: ignore[arg-type]
        return len(self._head) == _HEAD_BYTES and first_directory + 2 <= self.size
