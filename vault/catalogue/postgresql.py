"""PostgreSQL as the catalogue: for several machines (docs/decisions/0008-postgresql.md).

Writers take one lock in their first statement and run at READ COMMITTED, so they are serial and each sees all
that was committed before it. Readers get a snapshot. Commits wait for the disk, and for synchronous standbys
where there are any. Several vaults can share a database, each in a schema of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final

import psycopg
import sqlalchemy as sa
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from vault.errors import BusyError, CatalogueError, CatalogueFullError, HomeError, VaultError

__all__ = ["SCHEMES", "Postgresql"]

SCHEMES: Final = ("postgresql://", "postgres://")
LOCK_TIMEOUT_MS: Final = 10_000
"""How long a writer waits for others."""
POOL_SIZE: Final = 20
"""Connections kept at most by one process; a request that finds none waits for one."""
_ALONE_TIMEOUT_MS: Final = 500
CONNECT_SECONDS: Final = 10
ALONE_BUSY: Final = "Another destruction, release or recovery is running on this vault; wait for it to end."

_POOL_SECONDS: Final = 10
_STATEMENT_MS: Final = 300_000
"""The longest statement judges some million records in a few seconds."""
_IDLE_WRITER_MS: Final = 60_000
"""A writer that is stopped with the lock in its hand loses it after this time, and its transaction with it."""

# What a peer that is gone without a word costs at most: both ends ask after ten seconds, four times.
_KEEPALIVES: Final = {"idle": 10, "interval": 5, "count": 4}

# Advisory locks have a number of 64 bits: ours and the schema's.
_WRITE_LOCK, _ALONE_LOCK = (number << 32 for number in (0x5C0_0001, 0x5C0_0002))

_SETTINGS: Final = {
    "application_name": "shredvault",
    "statement_timeout": f"{_STATEMENT_MS}ms",
    "idle_in_transaction_session_timeout": "1h",
    # The connection with the lock of a destruction says nothing for as long as that takes.
    "idle_session_timeout": "0",
    "tcp_keepalives_idle": str(_KEEPALIVES["idle"]),
    "tcp_keepalives_interval": str(_KEEPALIVES["interval"]),
    "tcp_keepalives_count": str(_KEEPALIVES["count"]),
}
_CONFIGURE: Final = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', false)" for name, value in _SETTINGS.items()
)
# Where the server asks for more than `on`, more it is.
_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
)
# The timeline of the log that is written now; what pg_control_checkpoint() says lags until the next checkpoint.
_IDENTIFY: Final = (
    "SELECT (SELECT oid::bigint FROM pg_namespace WHERE nspname = current_schema()), "
    "CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END, "
    "(SELECT system_identifier::text FROM pg_control_system())"
)


class Postgresql:
    """A schema of a PostgreSQL database as a `Database`."""

    def __init__(self, url: str) -> None:
        self._url = _checked(url)
        self._seen: str | None = None
        self.readers = sa.create_engine(
            "postgresql+psycopg://",
            creator=self._connect,
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=_POOL_SECONDS,
            # A connection may have died in the pool: with the server, or with a firewall's patience.
            pool_pre_ping=True,
            hide_parameters=True,
        )
        sa.event.listen(self.readers, "begin", self._on_begin)
        self.writers: sa.Engine = self.readers.execution_options(shredvault_write=True)
        self._schema = 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A lock of the session, on a connection of its own that does nothing else."""
        with self._raw() as connection:
            lock = _ALONE_LOCK + self._schema
            # A moment's patience: the server hears of the death of a process a little later than we do.
            connection.execute(f"SET lock_timeout = {_ALONE_TIMEOUT_MS}".encode())
            try:
                connection.execute("SELECT pg_advisory_lock(%s)", [lock])
            except errors.LockNotAvailable as taken:
                raise BusyError(ALONE_BUSY) from taken
            try:
                yield
            finally:
                with suppress(psycopg.OperationalError):
                    connection.execute("SELECT pg_advisory_unlock(%s)", [lock])

    def incarnation(self) -> str:
        """System identifier and timeline: a promoted standby is on a timeline of its own."""
        with self._raw():
            assert self._seen is not None
            return self._seen

    def now(self) -> datetime:
        """The server's clock."""
        with self.readers.connect() as connection:
            now: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
        return now.astimezone(UTC)

    def translated(self, error: sa.exc.DBAPIError) -> VaultError | None:
        """By SQLSTATE, or because there is no connection."""
        return _meaning(error.orig) if isinstance(error.orig, psycopg.Error) else None

    @contextmanager
    def _raw(self) -> Iterator[psycopg.Connection]:
        """A connection outside the pool. Its errors are those of the pool's connections."""
        try:
            connection = self._connect()
            try:
                yield connection
            finally:
                connection.close()
        except psycopg.Error as error:
            raise sa.exc.OperationalError(None, None, error) from error

    def _connect(self) -> psycopg.Connection:
        """Connect, set the session up, and refuse what is not the database that this process began with."""
        connection = psycopg.connect(
            self._url,
            # Our own BEGIN, not the driver's.
            autocommit=True,
            target_session_attrs="read-write",
            connect_timeout=CONNECT_SECONDS,
            keepalives_idle=_KEEPALIVES["idle"],
            keepalives_interval=_KEEPALIVES["interval"],
            keepalives_count=_KEEPALIVES["count"],
        )
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: psycopg.Connection) -> None:
        connection.execute(_CONFIGURE)
        connection.execute(_DURABLE)
        row = connection.execute(_IDENTIFY).fetchone()
        assert row is not None
        schema, timeline, system = row
        if timeline is None:
            raise errors.ReadOnlySqlTransaction
        if schema is None:
            raise errors.InvalidSchemaName
        incarnation = f"{system}/{timeline}"
        if self._seen is None:
            self._seen, self._schema = incarnation, schema
        if self._seen != incarnation:
            message = (
                "The catalogue's database was replaced by another, as when a standby takes over; "
                "start Shredvault again, so that it looks at what the new one has."
            )
            raise CatalogueError(message)

    def _on_begin(self, connection: sa.Connection) -> None:
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        if connection.get_execution_options().get("shredvault_write", False):
            begin = (
                f"BEGIN; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}; "
                f"SET LOCAL idle_in_transaction_session_timeout = {_IDLE_WRITER_MS}; "
                f"SELECT pg_advisory_xact_lock({_WRITE_LOCK + self._schema})"
            )
        connection.exec_driver_sql(begin)


def _checked(url: str) -> str:
    if not url.startswith(SCHEMES):
        message = "The catalogue's URL must begin with sqlite:/// or postgresql://."
        raise HomeError(message)
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as broken:
        message = "The catalogue's URL cannot be understood; libpq's form is postgresql://user@host/database."
        raise HomeError(message) from broken
    if parts.keys() & {"password", "sslpassword"}:
        message = (
            "The catalogue's URL has a password in it, where others would read it; put it into PGPASSWORD or a "
            "password file of mode 0600 (?passfile=…)."
        )
        raise HomeError(message)
    if parts.get("target_session_attrs", "read-write") != "read-write":
        message = "The catalogue must be the server that takes writes; leave target_session_attrs out of its URL."
        raise HomeError(message)
    return url


_STATES: Final[dict[str, tuple[type[VaultError], str]]] = {
    "53100": (CatalogueFullError, "The disk under the catalogue's database is full."),
    "53200": (CatalogueError, "The catalogue's database is out of memory."),
    "53300": (CatalogueError, "The catalogue's database has no connection left for this process."),
    "25006": (CatalogueError, "The catalogue's database takes no writes: it is a standby, or set to be read only."),
    "25P03": (BusyError, "This took too long, and the catalogue gave it up; try again."),
    "28000": (CatalogueError, "The catalogue's database does not let this user in."),
    "28P01": (CatalogueError, "The password for the catalogue's database is missing or wrong."),
    "3D000": (CatalogueError, "There is no such database on the catalogue's server."),
    "3F000": (CatalogueError, "The schema that the catalogue's URL names is not in the database."),
    "40001": (BusyError, "The catalogue is busy; try again."),
    "40P01": (BusyError, "The catalogue is busy; try again."),
    "42501": (CatalogueError, "The user of the catalogue's database lacks a right that it needs."),
    "55P03": (BusyError, "The catalogue is busy; try again."),
    "57014": (CatalogueError, "The catalogue took too long to answer."),
    "57P01": (CatalogueError, "The catalogue's database was stopped; try again."),
    "57P02": (CatalogueError, "The catalogue's database has crashed; try again."),
    "57P03": (CatalogueError, "The catalogue's database is starting or stopping; try again."),
}
_AWAY: Final = "The catalogue's database does not answer."
_NO_TLS: Final = (
    "No trusted TLS connection to the catalogue's database: "
    "see its certificate, and sslmode and sslrootcert in its URL."
)


def _meaning(error: psycopg.Error) -> VaultError | None:
    state = error.sqlstate
    if state in _STATES:
        kind, sentence = _STATES[state]
        return kind(sentence)
    if state is None and isinstance(error, psycopg.OperationalError):
        return CatalogueError(_refused(str(error)))
    return None


def _refused(reason: str) -> str:
    """A refused connection has no SQLSTATE in psycopg: what libpq wrote is all there is."""
    for mark, state in (
        ("password", "28P01"),
        ("pg_hba.conf", "28000"),
        ("too many ", "53300"),
        ("remaining connection slots", "53300"),
        ("session is read-only", "25006"),
        ("starting up", "57P03"),
        ("shutting down", "57P03"),
    ):
        if mark in reason:
            return _STATES[state][1]
    if "certificate" in reason or "does not support SSL" in reason:
        return _NO_TLS
    return _STATES["3D000"][1] if "does not exist" in reason and "database" in reason else _AWAY
