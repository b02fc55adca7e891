"""The file custodian: each master key is 32 bytes in a 0600 file, in a folder away from the data.

The embedded default. Its assurance is `software`: the file is unlinked and the folder fsynced, and nothing
is promised about old disk blocks. Overwriting before unlinking is deliberately not done: on SSDs and on
copy-on-write file systems it proves nothing.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystore.errors import (
    CustodianError,
    CustodianUnavailableError,
    MasterExistsError,
    MasterGoneError,
    SealBrokenError,
)
from keystore.secret import KEY_BYTES, Key, wipe

from .contract import Assurance, MasterState

__all__ = ["FileCustodian"]

_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_SUFFIX: Final = ".master"
_PARTIAL: Final = ".partial"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_WRAPPED_BYTES: Final = _NONCE_BYTES + KEY_BYTES + _TAG_BYTES


class FileCustodian:
    """Keeps masters as files. See `Custodian` for the contract of each method."""

    def __init__(self, folder: Path, *, away_from: Path, make: bool = True) -> None:
        """Use `folder`.

        Args:
            folder: where the masters are.
            away_from: the vault's home; neither may be inside the other.
            make: make `folder`, with mode 0700, where it is absent. For the beginning only: an empty folder in the
                place of a disk that is not mounted would answer that every master is gone.

        Raises:
            CustodianError: `folder` is inside `away_from` or the other way round, or is open to others.
            CustodianUnavailableError: it cannot be used, or is absent and not to be made.
        """
        self._folder = folder.resolve()
        home = away_from.resolve()
        if self._folder == home or home in self._folder.parents or self._folder in home.parents:
            message = (
                f"The key folder {self._folder} and the vault's home {home} must lie apart: "
                "whoever copies one must not get the other with it."
            )
            raise CustodianError(message)
        with _translated(self._folder):
            if not self._folder.exists():
                if not make:
                    raise CustodianUnavailableError(self._absent())
                self._folder.mkdir(parents=True, mode=0o700)
                _sync_folder(self._folder.parent)
            if self._folder.stat().st_mode & 0o077:
                message = f"The key folder {self._folder} is open to other users; its mode must be 0700."
                raise CustodianError(message)

    @property
    def uri(self) -> str:
        """`file:` and the folder."""
        return f"file:{self._folder}"

    @property
    def assurance(self) -> Assurance:
        """Software assurance."""
        return Assurance(
            kind="software",
            takes_effect="at once",
            can_be_cancelled=False,
            copies=(
                "Old blocks of the disk, snapshots and backups of the key folder may still hold the key; "
                "this custodian makes no promise about them."
            ),
        )

    @property
    def ends_masters(self) -> bool:
        """See `Custodian.ends_masters`: files stay."""
        return False

    def create(self, name: str, ends_at: datetime | None = None) -> None:  # noqa: ARG002  # masters here never end
        """See `Custodian.create`."""
        path = self._path(name)
        # Written under another name first: a crash leaves either no master or a whole one. A name of its own,
        # so that two creators of one master never write, rename or remove each other's file.
        partial = self._folder / f"{name}.{secrets.token_hex(8)}{_PARTIAL}"
        with _translated(path), Key.generate() as key:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with io.FileIO(descriptor, "wb") as file:
                    if file.write(key.reveal()) != KEY_BYTES:
                        message = f"The master {name} could not be written whole."
                        raise CustodianError(message)
                    os.fsync(descriptor)
                # A rename replaces what is there, so creators take turns: of two of one name, one fails. A link
                # would not replace, but gives the master two names for a moment, for which readers must refuse it.
                with _locked(self._folder):
                    if os.path.lexists(path):
                        message = f"A master named {name} exists already."
                        raise MasterExistsError(message)
                    partial.rename(path)
            finally:
                partial.unlink(missing_ok=True)
            try:
                _sync_folder(self._folder)
            except OSError:
                path.unlink(missing_ok=True)
                raise

    def wrap(self, name: str, key: Key, bound_to: bytes) -> bytes:
        """See `Custodian.wrap`. AES-256-GCM: 12 random bytes, then ciphertext and tag; 60 bytes in all."""
        nonce = os.urandom(_NONCE_BYTES)
        with self._master(name) as master:
            return nonce + AESGCM(master.reveal()).encrypt(nonce, key.reveal(), bound_to)

    def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        """See `Custodian.unwrap`."""
        if len(wrapped) != _WRAPPED_BYTES:
            raise SealBrokenError
        buffer = bytearray(KEY_BYTES)
        with self._master(name) as master:
            try:
                AESGCM(master.reveal()).decrypt_into(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], bound_to, buffer)
            except InvalidTag as broken:
                # GCM has written the plaintext before it found the tag wrong.
                wipe(buffer)
                raise SealBrokenError from broken
        return Key(buffer)

    def describe(self, name: str) -> MasterState:
        """See `Custodian.describe`."""
        return MasterState.LIVE if self._files(name) else MasterState.ABSENT

    def expires_at(self, name: str) -> None:
        """See `Custodian.expires_at`: files stay until they are removed."""
        if self.describe(name) is MasterState.ABSENT:
            message = f"There is no master named {name}."
            raise MasterGoneError(message)

    def destroy(self, name: str) -> None:
        """See `Custodian.destroy`: unlink, fsync the folder, look again.

        A file that has another name too, as backups by hard links make it, would survive under that: it is refused
        first, or a repeat would find nothing and call it destroyed.
        """
        victims = self._files(name)
        with _translated(self._folder):
            for victim in victims:
                with suppress(FileNotFoundError):
                    if victim.lstat().st_nlink > 1:
                        raise CustodianError(_another_name(name))
            for victim in victims:
                victim.unlink(missing_ok=True)
            _sync_folder(self._folder)
        if self.describe(name) is not MasterState.ABSENT:
            message = f"The master {name} is still there after its destruction."
            raise CustodianError(message)

    def names(self) -> frozenset[str]:
        """See `Custodian.names`."""
        with _translated(self._folder):
            return frozenset(path.stem for path in self._folder.iterdir() if path.suffix == _SUFFIX)

    def _files(self, name: str) -> list[Path]:
        """The master's file and what cut-off creations of it left. A folder that is gone is an error, no absence."""
        master = self._path(name)
        with _translated(self._folder):
            return [
                path
                for path in self._folder.iterdir()
                if path == master or (path.suffix == _PARTIAL and path.name.partition(".")[0] == name)
            ]

    def _absent(self) -> str:
        return (
            f"The folder with the master keys is not there: {self._folder}. Is its disk mounted? It is not made anew, "
            "because the keys would not be in it."
        )

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            message = "A master's name has 1 to 64 of a-z, 0-9 and -."
            raise CustodianError(message)
        return self._folder / (name + _SUFFIX)

    @contextmanager
    def _master(self, name: str) -> Iterator[Key]:
        buffer = bytearray(KEY_BYTES + 1)
        path = self._path(name)
        with _translated(path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                with io.FileIO(descriptor) as file:
                    kind = os.fstat(descriptor)
                    count = file.readinto(buffer)
            except FileNotFoundError as gone:
                if not self._folder.exists():
                    raise CustodianUnavailableError(self._absent()) from gone
                message = f"There is no master named {name}."
                raise MasterGoneError(message) from gone
        if not stat.S_ISREG(kind.st_mode) or kind.st_nlink != 1:
            raise CustodianError(_another_name(name))
        if count != KEY_BYTES:
            message = f"The master {name} is damaged: its file does not have {KEY_BYTES} bytes."
            raise CustodianError(message)
        del buffer[KEY_BYTES:]
        with Key(buffer) as key:
            yield key


def _another_name(name: str) -> str:
    return f"The master {name} has another name in the file system, under which it would survive. Remove it."


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """The wall between the operating system's errors and ours."""
    try:
        yield
    except OSError as error:
        message = f"The key folder cannot be used ({error.strerror}): {path}"
        raise CustodianUnavailableError(message) from error


def _sync_folder(folder: Path) -> None:
    with _opened(folder) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Be the only one in the block, among all threads and processes; the lock ends with its holder."""
    with _opened(folder) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
