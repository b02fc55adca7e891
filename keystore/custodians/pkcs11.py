"""The PKCS#11 custodian: masters are AES-256 keys that were made on a token (an HSM) and cannot leave it.

A master is a secret key with the label `shredvault:NAME` and a random CKA_ID (see `claiming` for what the id is for).
Its attributes are read back after it was made and before every use: a key of the right label that somebody imported,
that can be extracted or copied, or that may be changed into one, is refused.

A wrap is AES-256-GCM with `bound_to` as associated data: 12 random bytes made here, then ciphertext and tag. PKCS#11
2.40 and 3.0 differ in who makes the nonce only for the message-based calls of 3.0, which are not used; modules that
insist on making it themselves are not supported.

What python-pkcs11 forces on us: it takes and gives `bytes`. Each wrap leaves one immutable copy of the root key, each
unwrap two (the buffer that the module wrote and the `bytes` made from it), until the interpreter reuses that memory.
They cannot be wiped; processes that held keys are replaced after a destruction for that reason. The master itself
never is in our memory, unless the token is software: SoftHSM computes in the calling process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Self, TypeVar

from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Session
from pkcs11.exceptions import (
    DataInvalid,
    DataLenRange,
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    FunctionFailed,
    GeneralError,
    ObjectHandleInvalid,
)
from pkcs11.mechanisms import GCMParams

from keystore.errors import CustodianError, MasterGoneError, SealBrokenError
from keystore.secret import KEY_BYTES, Key

from .claiming import checked_name, claim, is_name, settled
from .contract import Assurance, MasterState
from .credentials import Ask, Credential
from .pkcs11_token import Pkcs11Token
from .pkcs11_uri import parse

__all__ = ["Pkcs11Custodian"]

_Result = TypeVar("_Result")
_LABEL: Final = "shredvault:"
_PIN_VARIABLE: Final = "SHREDVAULT_PKCS11_PIN"
_CREDENTIAL: Final = "secret_pin"
_SOFTWARE_TOKENS: Final = ("SoftHSM project",)
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_WRAPPED_BYTES: Final = _NONCE_BYTES + KEY_BYTES + _TAG_BYTES
_BAD_DATA: Final = (EncryptedDataInvalid, EncryptedDataLenRange, DataInvalid, DataLenRange)
_UNCLEAR: Final = (GeneralError, FunctionFailed)
_ORDERED: Final[dict[Attribute, Any]] = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.COPYABLE: False,
    Attribute.MODIFIABLE: False,
    Attribute.DESTROYABLE: True,
}
_READ_BACK: Final[dict[Attribute, Any]] = {
    **_ORDERED,
    Attribute.CLASS: ObjectClass.SECRET_KEY,
    Attribute.KEY_TYPE: KeyType.AES,
    Attribute.VALUE_LEN: KEY_BYTES,
    Attribute.TOKEN: True,
    # Only the token sets these three: the key was made there, and was never otherwise than it is.
    Attribute.LOCAL: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.ENCRYPT: True,
    Attribute.DECRYPT: True,
    Attribute.WRAP: False,
    Attribute.UNWRAP: False,
    Attribute.SIGN: False,
    Attribute.VERIFY: False,
    Attribute.DERIVE: False,
}


class Pkcs11Custodian:
    """Keeps masters on a token. See `Custodian` for the contract of each method."""

    def __init__(self, uri: str, token: Pkcs11Token) -> None:
        """Use `token`, which is connected already."""
        self._uri = uri
        self._token = token

    @classmethod
    def from_uri(cls, uri: str, ask: Ask | None) -> Self:
        """Open `pkcs11:token=…?module-path=…&pin-source=file:/…` (RFC 7512).

        Raises:
            CustodianUnavailableError: the token is not there now.
            CustodianError: the URI is wrong, not exactly one token matches, or the PIN is missing or refused.
        """
        parsed = parse(uri)
        pin = Credential(
            "PIN of the PKCS#11 token",
            uri,
            file=parsed.pin_file,
            variables=(_PIN_VARIABLE,),
            credential=_CREDENTIAL,
            ask=ask,
        )
        return cls(uri, Pkcs11Token(parsed, pin))

    @property
    def uri(self) -> str:
        """The PKCS#11 URI. A PIN in it was refused when it was read."""
        return self._uri

    @property
    def assurance(self) -> Assurance:
        """Hardware, on the operator's word; software where the token says so itself."""
        if self._token.manufacturer in _SOFTWARE_TOKENS:
            return Assurance(
                kind="software",
                takes_effect="at once",
                can_be_cancelled=False,
                copies=(
                    "This token is a program that keeps its keys in files. Old blocks of the disk, snapshots and "
                    "backups of them, together with the PIN, still hold the key. "
                    "This custodian makes no promise about them."
                ),
            )
        return Assurance(
            kind="hardware",
            takes_effect="at once",
            can_be_cancelled=False,
            copies=(
                "The operator declares that this token is an HSM; Shredvault cannot examine it. The key was made on it "
                "and cannot be exported. Backups, clones and replicas that the HSM's maker offers hold the key until "
                "they are destroyed too."
            ),
        )

    @property
    def ends_masters(self) -> bool:
        """See `Custodian.ends_masters`: keys stay on a token."""
        return False

    def create(self, name: str, ends_at: datetime | None = None) -> None:  # noqa: ARG002  # masters here never end
        """See `Custodian.create`."""
        checked_name(name)

        def make(mine: str) -> None:
            self._token.run(lambda session: self._make(session, name, mine))

        def remove(mine: str) -> None:
            self._token.run(lambda session: self._remove(session, name, mine))

        claim(name, lambda: self._letters_afresh(name), make, remove)

    def wrap(self, name: str, key: Key, bound_to: bytes) -> bytes:
        """See `Custodian.wrap`: 60 bytes."""
        checked_name(name)
        nonce = os.urandom(_NONCE_BYTES)
        parameters = GCMParams(nonce, bound_to)

        def work(master: Any) -> bytes:
            sealed: bytes = master.encrypt(bytes(key.reveal()), mechanism=Mechanism.AES_GCM, mechanism_param=parameters)
            return sealed

        wrapped = nonce + self._use(name, work)
        if len(wrapped) != _WRAPPED_BYTES:
            message = "The token's AES-GCM does not give ciphertext and tag, so it cannot be a custodian."
            raise CustodianError(message)
        return wrapped

    def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        """See `Custodian.unwrap`."""
        checked_name(name)

        def work(master: Any) -> Key:
            if len(wrapped) != _WRAPPED_BYTES:
                raise SealBrokenError
            parameters = GCMParams(wrapped[:_NONCE_BYTES], bound_to)
            try:
                plain = master.decrypt(wrapped[_NONCE_BYTES:], mechanism=Mechanism.AES_GCM, mechanism_param=parameters)
            except _BAD_DATA as broken:
                raise SealBrokenError from broken
            except _UNCLEAR as unclear:
                # What many modules say of a wrong tag, and of trouble with the device too: then this fails as well.
                _prove(master)
                raise SealBrokenError from unclear
            return Key(bytearray(plain))

        return self._use(name, work)

    def describe(self, name: str) -> MasterState:
        """See `Custodian.describe`: LIVE while any object has the label, whoever made it."""
        checked_name(name)
        return MasterState.LIVE if self._letters_afresh(name) else MasterState.ABSENT

    def expires_at(self, name: str) -> None:
        """See `Custodian.expires_at`: keys stay on a token until they are destroyed."""
        if self.describe(name) is MasterState.ABSENT:
            message = f"There is no master named {name}."
            raise MasterGoneError(message)

    def destroy(self, name: str) -> None:
        """See `Custodian.destroy`: every object of the label, then a search after a new login."""
        checked_name(name)

        def work(session: Session) -> None:
            for _, key in self._candidates(session, name):
                _destroy(key)

        self._token.reconnect()
        self._token.run(work)
        if self.describe(name) is not MasterState.ABSENT:
            message = f"The token still has the master {name} after its destruction."
            raise CustodianError(message)

    def names(self) -> frozenset[str]:
        """See `Custodian.names`."""

        def work(session: Session) -> frozenset[str]:
            found = self._token.search(session, {Attribute.CLASS: ObjectClass.SECRET_KEY}, Attribute.LABEL)
            ours = {label.removeprefix(_LABEL) for _, label in found if label and label.startswith(_LABEL)}
            return frozenset(name for name in ours if is_name(name))

        self._token.reconnect()
        return self._token.run(work)

    def _candidates(self, session: Session, name: str) -> list[tuple[str, Any]]:
        """Every object under the name, with its letters; objects that others put there may have any, and share them."""
        found = self._token.search(session, {Attribute.LABEL: _LABEL + name}, Attribute.ID)
        return [(letters.hex(), key) for key, letters in found]

    def _letters(self, name: str) -> list[str]:
        return self._token.run(lambda session: [letters for letters, _ in self._candidates(session, name)])

    def _letters_afresh(self, name: str) -> list[str]:
        self._token.reconnect()
        return self._letters(name)

    def _use(self, name: str, work: Callable[[Any], _Result]) -> _Result:
        # Settled outside of the token's gate: a thread of this process may have to remove a losing candidate meanwhile.
        settled_on = settled(name, lambda: self._letters(name))

        def with_master(session: Session) -> _Result:
            masters = [key for letters, key in self._candidates(session, name) if letters == settled_on]
            if len(masters) > 1:
                message = f"The token has several masters named {name}, so none of them is used."
                raise CustodianError(message)
            if not masters:
                message = f"There is no master named {name}."
                raise MasterGoneError(message)
            _check(masters[0], name)
            return work(masters[0])

        return self._token.run(with_master)

    def _make(self, session: Session, name: str, mine: str) -> None:
        # A repetition after a lost connection must not leave the first attempt's key behind.
        self._remove(session, name, mine)
        key = session.generate_key(
            KeyType.AES,
            KEY_BYTES * 8,
            id=bytes.fromhex(mine),
            label=_LABEL + name,
            store=True,
            capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
            template=_ORDERED,
        )
        _check(key, name)

    def _remove(self, session: Session, name: str, mine: str) -> None:
        for letters, key in self._candidates(session, name):
            if letters == mine:
                _destroy(key)


def _destroy(key: Any) -> None:
    # Somebody else may destroy the same master at this moment; whether it is gone is read back.
    with contextlib.suppress(ObjectHandleInvalid):
        key.destroy()


def _check(key: Any, name: str) -> None:
    """Refuse a key that is not what `create` makes."""
    seen = key.get_attributes(list(_READ_BACK))
    wrong = sorted(attribute.name for attribute, value in _READ_BACK.items() if seen.get(attribute) != value)
    if wrong:
        message = (
            f"The key {name} on the token is not one that was made there and cannot leave it "
            f"({', '.join(wrong)}), so it is not used."
        )
        raise CustodianError(message)


def _prove(master: Any) -> None:
    """Encrypt and decrypt something else; a token in trouble raises."""
    parameters = GCMParams(os.urandom(_NONCE_BYTES), b"")
    sealed = master.encrypt(bytes(KEY_BYTES), mechanism=Mechanism.AES_GCM, mechanism_param=parameters)
    if master.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=parameters) != bytes(KEY_BYTES):
        raise GeneralError
