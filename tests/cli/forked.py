"""Real processes that need not import everything first: one process imports the command line and forks for each.

Importing takes most of a short command's time, and the tests run some eighty commands.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

import api.cli.app as started
from tests.services.object_stores import settings
from vault.objects import Bucket

REPOSITORY = Path(__file__).resolve().parents[2]


class Forker:
    """Runs commands; each is a process of its own, with files for its three streams."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        """Streams of the commands go through `folder`; `environment` is that of the one process, else our own."""
        self._folder = folder
        command = [sys.executable, "-W", "error", "-m", "tests.cli.forked"]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    @property
    def pid(self) -> int:
        """The process that forks."""
        return self._process.pid

    def run(self, words: list[str], environment: dict[str, str], typed: str) -> tuple[int, str, str]:
        """The exit code and what was printed on standard output and standard error."""
        streams = [self._folder / name for name in ("in", "out", "err")]
        streams[0].write_text(typed)
        job = {"words": words, "environment": environment, "streams": [str(path) for path in streams]}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, streams[1].read_text(), streams[2].read_text()

    def close(self) -> None:
        self._process.communicate(timeout=30)


def _become(job: dict[str, Any]) -> None:
    """In the forked process: take its streams and environment, and be the command."""
    for number, (path, flags) in enumerate(
        zip(job["streams"], (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT | os.O_TRUNC] * 2), strict=True)
    ):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.argv = ["shredvault", *job["words"]]


def _serve() -> None:
    # What the clients of an object store are made from takes longer to read than most commands take.
    Bucket(settings("http://127.0.0.1:9")).close()
    # And the command line is built anew in each process from what never changes.
    started.app = typer.main.get_command(started.app)  # type: ignore[assignment]
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
            started.main()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
