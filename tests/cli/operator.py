"""A home for the command line to work on, and the command line itself as a process of its own."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.cli.forked import REPOSITORY, Forker
from tests.people import TERMS, submitted, written_policy
from tests.services.object_stores import ACCESS_KEY, SECRET_KEY
from tests.services.postgresql import Server
from vault import access
from vault.catalogue.law import time_marks
from vault.clocks.clock import SimulatedClock
from vault.context import Vault
from vault.destruction.drafting import draft_scrub
from vault.home import open_vault
from vault.records import filing, uploads
from vault.timekeeping import load_marks

SCAN = (REPOSITORY / "tests" / "specimens" / "letter-1.png").read_bytes()
THREE_YEARS = timedelta(days=3 * 366)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Operator:
    """Somebody at the command line of one vault."""

    folder: Path
    environment: dict[str, str]
    forker: Forker

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "api.cli", *words]

    def run(self, *words: str, typed: str | None = None, **more: str) -> Outcome:
        """Run a command without a terminal."""
        code, out, err = self.forker.run(list(words), self.environment | more, typed or "")
        assert "Traceback" not in err, err
        return Outcome(code, out, err)

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words),
            cwd=REPOSITORY,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **more,
        )

    def file(self, count: int, ago: timedelta = THREE_YEARS) -> list[str]:
        """File records some time ago; those of three years ago are due."""
        clock = SimulatedClock(datetime.now(UTC) - ago)
        with open_vault(self.home, clock) as vault, _trusted_then(vault):
            center = access.authenticate(vault, access.create_token(vault, access.Role.CENTER, "center"))
            return [_file_one(vault, center) for _ in range(count)]

    def order_scrub(self) -> str:
        """The id of an order to destroy whatever is not held now, signed and accepted."""
        with open_vault(self.home) as vault:
            return submitted(vault, draft_scrub(vault, TERMS).order).id

    def states(self) -> dict[str, int]:
        found: dict[str, int] = self.run("status", "--json").data["records"]
        return found


@contextmanager
def _trusted_then(vault: Vault) -> Iterator[None]:
    """As if the vault had been there at that time already: nothing is filed below the high-water mark."""
    with vault.catalogue.write() as tx:
        high_water = load_marks(tx).high_water
        tx.execute(sa.update(time_marks).values(suspect_since=high_water, why="a test"))
        tx.execute(sa.update(time_marks).values(high_water=vault.clock.now(), suspect_since=None, why=None))
    yield
    with vault.catalogue.write() as tx:
        tx.execute(sa.update(time_marks).values(high_water=high_water))


def _file_one(vault: Vault, center: access.Caller) -> str:
    record = filing.open_record(vault, center, idempotency_key=secrets.token_hex(8), applicant={}, body=b"").record_id
    upload = uploads.begin_upload(vault, center, record, "a.png", declared_size=len(SCAN), declared_type=None)
    upload.add(SCAN)
    upload.finish()
    filing.complete_record(vault, center, record)
    return record


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Where the commands keep their compiled modules: beside the modules (None), unless that is forbidden here.

    Then in one folder for all processes that test at the same time: without it each one compiles everything anew.
    Python puts a compiled module in its place whole.
    """
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return None
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "compiled"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def forker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    """What runs the commands."""
    forking = Forker(tmp_path_factory.mktemp("streams"))
    yield forking
    forking.close()


def environment_for(folder: Path, compiled: Path | None, **settings: str) -> dict[str, str]:
    """Of somebody whose folder this is, and of whom nothing else is known."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHREDVAULT_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    if compiled is not None:
        kept["PYTHONPYCACHEPREFIX"] = str(compiled)
    return kept | {"HOME": str(folder), "SHREDVAULT_HOME": str(folder / "home")} | settings


@pytest.fixture
def newcomer(tmp_path: Path, compiled: Path | None, forker: Forker) -> Operator:
    """Somebody without a vault yet; theirs will have an embedded object store."""
    return Operator(tmp_path, environment_for(tmp_path, compiled), forker)


@pytest.fixture
def stranger(tmp_path: Path, seaweedfs: str, compiled: Path | None, forker: Forker) -> Operator:
    """Somebody without a vault yet; theirs will use the session's object store, which is quicker."""
    settings = {
        "SHREDVAULT_OBJECTS": seaweedfs,
        "SHREDVAULT_BUCKET": f"cli-{secrets.token_hex(8)}",
        "SHREDVAULT_S3_ACCESS_KEY": ACCESS_KEY,
        "SHREDVAULT_S3_SECRET_KEY": SECRET_KEY.get_secret_value(),
    }
    return Operator(tmp_path, environment_for(tmp_path, compiled, **settings), forker)


@pytest.fixture
def operator(stranger: Operator) -> Operator:
    """Somebody with a vault."""
    assert stranger.run("init", *written_policy(stranger.folder)).code == 0
    return stranger


@pytest.fixture
def database(postgresql: Server) -> Iterator[str]:
    """The URL of a PostgreSQL database without tables."""
    name = f"cli_{secrets.token_hex(4)}"
    postgresql.run(f"CREATE DATABASE {name}")
    yield postgresql.url(name)
    postgresql.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def running(newcomer: Operator) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start commands that are ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        started.append(newcomer.start(*words))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
