"""SQLite as the catalogue: one file in the home, for one machine.

It runs with WAL, `synchronous=FULL`, foreign keys and `secure_delete`; writers say `BEGIN IMMEDIATE`, because
a deferred transaction that upgrades fails at once in spite of `busy_timeout`.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from vault.errors import BusyError, CatalogueError, CatalogueFullError, HomeError, VaultError

__all__ = ["SCHEME", "Sqlite", "sqlite_url"]

SCHEME: Final = "sqlite:///"
BUSY_TIMEOUT_MS: Final = 10_000
POOL_SIZE: Final = 48
"""Connections kept: at least as many as there are request threads."""

_INCARNATION: Final = "sqlite"
_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY_CODE: Final = 0xFF


def sqlite_url(path: Path) -> str:
    """The URL of a catalogue in a file."""
    return f"{SCHEME}{path.absolute()}"


class Sqlite:
    """A SQLite file as a `Database`."""

    def __init__(self, url: str) -> None:
        path = Path(url.removeprefix(SCHEME))
        if not path.is_absolute():
            message = "The catalogue's URL must name a file by its whole path: sqlite:////srv/shredvault/catalogue.db."
            raise HomeError(message)
        self.readers = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)),
            pool_size=POOL_SIZE,
            max_overflow=0,
            connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
        )
        self._path = path
        sa.event.listen(self.readers, "do_connect", self._before_connect)
        sa.event.listen(self.readers, "connect", _on_connect)
        sa.event.listen(self.readers, "begin", _on_begin)
        self.writers: sa.Engine = self.readers.execution_options(shredvault_write=True)

    def _before_connect(self, *_: object) -> None:
        """Make the file, so that it is nobody else's from its first moment. Why it cannot be, SQLite says itself.

        One that is there is not opened: closing it again would give up every lock that this process has on it (fcntl),
        and with them the sign that the log is in use. Whoever closed the file next would take the log away, and what
        was committed here afterwards with it.
        """
        with suppress(OSError):
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def alone(self) -> AbstractContextManager[None]:
        """Nothing: the file is used from one machine."""
        return nullcontext()

    def incarnation(self) -> str:
        """A constant."""
        return _INCARNATION

    def now(self) -> None:
        """It has no clock of its own."""

    def translated(self, error: sa.exc.DBAPIError) -> VaultError | None:
        """By SQLite's primary result code."""
        code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE
        if code in _FULL:
            return CatalogueFullError("The disk under the catalogue is full or cannot be written.")
        if code in _BUSY:
            return BusyError("The catalogue is busy; try again.")
        if code in _DAMAGED:
            return CatalogueError("The catalogue's file is damaged.")
        return None


def _on_connect(connection: sqlite3.Connection, _: Any) -> None:
    # Our own BEGIN, not the driver's.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
        "temp_store=MEMORY",
        "trusted_schema=OFF",
        "cache_size=-16000",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _on_begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("shredvault_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
