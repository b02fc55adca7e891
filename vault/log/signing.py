"""The vault's signing key: an Ed25519 key in `signing.json` in the home, mode 0600, made when the vault is founded.

It signs checkpoints of the ledger and certificates of destruction. It is no master: whoever has it reads nothing; he
could sign another history, and that is what witnesses and the copy in the bucket are against. It belongs in the backup
of the home.
"""

from __future__ import annotations

import base64
import hmac
import json
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vault.errors import HomeError, LedgerBrokenError
from vault.host.whole_files import write_json

from .notes import ED25519, Checkpoint, VerifierKey, signature_line

__all__ = ["SIGNING_FILE", "SigningKey", "origin_of", "vault_id_of"]

SIGNING_FILE: Final = "signing.json"
_FORMAT: Final = "shredvault/signing/v1"


class SigningKey:
    """The key with which the vault signs. It has no representation and is not pickled."""

    __slots__ = ("_private", "verifier")

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = VerifierKey(name, ED25519, private.public_key().public_bytes_raw())

    @classmethod
    def make(cls, home: Path, vault_id: bytes) -> SigningKey:
        """Make a key in a home, or take the one that is there.

        Raises:
            HomeError: there is one, and it is another vault's or cannot be read.
        """
        if not (home / SIGNING_FILE).exists():
            seed = base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
            content = {"format": _FORMAT, "name": origin_of(vault_id), "ed25519": seed}
            write_json(home / SIGNING_FILE, content)
        return cls.at(home, vault_id)

    @classmethod
    def at(cls, home: Path, vault_id: bytes) -> SigningKey:
        """Read the key of a home.

        Raises:
            HomeError: there is none, it is another vault's, is open to other users, or cannot be read.
        """
        try:
            if (home / SIGNING_FILE).stat().st_mode & 0o077:
                message = f"The signing key {home / SIGNING_FILE} is open to other users; its mode must be 0600."
                raise HomeError(message)
            content = json.loads((home / SIGNING_FILE).read_text("utf-8"))
            if (content["format"], content["name"]) != (_FORMAT, origin_of(vault_id)):
                message = f"The signing key in {home} is another vault's."
                raise HomeError(message)
            seed = base64.b64decode(content["ed25519"], validate=True)
            return cls(content["name"], Ed25519PrivateKey.from_private_bytes(seed))
        except FileNotFoundError as missing:
            message = (
                f"The signing key of the vault, {home / SIGNING_FILE}, is missing; bring it back from the backup of "
                "the home. If it is lost, `shredvault rebuild` makes another."
            )
            raise HomeError(message) from missing
        except (OSError, ValueError, KeyError, TypeError) as broken:
            message = f"The signing key in {home} cannot be read."
            raise HomeError(message) from broken

    def __reduce__(self) -> str:
        message = "a signing key is not pickled"
        raise TypeError(message)

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        return self._private.sign(message)

    def tag(self, purpose: str, message: bytes) -> bytes:
        """A tag of 32 bytes that only this key makes: HMAC-SHA-256 under a key for each purpose, by HKDF."""
        expand = HKDF(SHA256(), 32, salt=None, info=purpose.encode("ascii"))
        return hmac.digest(expand.derive(self._private.private_bytes_raw()), message, "sha256")

    def sign_checkpoint(self, size: int, root: bytes) -> str:
        """A checkpoint of this vault's log, as a signed note."""
        text = Checkpoint(self.verifier.name, size, root).text()
        return f"{text}\n{signature_line(self.verifier, self.sign(text.encode()))}"


def vault_id_of(key: VerifierKey) -> bytes:
    """Whose key it is.

    Raises:
        LedgerBrokenError: it is no vault's.
    """
    kind, _, number = key.name.partition("/")
    try:
        vault_id = bytes.fromhex(number)
    except ValueError:
        vault_id = b""
    if kind != "shredvault" or origin_of(vault_id) != key.name or not vault_id or key.type != ED25519:
        message = "This is not the key of a vault's log; `shredvault ledger key` prints it."
        raise LedgerBrokenError(message)
    return vault_id


def origin_of(vault_id: bytes) -> str:
    """The name of a vault's log and of its key."""
    return f"shredvault/{vault_id.hex()}"
