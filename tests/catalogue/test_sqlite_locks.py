"""Several processes on one SQLite file: none loses what another has committed."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from tests.vault.databases import migrate
from vault.catalogue import Catalogue, sqlite_url

LOOK = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute(sys.argv[2]).fetchone()[0]); c.close()"


def seen_by_another(path: Path, query: str) -> int:
    """What a process of its own reads, which closes the file when it ends."""
    command = [sys.executable, "-c", LOOK, str(path), query]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_a_second_connection_gives_up_no_lock(tmp_path: Path) -> None:
    """A process that opened and closed the file beside its connections lost their locks, and then what it wrote."""
    path = tmp_path / "catalogue.db"
    migrate(sqlite_url(path))
    catalogue = Catalogue(sqlite_url(path))
    with catalogue.read() as one, catalogue.read() as other:
        assert [tx.execute(sa.text("SELECT 1")).scalar() for tx in (one, other)] == [1, 1]
    assert seen_by_another(path, "SELECT COUNT(*) FROM nodes") == 0
    with catalogue.write() as tx:
        tx.execute(sa.text("INSERT INTO nodes VALUES ('n', 1, 1, 1, 'h', 'b', 1, 1, false)"))
    assert seen_by_another(path, "SELECT COUNT(*) FROM nodes") == 1
    catalogue.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM nodes").fetchone() == (1,)
    connection.close()


def test_the_file_is_its_owners_alone_from_the_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    migrate(sqlite_url(path))
    assert path.stat().st_mode & 0o777 == 0o600
