"""Signed notes, checkpoints and cosignatures (C2SP signed-note, tlog-checkpoint, tlog-cosignature).

A checkpoint is a few lines of text: whose log, how many entries, the root. Below stand signatures, one a line: the
log's own (Ed25519) and those of witnesses, who sign only what continues everything that they signed before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vault.errors import LedgerBrokenError

from .merkle import HASH_BYTES

__all__ = [
    "COSIGNATURE",
    "ED25519",
    "NOTE_LIMIT_BYTES",
    "Checkpoint",
    "Cosigned",
    "VerifierKey",
    "bears_cosignature",
    "check_cosignature",
    "check_note",
    "checkpoint_of",
    "cosigned_message",
    "signature_line",
]

NOTE_LIMIT_BYTES: Final = 64 * 1024
SIGNATURES_LIMIT: Final = 64
ED25519: Final = 1
"""Type of a key that signs notes as they are."""
COSIGNATURE: Final = 4
"""Type of a witness's key: it signs a note together with an instant."""
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_STAMP: Final = struct.Struct(">Q")
_NAME: Final = re.compile(r"[^\s+\x00-\x1f]{1,200}")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name of its owner, written `name+id+key`."""

    name: str
    type: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a verifier key.

        Raises:
            LedgerBrokenError: it is none, or of a type that is not known here.
        """
        name, _, rest = text.strip().partition("+")
        number, _, encoded = rest.partition("+")
        raw = _decode(encoded)
        if _NAME.fullmatch(name) is None or len(raw) != 1 + _KEY_BYTES or raw[0] not in (ED25519, COSIGNATURE):
            raise LedgerBrokenError("This is no verifier key of a kind known here; `shredvault ledger key` prints one.")
        key = cls(name, raw[0], raw[1:])
        if key.id.hex() != number:
            raise LedgerBrokenError("The verifier key is mistyped: its number does not fit.")
        return key

    @property
    def id(self) -> bytes:
        """Four bytes that stand before each of its signatures."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.type]) + self.public).decode()}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: so many entries, and the root over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A witness's word: at this instant the checkpoint continued everything it had seen of the log."""

    witness: str
    at: datetime


def checkpoint_of(note: str) -> Checkpoint:
    """What a signed checkpoint says; its signatures are not looked at. Lines after the root are passed over.

    Raises:
        LedgerBrokenError: it is no checkpoint.
    """
    text, _ = _split(note)
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or _SIZE.fullmatch(lines[1]) is None:  # noqa: PLR2004  # three lines and an end
        raise LedgerBrokenError("This is no checkpoint.")
    root = _decode(lines[2])
    if len(root) != HASH_BYTES:
        raise LedgerBrokenError("This is no checkpoint.")
    return Checkpoint(lines[0], int(lines[1]), root)


def signature_line(key: VerifierKey, signature: bytes) -> str:
    """One signature, as it stands below a note."""
    return f"\N{EM DASH} {key.name} {base64.b64encode(key.id + signature).decode()}\n"


def check_note(note: str, keys: Iterable[VerifierKey]) -> Checkpoint:
    """Check that one of `keys` has signed the checkpoint.

    Raises:
        LedgerBrokenError: it is no checkpoint, none of them signed it, or a signature of theirs is wrong.
    """
    text, lines = _split(note)
    signed = False
    for key in keys:
        for signature in _signatures(lines, key):
            _verify(key, signature, text.encode())
            signed = True
    if not signed:
        raise LedgerBrokenError("The checkpoint is not signed by a key of this log.")
    return checkpoint_of(note)


def bears_cosignature(note: str, witness: VerifierKey) -> bool:
    """Whether a line below the checkpoint claims to be this witness's.

    Raises:
        LedgerBrokenError: it is no signed note.
    """
    _, lines = _split(note)
    return bool(_signatures(lines, witness))


def check_cosignature(note: str, witness: VerifierKey) -> Cosigned:
    """Check the newest cosignature of a witness on a checkpoint.

    Raises:
        LedgerBrokenError: there is none, or it is wrong.
    """
    text, lines = _split(note)
    stamps = []
    for signature in _signatures(lines, witness):
        if witness.type != COSIGNATURE or len(signature) < _STAMP.size:
            raise LedgerBrokenError("This is no cosignature of a witness.")
        (stamp,) = _STAMP.unpack(signature[: _STAMP.size])
        _verify(witness, signature[_STAMP.size :], cosigned_message(text, stamp))
        stamps.append(stamp)
    if not stamps:
        raise LedgerBrokenError("The checkpoint does not bear this witness's cosignature.")
    try:
        return Cosigned(witness.name, datetime.fromtimestamp(max(stamps), UTC))
    except (ValueError, OverflowError, OSError) as absurd:
        raise LedgerBrokenError("The cosignature's instant is none.") from absurd


def cosigned_message(text: str, stamp: int) -> bytes:
    """What a witness signs: the note's text with an instant, in seconds since 1970."""
    return f"cosignature/v1\ntime {stamp}\n{text}".encode()


def _split(note: str) -> tuple[str, list[str]]:
    """The text of a note with its last line end, and its lines of signatures."""
    text, gap, below = note.rpartition("\n\n")
    lines = below.split("\n")
    if (
        len(note.encode()) > NOTE_LIMIT_BYTES
        or not gap
        or lines.pop() != ""
        or not 1 <= len(lines) <= SIGNATURES_LIMIT
        or not all(line.startswith("\N{EM DASH} ") for line in lines)
        or any(ord(character) < 32 and character != "\n" for character in text)  # noqa: PLR2004  # control characters
    ):
        raise LedgerBrokenError("This is no signed note.")
    return text + "\n", lines


def _signatures(lines: Iterable[str], key: VerifierKey) -> list[bytes]:
    found = []
    for line in lines:
        name, _, encoded = line[2:].partition(" ")
        raw = _decode(encoded)
        if name == key.name and raw[:_ID_BYTES] == key.id:
            found.append(raw[_ID_BYTES:])
    return found


def _verify(key: VerifierKey, signature: bytes, message: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except (InvalidSignature, ValueError) as wrong:
        raise LedgerBrokenError("A signature on the checkpoint is wrong.") from wrong


def _decode(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as broken:
        raise LedgerBrokenError("A part that should be base64 is not.") from broken
    if base64.b64encode(raw).decode() != text:
        raise LedgerBrokenError("A part that should be base64 is not.")
    return raw
