"""Databases for vaults under test: where a new catalogue comes from, and how one is copied."""

# ruff: noqa: ARG002 - each kind needs another part of what its interface gives
import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from tests.services.postgresql import Server, database_of
from vault.catalogue import Catalogue, sqlite_url
from vault.home import CATALOGUE

on_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
_NUMBERS = itertools.count(1)


class Databases(Protocol):
    """Makes catalogues that are migrated and empty."""

    kind: str

    def new(self, home: Path) -> str:
        """The URL of an empty catalogue for the vault in `home`."""

    def copied(self, url: str, home: Path) -> str:
        """The URL of a copy of a catalogue, to which nobody is connected, for the vault in `home`."""

    def unused(self) -> str | None:
        """The URL of a database without tables; None where the home has it."""

    def at_rest(self, url: str, home: Path) -> bytes:
        """Every byte that a catalogue has on the disk."""

    def broken(self, table: str) -> tuple[str, ...]:
        """Statements after which nothing can be inserted into a table."""

    def mended(self, table: str) -> str:
        """The statement that undoes that."""

    def clear(self) -> None:
        """Remove what was made."""


class Files:
    kind = "sqlite"

    def __init__(self, blank: Path) -> None:
        self._blank = blank

    def new(self, home: Path) -> str:
        return self.copied(sqlite_url(self._blank), home)

    def copied(self, url: str, home: Path) -> str:
        shutil.copy(url.removeprefix("sqlite:///"), home / "catalogue.db")
        return sqlite_url(home / "catalogue.db")

    def unused(self) -> None:
        return None

    def at_rest(self, url: str, home: Path) -> bytes:
        return b"\0".join(read_beside(path) for path in sorted(home.glob(f"{CATALOGUE}*")))

    def broken(self, table: str) -> tuple[str, ...]:
        return (f"CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END",)

    def mended(self, table: str) -> str:
        return "DROP TRIGGER broken"

    def clear(self) -> None:
        pass


class OnServer:
    kind = "postgresql"

    def __init__(self, server: Server) -> None:
        self.server = server
        self._made: list[str] = []

    def new(self, home: Path) -> str:
        return self._create("blank")

    def copied(self, url: str, home: Path) -> str:
        return self._create(database_of(url))

    def unused(self) -> str:
        return self._create("template1")

    def at_rest(self, url: str, home: Path) -> bytes:
        # The log is shared with other tests' databases, and what is in it is in these files after a checkpoint.
        name = database_of(url)
        self.server.run("CHECKPOINT")
        number = self.server.run(f"SELECT oid FROM pg_database WHERE datname = '{name}'")[0][0]
        return b"\0".join(path.read_bytes() for path in sorted((self.server.data / "base" / str(number)).iterdir()))

    def broken(self, table: str) -> tuple[str, ...]:
        body = "BEGIN RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation'; END"
        return (
            f"CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS '{body.replace(chr(39), chr(39) * 2)}'",
            f"CREATE TRIGGER broken BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION broken()",
        )

    def mended(self, table: str) -> str:
        return f"DROP TRIGGER broken ON {table}"

    def clear(self) -> None:
        self.server.run(*(f"DROP DATABASE {name} WITH (FORCE)" for name in self._made))
        self._made.clear()

    def _create(self, template: str) -> str:
        name = f"vault_{next(_NUMBERS)}"
        # Whoever was connected to the template may not be quite gone.
        self.server.run(
            f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{template}'",
            f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy",
        )
        self._made.append(name)
        return self.server.url(name)


def blank_file(path: Path) -> Path:
    migrate(sqlite_url(path))
    return path


def migrate(url: str) -> None:
    catalogue = Catalogue(url)
    catalogue.migrate()
    catalogue.close()


def read_beside(path: Path) -> bytes:
    """Read a file of a catalogue that this process may have open, in another process.

    Whoever closes a file gives up all POSIX locks that his process has on it (fcntl(2)). SQLite's connections here
    would go on without theirs; the next process to leave takes itself for the last, deletes the log and its index, and
    the connections here see a catalogue that has stood still (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    read = subprocess.run(["cat", "--", path], capture_output=True, check=False)
    if read.returncode:
        raise FileNotFoundError(path)
    return read.stdout
