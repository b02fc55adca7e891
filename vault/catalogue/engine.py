"""The catalogue: opens the database and hands out transactions.

SQLite runs with WAL, `synchronous=FULL`, foreign keys and `secure_delete`; writers say `BEGIN IMMEDIATE`,
because a deferred transaction that upgrades fails at once in spite of `busy_timeout`. This module is the
one wall at which database errors become the domain's.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from vault.errors import BusyError, CatalogueError, CatalogueFullError, HomeError, RuleBrokenError

__all__ = ["Catalogue", "Transaction"]

BUSY_TIMEOUT_MS: Final = 10_000
POOL_SIZE: Final = 48
"""Connections kept: at least as many as there are request threads."""

Transaction = sa.Connection
"""A connection inside a transaction; the queries of this package take it as their first argument."""

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class Catalogue:
    """The database of one vault."""

    def __init__(self, path: Path) -> None:
        """Open (or create, mode 0600) the SQLite file; the schema is made by `migrate`."""
        self._path = path
        if not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        self._engine = sa.create_engine(
            f"sqlite:///{path}",
            pool_size=POOL_SIZE,
            max_overflow=0,
            connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
        )
        sa.event.listen(self._engine, "connect", _on_connect)
        sa.event.listen(self._engine, "begin", _on_begin)
        self._writer = self._engine.execution_options(shredvault_write=True)

    def migrate(self) -> None:
        """Bring the schema to this version's.

        Raises:
            HomeError: the database is newer than this program.
        """
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        scripts = ScriptDirectory.from_config(config)
        known = {script.revision for script in scripts.walk_revisions()}
        with self.read() as tx:
            if MigrationContext.configure(tx).get_current_revision() == scripts.get_current_head():
                return
        with self.write() as tx:
            current = MigrationContext.configure(tx).get_current_revision()
            if current is not None and current not in known:
                message = "This vault was written by a newer version of Shredvault; use that version or a later one."
                raise HomeError(message)
            config.attributes["connection"] = tx
            command.upgrade(config, "head")

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A snapshot to read from.

        Raises:
            CatalogueError: the database cannot be used now.
        """
        with _translated(), self._engine.connect() as tx:
            yield tx

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that excludes other writers; durable when the block ends without an error.

        Raises:
            CatalogueFullError: the disk is full or read-only.
            BusyError: another writer did not finish in time.
            CatalogueError: the database cannot be used now.
        """
        with _translated(), self._writer.begin() as tx:
            yield tx

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


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


_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY_CODE: Final = 0xFF


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sa.exc.OperationalError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE
        if code in _FULL:
            message = "The disk under the catalogue is full or cannot be written."
            raise CatalogueFullError(message) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            message = "The catalogue is busy; try again."
            raise BusyError(message) from error
        message = "The catalogue cannot be used now."
        raise CatalogueError(message) from error
    except sa.exc.IntegrityError as error:
        message = "The catalogue's rules forbid this change."
        raise RuleBrokenError(message) from error
    except sa.exc.DatabaseError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE not in _DAMAGED:
            raise
        message = "The catalogue's file is damaged."
        raise CatalogueError(message) from error
    except sa.exc.TimeoutError as error:
        message = "The catalogue is busy; try again."
        raise BusyError(message) from error
