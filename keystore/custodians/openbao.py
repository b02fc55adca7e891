"""The OpenBao custodian: masters are keys of a Transit engine, which encrypts and decrypts and keeps them to itself.

A master is the Transit key `PREFIX` + name + `.` + 16 random letters: creating a Transit key that exists is answered
like creating a new one, so creators settle whose it is by the protocol of `claiming`. It is `aes256-gcm96`, not
exportable, without plaintext backup, not derived, not imported; that is read back before every use. A key that
somebody has rotated stays usable, and all its versions go with it when it is destroyed.

**Soft-deletion is not destruction.** A soft-deleted key refuses to work and can be restored, so it counts as live,
and `destroy` deletes it in earnest: it sets `deletion_allowed`, deletes, and lists the keys again.

**Encrypting must not create keys.** Transit makes a missing key on encryption, which would bring a destroyed name
back to life; the engine must have `disable_upsert` set, or nothing is wrapped.

A wrap is the key's version (4 bytes, big-endian), then what Transit gave: 12 bytes of nonce, ciphertext and tag. The
plaintext is the root key and the SHA-256 of `bound_to`; `bound_to` is associated data as well, but a server that does
not know that parameter drops it in silence, and the digest inside cannot be dropped.

Root keys travel as base64 in JSON. Each call leaves several immutable copies of them in the buffers of requests,
http.client and json, and in the memory of OpenBao; none can be wiped. Processes that held keys are replaced after a
destruction for that reason.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import quote

from keystore.errors import CustodianError, CustodianUnavailableError, MasterGoneError, SealBrokenError
from keystore.secret import KEY_BYTES, Key, wipe

from .claiming import checked_name, claim, is_name, settled
from .contract import Assurance, MasterState
from .credentials import Ask, Credential
from .openbao_http import OpenBaoUri, TransitEngine, parse

__all__ = ["OpenBaoCustodian"]

_TOKEN_VARIABLES: Final = ("SHREDVAULT_OPENBAO_TOKEN", "BAO_TOKEN")
_CREDENTIAL: Final = "secret_token"
_VERSION_BYTES: Final = 4
_DIGEST_BYTES: Final = 32
_OVERHEAD_BYTES: Final = 12 + 16
_WRAPPED_BYTES: Final = _VERSION_BYTES + KEY_BYTES + _DIGEST_BYTES + _OVERHEAD_BYTES
_BROKEN: Final = ("message authentication failed", "invalid ciphertext")
_ORDERED: Final[dict[str, Any]] = {
    "type": "aes256-gcm96",
    "derived": False,
    "exportable": False,
    "allow_plaintext_backup": False,
}
_READ_BACK: Final[dict[str, Any]] = {**_ORDERED, "imported_key": False}


class OpenBaoCustodian:
    """Keeps masters in a Transit engine. See `Custodian` for the contract of each method."""

    def __init__(self, uri: OpenBaoUri, token: Credential) -> None:
        """Nothing is sent yet: a vault opens while its custodian is sealed, and says so when it needs a key."""
        self._uri = uri
        self._engine = TransitEngine(uri, token)

    @classmethod
    def from_uri(cls, uri: str, ask: Ask | None) -> Self:
        """Open `openbao:https://host:8200/transit?token-file=/path&prefix=shredvault-&ca-file=/path&timeout=10`.

        Raises:
            CustodianError: the URI is wrong, or the token is missing.
        """
        parsed = parse(uri)
        token = Credential(
            "OpenBao token", uri, file=parsed.token_file, variables=_TOKEN_VARIABLES, credential=_CREDENTIAL, ask=ask
        )
        token.read()
        return cls(parsed, token)

    @property
    def uri(self) -> str:
        """The URI; the token is not in it."""
        return self._uri.text

    @property
    def assurance(self) -> Assurance:
        """Software assurance."""
        return Assurance(
            kind="software",
            takes_effect="at once",
            can_be_cancelled=False,
            copies=(
                "OpenBao keeps its keys encrypted in its storage. Backups, snapshots and replicas of that storage, "
                "with the unseal keys, still hold the key; this custodian makes no promise about them."
            ),
        )

    @property
    def ends_masters(self) -> bool:
        """See `Custodian.ends_masters`: keys stay in Transit."""
        return False

    def create(self, name: str, ends_at: datetime | None = None) -> None:  # noqa: ARG002  # masters here never end
        """See `Custodian.create`."""
        checked_name(name)
        stem = self._stem(name)

        def look() -> list[str]:
            return [key.removeprefix(stem).removeprefix(".") for key in self._keys(name)]

        claim(name, look, lambda mine: self._make(f"{stem}.{mine}", name), lambda mine: self._delete(f"{stem}.{mine}"))

    def wrap(self, name: str, key: Key, bound_to: bytes) -> bytes:
        """See `Custodian.wrap`: 96 bytes."""
        checked_name(name)
        if self._settings().get("disable_upsert") is not True:
            message = (
                "OpenBao's Transit engine would make a missing key on encryption, and so bring a destroyed name back "
                f"to life. Switch that off: bao write {self._uri.mount}/config/keys disable_upsert=true"
            )
            raise CustodianError(message)
        master = self._settled(name)
        self._check(master, name)
        plain = key.reveal() + hashlib.sha256(bound_to).digest()
        try:
            body = {"plaintext": _text(plain), "associated_data": _text(bound_to)}
        finally:
            wipe(plain)
        answer = self._engine.request("POST", f"encrypt/{quote(master)}", body)
        if answer.status is not HTTPStatus.OK:
            raise self._why(name, master, answer.errors)
        return _packed(answer.data)

    def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        """See `Custodian.unwrap`."""
        checked_name(name)
        master = self._settled(name)
        facts = self._check(master, name)
        version = int.from_bytes(wrapped[:_VERSION_BYTES], "big")
        # Transit takes v0 for another way to write v1.
        if len(wrapped) != _WRAPPED_BYTES or not 1 <= version <= facts.get("latest_version", 0):
            raise SealBrokenError
        if version < max(facts.get("min_decryption_version", 0), facts.get("min_available_version", 0)):
            message = (
                f"Somebody has forbidden version {version} of the master {name} in OpenBao. "
                "Set min_decryption_version back, if that version is still there."
            )
            raise CustodianError(message)
        ciphertext = f"vault:v{version}:{_text(wrapped[_VERSION_BYTES:])}"
        body = {"ciphertext": ciphertext, "associated_data": _text(bound_to)}
        answer = self._engine.request("POST", f"decrypt/{quote(master)}", body)
        if answer.status is not HTTPStatus.OK:
            raise self._why(name, master, answer.errors)
        return _opened(answer.data, bound_to)

    def describe(self, name: str) -> MasterState:
        """See `Custodian.describe`: LIVE also while a key is only soft-deleted."""
        checked_name(name)
        return MasterState.LIVE if self._keys(name) else MasterState.ABSENT

    def expires_at(self, name: str) -> None:
        """See `Custodian.expires_at`: keys stay in Transit until they are deleted."""
        if self.describe(name) is MasterState.ABSENT:
            message = f"There is no master named {name}."
            raise MasterGoneError(message)

    def destroy(self, name: str) -> None:
        """See `Custodian.destroy`: every key of the name, all versions, soft-deleted ones too; then listed again."""
        checked_name(name)
        for key in self._keys(name):
            self._delete(key)
        if self.describe(name) is not MasterState.ABSENT:
            message = f"OpenBao still has the master {name} after its destruction."
            raise CustodianError(message)

    def names(self) -> frozenset[str]:
        """See `Custodian.names`."""
        ours = (key.removeprefix(self._uri.prefix) for key in self._all() if key.startswith(self._uri.prefix))
        return frozenset(name for name in (key.partition(".")[0] for key in ours) if is_name(name))

    def _stem(self, name: str) -> str:
        return self._uri.prefix + name

    def _all(self) -> list[str]:
        answer = self._engine.request("LIST", "keys")
        if answer.status is HTTPStatus.OK:
            return [str(key) for key in answer.data["keys"]]
        # No keys at all is answered like no engine at all; an engine that was unmounted is no proof of a destruction.
        self._settings()
        return []

    def _settings(self) -> dict[str, Any]:
        answer = self._engine.request("GET", "config/keys")
        if answer.status is not HTTPStatus.OK:
            message = f"OpenBao has no Transit engine at {self._uri.mount}."
            raise CustodianUnavailableError(message)
        return answer.data

    def _keys(self, name: str) -> list[str]:
        """The Transit keys of a name: its master, and while a race goes on, losing candidates."""
        stem = self._stem(name)
        return [key for key in self._all() if key == stem or key.startswith(f"{stem}.")]

    def _settled(self, name: str) -> str:
        return settled(name, lambda: self._keys(name))

    def _make(self, key: str, name: str) -> None:
        self._done("POST", f"keys/{quote(key)}", _ORDERED)
        self._check(key, name)

    def _delete(self, key: str) -> None:
        # Each may fail because somebody else has just deleted it. Whether it is gone is asked by the caller.
        self._engine.request("POST", f"keys/{quote(key)}/config", {"deletion_allowed": True})
        self._engine.request("DELETE", f"keys/{quote(key)}")

    def _done(self, method: str, path: str, body: dict[str, Any]) -> None:
        answer = self._engine.request(method, path, body)
        if answer.status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
            message = f"OpenBao does not do what a custodian must do ({_first(answer.errors)})."
            raise CustodianError(message)

    def _check(self, key: str, name: str) -> dict[str, Any]:
        """Refuse a key that is not what `create` makes."""
        answer = self._engine.request("GET", f"keys/{quote(key)}")
        if answer.status is not HTTPStatus.OK:
            message = f"There is no master named {name}."
            raise MasterGoneError(message)
        facts = answer.data
        wrong = sorted(word for word, value in _READ_BACK.items() if facts.get(word, False) != value)
        if wrong:
            message = (
                f"The key {name} in OpenBao is not one that was made there and cannot leave it ({', '.join(wrong)}), "
                "so it is not used."
            )
            raise CustodianError(message)
        if facts.get("soft_deleted"):
            message = (
                f"Somebody has soft-deleted the master {name} in OpenBao. It is not destroyed, and can be restored: "
                f"bao write -f {self._uri.mount}/keys/{key}/soft-delete-restore"
            )
            raise CustodianError(message)
        return facts

    def _why(self, name: str, master: str, errors: tuple[str, ...]) -> CustodianError | SealBrokenError:
        """What a refused encryption or decryption means."""
        if master not in self._keys(name):
            return MasterGoneError(f"There is no master named {name}.")
        if any(word in error for error in errors for word in _BROKEN):
            return SealBrokenError()
        return CustodianError(f"OpenBao does not use the master {name} ({_first(errors)}).")


def _text(data: bytes | bytearray) -> str:
    return b64encode(data).decode("ascii")


def _first(errors: tuple[str, ...]) -> str:
    return str(errors[0])[:120] if errors else "no reason given"


def _packed(data: dict[str, Any]) -> bytes:
    try:
        scheme, version, ciphertext = str(data["ciphertext"]).split(":")
        packed = int(version.removeprefix("v")).to_bytes(_VERSION_BYTES, "big") + b64decode(ciphertext, validate=True)
    except (KeyError, ValueError, OverflowError) as error:
        message = "OpenBao's ciphertext is not of the form that Transit gives."
        raise CustodianError(message) from error
    if scheme != "vault" or len(packed) != _WRAPPED_BYTES:
        message = "OpenBao's ciphertext is not of the form that Transit gives."
        raise CustodianError(message)
    return packed


def _opened(data: dict[str, Any], bound_to: bytes) -> Key:
    try:
        plain = bytearray(b64decode(data["plaintext"], validate=True))
    except (KeyError, TypeError, binascii.Error):
        raise SealBrokenError from None
    try:
        if len(plain) != KEY_BYTES + _DIGEST_BYTES:
            raise SealBrokenError
        if not hmac.compare_digest(plain[KEY_BYTES:], hashlib.sha256(bound_to).digest()):
            raise SealBrokenError
        return Key.copy_of(memoryview(plain)[:KEY_BYTES])
    finally:
        wipe(plain)
