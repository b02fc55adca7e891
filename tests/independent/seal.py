"""What stands alone: seals, contexts, tags, wraps, padding, list hashes. Written from `docs/spec/` alone."""

import hashlib
import hmac
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

PIECE = 16_384
TAG = 16
HEAD = 56
MAX_CHUNKS = 1 << 38


class UnreadableError(Exception):
    """It does not open. One error for every reason; it does not say which."""

    def __init__(self) -> None:
        super().__init__("unreadable")


@contextmanager
def opaque() -> Iterator[None]:
    """Turn whatever hostile bytes set off into the one error."""
    try:
        yield
    except (ArithmeticError, InvalidTag, LookupError, RecursionError, TypeError, ValueError, struct.error):
        raise UnreadableError from None


def require(*, holds: bool) -> None:
    """Refuse unless this holds."""
    if not holds:
        raise UnreadableError


def wipe(*secrets: bytearray) -> None:
    """Overwrite keys that are not needed any more."""
    for secret in secrets:
        secret[:] = bytes(len(secret))


# ---- sealed-object.md, sections 1 to 3: seal, contexts, tags


def context(label: str, *fields: bytes) -> bytes:
    """The bytes that bind a seal, a wrap or a tag to its place."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in (label.encode("ascii"), *fields))


def root_key_context(vault: bytes, tree: str, epoch: int, version: int) -> bytes:
    """Context of the wrap of a root key."""
    return context(
        "shredvault/root-key/v1", vault, tree.encode("ascii"), epoch.to_bytes(8, "big"), version.to_bytes(8, "big")
    )


def key_page_context(vault: bytes, tree: str, number: int, version: int, level: int) -> bytes:
    """Context of a key page."""
    numbers = (number.to_bytes(4, "big"), version.to_bytes(8, "big"), level.to_bytes(1, "big"))
    return context("shredvault/key-page/v1", vault, tree.encode("ascii"), *numbers)


def sheet_context(vault: bytes, record: str) -> bytes:
    """Context of a record's sheet."""
    return context("shredvault/sheet/v1", vault, record.encode("ascii"))


def slip_context(vault: bytes, record: str, document: str) -> bytes:
    """Context of a document's slip."""
    return context("shredvault/slip/v1", vault, record.encode("ascii"), document.encode("ascii"))


def document_context(vault: bytes, record: str, document: str) -> bytes:
    """Context of a document's body."""
    return context("shredvault/document/v1", vault, record.encode("ascii"), document.encode("ascii"))


def name_tag(key: bytes, record: str, name: str) -> bytes:
    """The tag of a document's name."""
    info = context("shredvault/name-tag/v1", record.encode("ascii"), name.encode())
    return HKDFExpand(SHA512(), 16, info).derive(key)


def body_tag(key: bytes, record: str, request_sha256: bytes) -> bytes:
    """The tag of the request that opened a record."""
    info = context("shredvault/body-tag/v1", record.encode("ascii"), request_sha256)
    return HKDFExpand(SHA512(), 32, info).derive(key)


@opaque()
def unseal(key: bytes | bytearray, context: bytes, blob: bytes) -> bytearray:
    """Open a sealed object, whole or not at all. What it returns can be overwritten with `wipe`."""
    chunks, last = divmod(len(blob) - HEAD, PIECE + TAG)
    require(holds=len(key) == 32 and len(blob) >= HEAD + TAG and last >= TAG and chunks < MAX_CHUNKS)
    salt, commitment = blob[:24], blob[24:HEAD]
    info = b"c2sp.org/chunked-encryption@v1+" + b"AEAD_AES_256_GCM" + b"\x00" + salt + context
    derived = bytearray(76)
    HKDFExpand(SHA512(), 76, info).derive_into(key, derived)
    message = bytearray(chunks * PIECE + last - TAG)
    try:
        require(holds=hmac.compare_digest(derived[44:], commitment))
        aead, nonce = AESGCM(derived[:32]), int.from_bytes(derived[32:44], "big")
        sealed, clear = memoryview(blob)[HEAD:], memoryview(message)
        for i in range(chunks + 1):
            chunk = sealed[i * (PIECE + TAG) : (i + 1) * (PIECE + TAG)]
            piece = clear[i * PIECE : (i + 1) * PIECE]
            aead.decrypt_into((nonce ^ i).to_bytes(12, "big"), chunk, None, piece)
    except (InvalidTag, UnreadableError):
        wipe(message)
        raise
    finally:
        wipe(derived)
    return message


# ---- key-tree.md: the file custodian and the wrap


@opaque()
def unwrap_root_key(master: bytes, context: bytes, wrapped: bytes) -> bytearray:
    """Unwrap a root key that a file custodian wrapped."""
    require(holds=len(master) == 32 and len(wrapped) == 60)
    root_key = bytearray(32)
    AESGCM(master).decrypt_into(wrapped[:12], wrapped[12:], context, root_key)
    return root_key


# ---- sealed-object.md, section 6: the padding of documents


def padme(size: int) -> int:
    """The padded size of so many bytes."""
    if size < 2:
        return size
    exponent = size.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-size // step) * step


@opaque()
def unpad(message: bytes | bytearray) -> bytes:
    """Remove the padding of a document without its slip."""
    document = bytes(message).rstrip(b"\x00")
    require(holds=document[-1:] == b"\x80" and len(message) == padme(len(document)))
    return document[:-1]


# ---- destruction.md, step 0


def merkle_root(ids: Sequence[str]) -> bytes:
    """The hash of a frozen list of record ids (destruction.md, step 0)."""
    if len(ids) <= 1:
        return hashlib.sha256(*(b"\x00" + one.encode("ascii") for one in ids)).digest()
    split = 1 << (len(ids) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(ids[:split]) + merkle_root(ids[split:])).digest()
