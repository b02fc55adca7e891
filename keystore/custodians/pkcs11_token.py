"""One token of a PKCS#11 module, logged in, from this process; the wall between PKCS#11's errors and ours.

Why it is built like this:

* python-pkcs11 initialises modules without asking them for locks, so no two threads may be inside one at the same
  time, and a login holds for the whole process. There is one gate for all calls of the process; an HSM call takes a
  millisecond or so.
* A logged-out session does not fail: it shows no private objects, which would look like a destruction. So each login
  has a *witness*, a private object that lives as long as the login, and an empty answer counts only while the witness
  is seen.
* After a fork the child has to initialise the module itself (PKCS#11 3.0, 2.6.1). The gate is held across the fork,
  so that the child does not inherit a call in mid-flight.
* A refused PIN is tried once by each custodian that is opened, and never when the token says that its last try is
  left: a service that is restarted again and again must not lock the token.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag, Session, Token, TokenFlag
from pkcs11.exceptions import (
    ArgumentsBad,
    AttributeTypeInvalid,
    AttributeValueInvalid,
    DeviceMemory,
    FunctionNotSupported,
    MechanismInvalid,
    MechanismParamInvalid,
    ObjectHandleInvalid,
    PinExpired,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    SessionReadOnly,
    TemplateIncomplete,
    TemplateInconsistent,
    TokenNotPresent,
    TokenNotRecognised,
    TokenWriteProtected,
    UserAlreadyLoggedIn,
    UserPinNotInitialized,
)

from keystore.errors import CustodianError, CustodianUnavailableError

from .credentials import Credential
from .pkcs11_uri import Pkcs11Uri, TokenFacts

__all__ = ["Pkcs11Token"]

_Result = TypeVar("_Result")
_WITNESS: Final = "shredvault-witness"
_WITNESS_BYTES: Final = 16
_SEARCHES: Final = 50
_FINDS: Final = 6
_FIND_PAUSE_S: Final = 0.03
_PIN_REFUSED: Final = (PinIncorrect, PinInvalid, PinLenRange, PinLocked, PinExpired, UserPinNotInitialized)
_REFUSED: Final = (
    *(ArgumentsBad, AttributeTypeInvalid, AttributeValueInvalid, FunctionNotSupported, MechanismInvalid),
    *(MechanismParamInvalid, TemplateIncomplete, TemplateInconsistent),
)
_FULL_OR_LOCKED: Final = (DeviceMemory, SessionReadOnly, TokenWriteProtected)


class _LoggedOutError(PKCS11Error):
    """The session no longer sees the witness of its login."""


class _OtherTokenError(PKCS11Error):
    """Another token is in the slot."""


@dataclass(frozen=True)
class _Login:
    session: Session
    witness: bytes


class _Module:
    """A module as this process has loaded it, and its sessions: one for each token. Used only with the gate held."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.logins: dict[int, _Login] = {}
        self._stale = False

    def library(self) -> Any:
        """The loaded and initialised module."""
        library = pkcs11.lib(self.path)
        if self._stale:
            # The module may have noticed the fork or the loss itself, and then has nothing to finalise.
            with contextlib.suppress(PKCS11Error):
                library.finalize()
            library.initialize()
            self._stale = False
        return library

    def forget(self) -> None:
        """Take no session for valid any more; the next use initialises the module again."""
        self.logins.clear()
        self._stale = True


_GATE: Final = threading.Lock()
_MODULES: Final[dict[str, _Module]] = {}


def _in_the_child() -> None:
    for module in _MODULES.values():
        module.forget()
    _GATE.release()


os.register_at_fork(before=_GATE.acquire, after_in_parent=_GATE.release, after_in_child=_in_the_child)


class Pkcs11Token:
    """The one token that a URI means."""

    def __init__(self, uri: Pkcs11Uri, pin: Credential) -> None:
        """Load the module, find the token, log in.

        Raises:
            CustodianUnavailableError: the token is not there now.
            CustodianError: the module cannot be loaded, not exactly one token matches, or the PIN is refused.
        """
        self._uri = uri
        self._pin = pin
        self._pin_refused = False
        self._slot = -1
        with _GATE:
            self._module = _MODULES.setdefault(str(uri.module), _Module(str(uri.module)))
        self.manufacturer: str = self.run(lambda session: session.token.manufacturer_id)

    def run(self, work: Callable[[Session], _Result]) -> _Result:
        """Do `work` in a session that is logged in. After an error that a new connection may mend, once more in one.

        Args:
            work: what to do; safe to repeat. Our own errors pass through it.

        Raises:
            CustodianUnavailableError: the token is not there, or fails twice.
            CustodianError: the token refuses what was asked.
        """
        with _GATE, _turns(self._uri.pin_file):
            try:
                with _refusals_translated():
                    return work(self._logged_in())
            except PKCS11Error:
                self._module.forget()
            with _failures_translated(), _refusals_translated():
                return work(self._logged_in())

    def reconnect(self) -> None:
        """Make the next use initialise the module and log in anew, so that it does not answer out of memory.

        SoftHSM goes on answering out of memory after its folder has been taken away, and reports the destruction of
        keys that are still on the disk that was unmounted. And a process that has just made or destroyed a key may
        overlook what another process did at the same time.
        """
        with _GATE:
            self._module.forget()

    def search(self, session: Session, template: dict[Attribute, Any], read: Attribute) -> list[tuple[Any, Any]]:
        """All objects that match, asked of the token and never of memory; only within `run`.

        Returns:
            Each object with one of its attributes, empty bytes where it has none such.
        """
        for _ in range(_SEARCHES):
            try:
                # The search is ended before anything else is asked: a session does one thing at a time.
                found = [(key, _attribute(key, read)) for key in list(session.get_objects(template))]
            except ObjectHandleInvalid:
                # Another process destroyed one of them while we looked.
                continue
            if not found:
                witness = self._module.logins[self._slot].witness
                if not list(session.get_objects({Attribute.LABEL: _WITNESS, Attribute.ID: witness})):
                    raise _LoggedOutError
            return found
        raise ObjectHandleInvalid

    def _logged_in(self) -> Session:
        if self._slot not in self._module.logins:
            token = self._find_patiently()
            self._slot = token.slot.slot_id
            if self._slot not in self._module.logins:
                self._module.logins[self._slot] = self._log_in(token)
        session = self._module.logins[self._slot].session
        if session.token.slot.get_token().serial != session.token.serial:
            raise _OtherTokenError
        return session

    def _find_patiently(self) -> Token:
        """Find the token, also one that has come since the module was initialised.

        A token of SoftHSM is missing for a moment while another process logs in, which rewrites its file.
        """
        for _ in range(_FINDS - 1):
            try:
                return self._find()
            except CustodianUnavailableError:
                self._module.forget()
                time.sleep(_FIND_PAUSE_S)
        return self._find()

    def _find(self) -> Token:
        try:
            library = self._module.library()
            found: list[Token] = []
            for slot in library.get_slots(token_present=True):
                with contextlib.suppress(TokenNotPresent, TokenNotRecognised):
                    token = slot.get_token()
                    if token.flags & TokenFlag.TOKEN_INITIALIZED and self._uri.matches(_facts(library, token)):
                        found.append(token)
        except PKCS11Error as error:
            if type(error) is not PKCS11Error:
                message = f"The PKCS#11 module {self._module.path} does not start ({type(error).__name__})."
                raise CustodianUnavailableError(message) from error
            # The linker's complaint comes as the bare class.
            message = f"The PKCS#11 module cannot be loaded: {self._module.path}"
            raise CustodianError(message) from error
        if not found:
            message = "No token of the PKCS#11 module matches the custodian's URI. Is the HSM there, and switched on?"
            raise CustodianUnavailableError(message)
        if len(found) > 1:
            message = f"{len(found)} tokens match the custodian's PKCS#11 URI; add serial= so that exactly one does."
            raise CustodianError(message)
        return found[0]

    def _log_in(self, token: Token) -> _Login:
        if self._pin_refused:
            message = "The token refused the PIN before; it is not tried again, so that the token does not get locked."
            raise CustodianError(message)
        if token.flags & (TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_LOCKED):
            message = (
                "The token says that its PIN is locked or has one try left. Log in once with the token's own tool, "
                "which resets the count, and start again."
            )
            raise CustodianError(message)
        try:
            session = token.open(rw=True, user_pin=self._pin.read())
        except UserAlreadyLoggedIn:
            # By another user of the module in this process. The witness tells should it log out again.
            session = token.open(rw=True)
        except _PIN_REFUSED as error:
            self._pin_refused = True
            message = (
                f"The token refuses the PIN ({type(error).__name__}); it was tried once. Correct it where it stands: "
                "more refusals lock the token."
            )
            raise CustodianError(message) from error
        witness = os.urandom(_WITNESS_BYTES)
        session.generate_key(
            KeyType.AES,
            256,
            label=_WITNESS,
            id=witness,
            capabilities=MechanismFlag.ENCRYPT,
            template={Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )
        return _Login(session, witness)


@contextlib.contextmanager
def _turns(pin_file: Path | None) -> Iterator[None]:
    """Take turns with the other processes of this host that use the same PIN file.

    Each login rewrites the file of a SoftHSM token, and who reads it meanwhile finds a broken one. The PIN file is the
    lock, since no other user can open it.
    """
    try:
        descriptor = os.open(pin_file, os.O_RDONLY | os.O_CLOEXEC) if pin_file else None
    except OSError:
        # Said better where the PIN is read.
        descriptor = None
    try:
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _attribute(key: Any, attribute: Attribute) -> Any:
    try:
        return key[attribute]
    except (AttributeTypeInvalid, UnicodeDecodeError):
        return b""


def _facts(library: Any, token: Token) -> TokenFacts:
    slot = token.slot
    return TokenFacts(
        {
            "token": token.label,
            "manufacturer": token.manufacturer_id,
            "model": token.model,
            "serial": token.serial.decode("utf-8", "replace"),
            "slot-id": str(slot.slot_id),
            "slot-description": slot.slot_description,
            "slot-manufacturer": slot.manufacturer_id,
            "library-manufacturer": library.manufacturer_id,
            "library-description": library.library_description,
        }
    )


@contextlib.contextmanager
def _refusals_translated() -> Iterator[None]:
    """Errors that no repetition mends."""
    try:
        yield
    except _REFUSED as error:
        message = f"The token does not do what a custodian must do ({type(error).__name__})."
        raise CustodianError(message) from error
    except _FULL_OR_LOCKED as error:
        message = f"The token takes no more keys: it is full or write-protected ({type(error).__name__})."
        raise CustodianError(message) from error


@contextlib.contextmanager
def _failures_translated() -> Iterator[None]:
    try:
        yield
    except PKCS11Error as error:
        message = f"The HSM does not answer as it should ({type(error).__name__})."
        raise CustodianUnavailableError(message) from error
