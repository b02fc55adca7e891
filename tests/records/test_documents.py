"""Types and ends of documents as they come in pieces, and padded sizes. Pure."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vault.world import PNG_END, PNG_HEAD
from vault.errors import (
    BadDocumentError,
    DocumentTooLargeError,
    DocumentTruncatedError,
    EmptyDocumentError,
    UnsupportedTypeError,
)
from vault.records.documents import DOCUMENT_BYTES_MAX, Inspection, MediaType, padme


@pytest.mark.parametrize(
    ("size", "padded"),
    [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 3),
        (8, 8),
        (9, 10),
        (17, 18),
        (100, 104),
        (1000, 1024),
        (10_000, 10_240),
        (2**20, 2**20),
        (2**20 + 1, 2**20 + 2**15),
        (DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_MAX),
    ],
)
def test_padme(size: int, padded: int) -> None:
    assert padme(size) == padded


@given(st.integers(0, 2 * DOCUMENT_BYTES_MAX), st.integers(0, 2 * DOCUMENT_BYTES_MAX))
def test_padme_grows_little_and_in_order(one: int, two: int) -> None:
    assert one <= padme(one) <= one * 1.12
    assert padme(padme(one)) == padme(one)
    if one <= two:
        assert padme(one) <= padme(two)


def test_padme_leaves_few_sizes() -> None:
    assert len({padme(size) for size in range(100_000, 200_000)}) < 40


JPEG = b"\xff\xd8\xff\xe0" + bytes(50) + b"\xff\xd9"
PDF = b"%PDF-1.7\n" + bytes(50) + b"\n%%EOF\n"
PNG = PNG_HEAD + bytes(50) + PNG_END
TIFF_LITTLE = b"II*\0" + (20).to_bytes(4, "little") + bytes(40)
TIFF_BIG = b"MM\0*" + (20).to_bytes(4, "big") + bytes(40)


def inspect(content: bytes, cuts: list[int] | None = None) -> tuple[MediaType | None, int, bytes] | type[Exception]:
    inspection = Inspection()
    edges = [0, *sorted(cut % (len(content) + 1) for cut in cuts or []), len(content)]
    try:
        for start, end in pairwise(edges):
            inspection.add(content[start:end])
        digest = inspection.finish()
    except BadDocumentError as refusal:
        return type(refusal)
    return inspection.media_type, inspection.size, digest


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (JPEG, MediaType.JPEG),
        (JPEG + bytes(2000), MediaType.JPEG),
        (PDF, MediaType.PDF),
        (PNG, MediaType.PNG),
        (TIFF_LITTLE, MediaType.TIFF),
        (TIFF_BIG, MediaType.TIFF),
    ],
)
def test_accepted_types(content: bytes, media_type: MediaType) -> None:
    assert inspect(content) == (media_type, len(content), hashlib.sha256(content).digest())


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", EmptyDocumentError),
        (b"x", UnsupportedTypeError),
        (b"PK\x03\x04" + bytes(100), UnsupportedTypeError),
        (b" %PDF-1.7 %%EOF", UnsupportedTypeError),
        (b"\xff\xd8", UnsupportedTypeError),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedTypeError),
        (JPEG[:-1], DocumentTruncatedError),
        (JPEG + bytes(2100), DocumentTruncatedError),
        (PDF[:-4], DocumentTruncatedError),
        (PNG[:-1], DocumentTruncatedError),
        (TIFF_LITTLE[:21], DocumentTruncatedError),
        (TIFF_BIG[:21], DocumentTruncatedError),
        (b"II*\0", DocumentTruncatedError),
        (b"%PDF-", DocumentTruncatedError),
        (b"II*\0" + b"\xff" * 40, DocumentTruncatedError),
    ],
)
def test_refused_documents(content: bytes, refusal: type[BadDocumentError]) -> None:
    assert inspect(content) is refusal


CONTENT = st.sampled_from(
    [JPEG, PDF, PNG, TIFF_BIG, TIFF_LITTLE, JPEG[:-1], PDF[:-3], TIFF_BIG[:21], b"II*\0", b"", b"ab"]
)


@given(CONTENT, st.lists(st.integers(0, 5000)), st.binary(max_size=3000))
def test_how_it_comes_in_pieces_changes_nothing(content: bytes, cuts: list[int], tail: bytes) -> None:
    assert inspect(content + tail, cuts) == inspect(content + tail)


def test_the_limit_is_exact() -> None:
    inspection = Inspection()
    inspection.add(PNG_HEAD + bytes(DOCUMENT_BYTES_MAX - 8))
    assert inspection.size == DOCUMENT_BYTES_MAX
    with pytest.raises(DocumentTooLargeError):
        inspection.add(b"x")
    with pytest.raises(DocumentTooLargeError):
        Inspection().add(bytes(DOCUMENT_BYTES_MAX + 1))
