"""The catalogue: opens the database and hands out transactions.

What differs between databases stands in `sqlite` and `postgresql`, behind `Database`. This module is the one
wall at which database errors become the domain's; each database says which of its errors means what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import sqlalchemy as sa

from vault.errors import BusyError, CatalogueError, RuleBrokenError, VaultError

from .sqlite import SCHEME, Sqlite

__all__ = ["Catalogue", "Database", "Tagger", "Transaction", "tagger_of"]

Transaction = sa.Connection
"""A connection inside a transaction; the queries of this package take it as their first argument."""

Tagger = Callable[[str, bytes], bytes]
"""Makes a tag of 32 bytes, for a purpose, over a message."""
_TAGGER: Final = "shredvault_tagger"
_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"


class Database(Protocol):
    """What a kind of database must do for the catalogue."""

    @property
    def readers(self) -> sa.Engine:
        """Begins transactions that are snapshots: whatever others commit, they do not move."""

    @property
    def writers(self) -> sa.Engine:
        """Begins transactions of which there is one at a time, and which see all earlier ones."""

    def alone(self) -> AbstractContextManager[None]:
        """See `Catalogue.alone`."""

    def incarnation(self) -> str:
        """See `Catalogue.incarnation`."""

    def now(self) -> datetime | None:
        """See `Catalogue.now`."""

    def translated(self, error: sa.exc.DBAPIError) -> VaultError | None:
        """What an error of this database means, or None when it is a mistake of ours."""


class Catalogue:
    """The database of one vault."""

    def __init__(self, url: str) -> None:
        """Take a database; nothing is connected before it is used.

        Args:
            url: `sqlite:////absolute/file`, which is created with mode 0600 if it is not there, or
                `postgresql://host/database?…` as libpq understands it, without a password. The schema is made
                by `migrate`.

        Raises:
            HomeError: the URL cannot be used.
        """
        self._database = _database(url)
        self._tagger: Tagger | None = None

    def vouch(self, tagger: Tagger) -> None:
        """Take the tags with which the vault vouches for what it writes; see `vault.log.vouching`."""
        self._tagger = tagger

    def migrate(self) -> None:
        """Bring the schema to this version's.

        Raises:
            HomeError: the database is newer than this program.
        """
        with self.read() as tx:
            if _revision(tx) == newest_revision():
                return
        from .migrating import upgrade  # noqa: PLC0415  # see there

        with self.write() as tx:
            upgrade(tx)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A snapshot to read from.

        Raises:
            CatalogueError: the database cannot be used now.
        """
        with self._wall(), self._database.readers.connect() as tx:
            yield tx.execution_options(**{_TAGGER: self._tagger})

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that excludes other writers; durable when the block ends without an error.

        When the connection is lost at the end nobody knows whether it counts: callers can be repeated.

        Raises:
            CatalogueFullError: the disk is full or read-only.
            BusyError: another writer did not finish in time.
            CatalogueError: the database cannot be used now.
        """
        with self._wall(), self._database.writers.begin() as tx:
            yield tx.execution_options(**{_TAGGER: self._tagger})

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Exclude others who say `alone` on other machines, as a lock on a file does on this one.

        The lock is lost when its connection is: see docs/decisions/0008-postgresql.md for why that harms nobody.
        SQLite is used from one machine only, and needs nothing here.

        Raises:
            BusyError: somebody else has it.
            CatalogueError: the database cannot be used now.
        """
        with self._wall(), self._database.alone():
            yield

    def incarnation(self) -> str:
        """Which history of the database this is: another one when a standby took over or a log backup was replayed.

        A constant for SQLite, whose file says nothing about where it came from.

        Raises:
            CatalogueError: the database cannot be used now.
        """
        with self._wall():
            return self._database.incarnation()

    def now(self) -> datetime | None:
        """What the database's own clock says; None where it has none.

        SQLite runs in this process and would only repeat this machine's clock.

        Raises:
            CatalogueError: the database cannot be used now.
        """
        with self._wall():
            return self._database.now()

    def close(self) -> None:
        """Close all connections."""
        self._database.readers.dispose()

    @contextmanager
    def _wall(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            known = self._database.translated(error)
            if known is not None:
                raise known from error
            if isinstance(error, sa.exc.OperationalError):
                message = "The catalogue cannot be used now."
                raise CatalogueError(message) from error
            if isinstance(error, sa.exc.IntegrityError | sa.exc.DataError):
                message = "The catalogue's rules forbid this change."
                raise RuleBrokenError(message) from error
            raise
        except sa.exc.TimeoutError as error:
            message = "The catalogue is busy; try again."
            raise BusyError(message) from error


def _database(url: str) -> Database:
    if url.startswith(SCHEME):
        return Sqlite(url)
    # The driver takes as long to import as all of the vault: who has a file need not wait for it.
    from .postgresql import Postgresql  # noqa: PLC0415

    return Postgresql(url)


def tagger_of(tx: Transaction) -> Tagger:
    """With what the vault vouches in this transaction.

    Raises:
        RuntimeError: nobody gave it to the catalogue; a fault of ours.
    """
    tagger: Tagger | None = tx.get_execution_options().get(_TAGGER)
    if tagger is None:
        message = "the catalogue has nothing to vouch with"
        raise RuntimeError(message)
    return tagger


def newest_revision() -> str:
    """The revision of the schema that this version uses: the first word of the last migration's file name."""
    return max(path.name for path in _VERSIONS.glob("*.py")).partition("_")[0]


def _revision(tx: Transaction) -> str | None:
    if not sa.inspect(tx).has_table("alembic_version"):
        return None
    return tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
