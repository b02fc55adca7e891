"""Exit codes: the one table of them, and the one table that gives every error its code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

from vault.errors import (
    BusyError,
    CatalogueError,
    CatalogueFullError,
    CustodianError,
    CustodianUnavailableError,
    DamagedError,
    HomeError,
    KeystoreError,
    MasterGoneError,
    NotCanonicalError,
    NotFoundError,
    PolicyError,
    SealBrokenError,
    SignaturesUnavailableError,
    VaultError,
)
from vault.host.embedded_store import EmbeddedStoreError
from vault.objects import ObjectNotFound, ObjectStoreError

__all__ = ["KNOWN_ERRORS", "MEANINGS", "CommandError", "ExitCode", "at_named_path", "carrying_out", "code_of", "manual"]


class ExitCode(IntEnum):
    """What the process says as it ends."""

    DONE = 0
    BUG = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    BUSY = 5
    UNAVAILABLE = 6
    DISK_FULL = 7
    NOT_CONFIRMED = 8
    NO_VAULT = 9
    INCIDENT = 10
    ATTENTION = 11
    PARTLY = 12
    INTERRUPTED = 130


MEANINGS: Final = {
    ExitCode.DONE: "done",
    ExitCode.BUG: "a fault in Shredvault itself; please report what it printed",
    ExitCode.USAGE: "wrong options or settings; nothing was done",
    ExitCode.NOT_FOUND: "there is no such record, receipt, hold, order, token, destruction or certificate",
    ExitCode.REFUSED: "the vault refuses; nothing was destroyed",
    ExitCode.BUSY: "somebody else is at it (or the port is taken); try again",
    ExitCode.UNAVAILABLE: "the object store, custodian or database does not answer; try again",
    ExitCode.DISK_FULL: "the disk is full or read-only",
    ExitCode.NOT_CONFIRMED: "a confirmation was not given; nothing was destroyed",
    ExitCode.NO_VAULT: "no vault in this home, another version's, or one with other choices",
    ExitCode.INCIDENT: "incident: something is missing, altered or untrue; call somebody",
    ExitCode.ATTENTION: "status --check: something is due, unfinished, not reclaimed, or a hold needs somebody",
    ExitCode.PARTLY: "hold place: some of the records could not be held; the others are",
    ExitCode.INTERRUPTED: "interrupted",
}

_CODES: Final[tuple[tuple[type[Exception], ExitCode], ...]] = (
    # The first that fits counts: special cases stand before their bases.
    (HomeError, ExitCode.NO_VAULT),
    (PolicyError, ExitCode.USAGE),
    (NotFoundError, ExitCode.NOT_FOUND),
    (NotCanonicalError, ExitCode.USAGE),
    (SignaturesUnavailableError, ExitCode.UNAVAILABLE),
    (BusyError, ExitCode.BUSY),
    (CatalogueFullError, ExitCode.DISK_FULL),
    (CatalogueError, ExitCode.UNAVAILABLE),
    (DamagedError, ExitCode.INCIDENT),
    (VaultError, ExitCode.REFUSED),
    (MasterGoneError, ExitCode.INCIDENT),
    (SealBrokenError, ExitCode.INCIDENT),
    (CustodianUnavailableError, ExitCode.UNAVAILABLE),
    (CustodianError, ExitCode.REFUSED),
    (KeystoreError, ExitCode.REFUSED),
    (ObjectNotFound, ExitCode.INCIDENT),
    (ObjectStoreError, ExitCode.UNAVAILABLE),
    (EmbeddedStoreError, ExitCode.UNAVAILABLE),
)
KNOWN_ERRORS: Final = (VaultError, KeystoreError, ObjectStoreError, EmbeddedStoreError)
"""Everything that the layers below raise for a reason which an operator can understand."""


class CommandError(Exception):
    """What a command itself refuses or reports: one sentence, and the code to exit with."""

    def __init__(self, code: ExitCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@contextmanager
def carrying_out() -> Iterator[None]:
    """Around a destruction: a custodian that refuses in the middle of one may have destroyed, or not."""
    try:
        yield
    except CustodianUnavailableError:
        raise
    except CustodianError as error:
        message = f"{error} Run `shredvault recover`: it undoes or finishes what was begun."
        raise CommandError(ExitCode.INCIDENT, message) from error


@contextmanager
def at_named_path() -> Iterator[None]:
    """Around what reads or writes at a path that somebody typed: a wrong one is a matter of usage, not of the vault."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError) as wrong:
        raise CommandError(ExitCode.USAGE, f"{wrong.strerror}: {wrong.filename}.") from wrong


def code_of(error: Exception) -> ExitCode:
    """The exit code for one of `KNOWN_ERRORS`."""
    return next(code for kind, code in _CODES if isinstance(error, kind))


def manual() -> str:
    """The table as lines of text, for `--help`."""
    return "\n".join(f"{code:>4}  {meaning}" for code, meaning in MEANINGS.items())
