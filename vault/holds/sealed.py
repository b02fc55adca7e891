"""Sealed holds (H11): authority, docket and reason are encrypted to counsel's public key, and kept nowhere else.

HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM, in one piece: the encapsulated key, then the ciphertext. The
vault has no key that opens it. Sealed to which vault and hold it belongs, it cannot be put under another one.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from keystore import context
from vault import canonical
from vault.errors import HoldRefusedError

__all__ = ["Confidence", "draw_key", "opens", "seal", "unseal"]

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_BLOCK_BYTES: Final = 512
"""Sizes of what is sealed, so that a docket's length says nothing."""
_HEAD: Final = "shredvault-counsel-key-v1:"


@dataclass(frozen=True, slots=True)
class Confidence:
    """What only counsel may know of a hold."""

    authority: str
    docket: str
    reason: str | None


def seal(public_key: str, vault_id: bytes, hold_id: str, confidence: Confidence) -> bytes:
    """Encrypt to counsel's key, which the policy has in base64."""
    text = canonical.encode(asdict(confidence))
    padded = text.ljust(-(-len(text) // _BLOCK_BYTES) * _BLOCK_BYTES)
    return _SUITE.encrypt(
        padded, X25519PublicKey.from_public_bytes(base64.b64decode(public_key)), _info(vault_id, hold_id)
    )


def unseal(private_key: str, vault_id: bytes, hold_id: str, sealed: bytes) -> Confidence:
    """Decrypt with counsel's private key, as `draw_key` wrote it.

    Raises:
        HoldRefusedError: the key is none, or another one; or this was sealed for another hold.
    """
    try:
        text = _SUITE.decrypt(sealed, _private(private_key), _info(vault_id, hold_id))
    except InvalidTag as wrong:
        message = "This key does not open the hold: it is another key, or the hold was sealed for another vault."
        raise HoldRefusedError(message) from wrong
    return Confidence(**json.loads(text))


def draw_key() -> tuple[str, str]:
    """A new pair of keys: the private one, for counsel alone, and the public one for the policy, in base64."""
    key = X25519PrivateKey.generate()
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return _HEAD + base64.b64encode(raw).decode(), _public(key)


def opens(private_key: str, public_key: str) -> bool:
    """Whether a private key is the one of a public key.

    Raises:
        HoldRefusedError: it is no private key.
    """
    return _public(_private(private_key)) == public_key


def _public(key: X25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def _private(text: str) -> X25519PrivateKey:
    try:
        if not text.strip().startswith(_HEAD):
            raise ValueError  # noqa: TRY301  # one refusal for all that is wrong with it
        raw = base64.b64decode(text.strip().removeprefix(_HEAD), validate=True)
        return X25519PrivateKey.from_private_bytes(raw)
    except ValueError as broken:
        message = "This is no private key of counsel's; `shredvault hold keygen` makes one."
        raise HoldRefusedError(message) from broken


def _info(vault_id: bytes, hold_id: str) -> bytes:
    return context("shredvault/hold/v1", vault_id, hold_id.encode())
