"""Signed notes and cosignatures: public vectors, and every way in which one is not what it seems."""

import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.errors import LedgerBrokenError
from vault.log.notes import (
    COSIGNATURE,
    ED25519,
    Checkpoint,
    VerifierKey,
    check_cosignature,
    check_note,
    checkpoint_of,
    cosigned_message,
    signature_line,
)

# From the documentation of Go's package sumdb/note, and the key of Go's checksum database.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "\N{EM DASH} PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
GO_DATABASE = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

LOG, WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(32)), Ed25519PrivateKey.from_private_bytes(b"w" * 32)
LOG_KEY = VerifierKey("shredvault/ab", ED25519, LOG.public_key().public_bytes_raw())
WITNESS_KEY = VerifierKey("witness.example", COSIGNATURE, WITNESS.public_key().public_bytes_raw())
CHECKPOINT = Checkpoint("shredvault/ab", 3, bytes(range(32)))


def signed() -> str:
    text = CHECKPOINT.text()
    return f"{text}\n{signature_line(LOG_KEY, LOG.sign(text.encode()))}"


def cosigned(stamp: int = 1_700_000_000) -> str:
    signature = struct.pack(">Q", stamp) + WITNESS.sign(cosigned_message(CHECKPOINT.text(), stamp))
    return signed() + signature_line(WITNESS_KEY, signature)


def test_verifier_keys_of_others() -> None:
    for text in (NEUMANN, GO_DATABASE, str(LOG_KEY), str(WITNESS_KEY)):
        assert str(VerifierKey.parse(text)) == text
    for wrong in (NEUMANN.replace("c74f", "c74e"), NEUMANN[:-1], "a b+c74f20a3+ARpc", "", "++", NEUMANN + "="):
        with pytest.raises(LedgerBrokenError):
            VerifierKey.parse(wrong)


def test_the_signature_of_another_implementation() -> None:
    """It is right, so what is refused is only that the note is no checkpoint."""
    with pytest.raises(LedgerBrokenError, match="no checkpoint"):
        check_note(NEUMANN_NOTE, [VerifierKey.parse(NEUMANN)])
    with pytest.raises(LedgerBrokenError, match="signature on the checkpoint is wrong"):
        check_note(NEUMANN_NOTE.replace("your", "my", 1), [VerifierKey.parse(NEUMANN)])


def test_a_signed_checkpoint() -> None:
    assert check_note(signed(), [LOG_KEY]) == CHECKPOINT
    assert check_note(cosigned(), [WITNESS_KEY, LOG_KEY][1:]) == CHECKPOINT
    assert checkpoint_of(signed()) == CHECKPOINT


def test_a_checkpoint_of_nobody_known() -> None:
    other = VerifierKey(LOG_KEY.name, ED25519, WITNESS_KEY.public)
    for keys in ([], [other], [WITNESS_KEY]):
        with pytest.raises(LedgerBrokenError, match="not signed"):
            check_note(signed(), keys)


def test_every_changed_byte_is_seen() -> None:
    note = signed().encode()
    for place in range(len(note)):
        for bit in (1, 0x20):
            changed = bytearray(note)
            changed[place] ^= bit
            with pytest.raises(LedgerBrokenError):
                check_note(changed.decode("utf-8", "replace"), [LOG_KEY])


def test_a_cosignature() -> None:
    seen = check_cosignature(cosigned(), WITNESS_KEY)
    assert (seen.witness, seen.at.timestamp()) == ("witness.example", 1_700_000_000)
    with pytest.raises(LedgerBrokenError, match="does not bear"):
        check_cosignature(signed(), WITNESS_KEY)
    line = cosigned().rpartition("\n\n")[2]
    other = Checkpoint("shredvault/ab", 4, bytes(range(32))).text()
    with pytest.raises(LedgerBrokenError, match="wrong"):
        check_cosignature(f"{other}\n{line}", WITNESS_KEY)
    late = signature_line(WITNESS_KEY, struct.pack(">Q", 1) + WITNESS.sign(cosigned_message(CHECKPOINT.text(), 2)))
    with pytest.raises(LedgerBrokenError, match="wrong"):
        check_cosignature(signed() + late, WITNESS_KEY)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "a\n1\n",
        "a\n1\nAAAA\n\n",
        signed().replace("\n3\n", "\n03\n"),
        signed()[:-1],
        signed() + "more\n",
        signed().replace("\n3\n", "\n-3\n"),
        "a\n1\n" + "A" * 70_000 + "\n\n\N{EM DASH} x AAAA\n",
        signed().replace("\N{EM DASH} ", "- "),
        "a\r\n1\nAAAA\n\n\N{EM DASH} x AAAA\n",
    ],
)
def test_what_is_no_checkpoint(note: str) -> None:
    with pytest.raises(LedgerBrokenError):
        checkpoint_of(note)
