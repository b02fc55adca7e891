"""Throw-away PostgreSQL servers from Debian's package: in a folder of their own, reached by a Unix socket only."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

SUPERUSER = "postgres"
START_SECONDS = 60.0
STOP = {"fast": signal.SIGINT, "crash": signal.SIGKILL}

# A server whose files are in memory gains nothing by waiting for them.
HURRIED = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "autovacuum": "off"}


@cache
def program(name: str) -> str:
    """The newest version of one of PostgreSQL's programs, where Debian puts them."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if found:
        return str(found[-1])
    there = shutil.which(name)
    assert there, "PostgreSQL is not installed: apt-get install postgresql"
    return there


@cache
def account() -> dict[str, Any]:
    """As whom the server runs: it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def run(name: str, *words: str) -> None:
    done = subprocess.run([program(name), *words], check=False, capture_output=True, cwd="/", **account())
    assert done.returncode == 0, done.stderr.decode()


class Server:
    """One server. `folder` is its own and belongs to its account."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def initialise(self) -> None:
        run(
            "initdb",
            f"--pgdata={self.data}",
            f"--username={SUPERUSER}",
            *("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        )

    def follow(self, primary: "Server") -> None:
        """Become a standby of a server that runs."""
        url = primary.url("postgres").replace("/postgres?", "/?")
        run("pg_basebackup", f"--pgdata={self.data}", f"--dbname={url}", "--write-recovery-conf", "--checkpoint=fast")

    def start(self) -> None:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
            "logging_collector": "off",
        } | self.settings
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program("postgres"), "-D", str(self.data), *(f"--{name}={value}" for name, value in options.items())],
                stdout=log,
                stderr=log,
                cwd="/",
                **account(),
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self, how: str = "fast") -> None:
        """`fast` ends all connections and writes everything down; `crash` is SIGKILL."""
        if self.process is None:
            return
        if how == "crash":
            # The postmaster's children notice its death by themselves, but a moment later.
            children = self.backends()
            self.process.send_signal(STOP[how])
            self.process.wait()
            for child in children:
                _until_gone(child)
        else:
            self.process.send_signal(STOP[how])
            self.process.wait()
        self.process = None

    def backends(self) -> list[int]:
        assert self.process
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(number) for number in listed.split()]

    def restart(self, how: str = "fast") -> None:
        self.stop(how)
        self.start()

    def url(self, database: str, **more: str) -> str:
        options = {"host": str(self.folder), "user": SUPERUSER} | more
        return f"postgresql:///{database}?" + "&".join(f"{name}={value}" for name, value in options.items())

    def run(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Run statements, each on its own; the rows of the last."""
        rows: list[Any] = []
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                done = connection.execute(statement.encode())
                rows = done.fetchall() if done.description else []
        return rows


def _until_gone(process: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def database_of(url: str) -> str:
    return url.removeprefix("postgresql:///").partition("?")[0]


@contextmanager
def server_folder(*, in_memory: bool) -> Iterator[Path]:
    """A folder that the server's account owns; the tests' own folders are closed to it."""
    memory = Path("/dev/shm")
    where = memory if in_memory and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="shredvault-pg-", dir=where) as name:
        if account():
            os.chown(name, account()["user"], account()["group"])
        yield Path(name)


@contextmanager
def server(*, in_memory: bool = False, **settings: str) -> Iterator[Server]:
    """A fresh server that runs."""
    with server_folder(in_memory=in_memory) as folder:
        made = Server(folder, **settings)
        made.initialise()
        made.start()
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """The server that the session's tests share."""
    with server(in_memory=True, **HURRIED) as made:
        yield made
