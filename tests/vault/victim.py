"""Processes that are killed: another process imports everything and forks one for each `Job` that it reads.

Each opens a vault from its home as every command does and carries out one operation; right before its durable effect
of the number asked for it kills itself with SIGKILL, so that nothing of Python runs any more. Effects are found and not
listed: every call that changes the bucket, every commit, every file that is made, renamed or removed. After one effect
is before the next; the last boundary is between the last effect and the answer.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import sqlalchemy as sa

import vault.catalogue.migrating  # imported where it is needed, and here before the forks
import vault.home
from tests.vault.far_s3 import FarBucket, FarS3
from tests.vault.holding import place_hold
from tests.vault.world import upload
from vault.access import Caller
from vault.clock import SimulatedClock
from vault.context import Vault
from vault.destruction import carry_out, recover_destructions
from vault.filing import complete_record, open_record
from vault.frozen_lists import freeze_ordered, freeze_sweep
from vault.holds import copy_held_keys, release_hold
from vault.home import Home, open_vault
from vault.ids import HoldId
from vault.moving import move_masters
from vault.reclaim import reclaim
from vault.replacement import replace_catalogue

REPOSITORY = Path(__file__).resolve().parents[2]
WRITING = os.O_WRONLY | os.O_RDWR
READING_CALLS = ("get_", "head_", "pages")


@dataclass(frozen=True)
class Job:
    home: Path
    now: datetime
    store: str
    """Address of the object store."""
    center: Caller
    operation: str
    given: tuple[Any, ...] = ()
    fatal: int = 0
    """The number of the effect before which it dies; 0: none."""


@dataclass(frozen=True)
class Ended:
    killed: bool
    error: str
    told: list[str]
    """`step NAME` for each step of a destruction, the name of each effect it got to, and what the operation says."""

    @property
    def last(self) -> str:
        """Before which effect it died, and in which step."""
        steps = [line for line in self.told if line.startswith("step ")]
        return f"{self.told[-1]} ({steps[-1] if steps else 'no step'})"

    @property
    def effects(self) -> list[str]:
        return [line.removeprefix("effect ") for line in self.told if line.startswith("effect ")]


class Victims:
    """The process that forks."""

    def __init__(self) -> None:
        # Not with -m: what goes through the pipes must be of the same classes here and there.
        command = [sys.executable, "-W", "error", "-c", "from tests.vault.victim import serve; serve()"]
        self._process = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, job: Job) -> Ended:
        assert self._process.stdin
        assert self._process.stdout
        pickle.dump(job, self._process.stdin)
        self._process.stdin.flush()
        ended = pickle.load(self._process.stdout)
        assert isinstance(ended, Ended)
        return ended

    def close(self) -> None:
        self._process.communicate(timeout=30)


# --- in the process that dies -------------------------------------------------------------------------------


Tell = Callable[[str], None]


def sweep(vault: Vault, job: Job, tell: Tell) -> None:
    carry_out(vault, freeze_sweep(vault), lambda step: tell(f"step {step}"))


def scrub(vault: Vault, job: Job, tell: Tell) -> None:
    carry_out(vault, freeze_ordered(vault, job.given[0]), lambda step: tell(f"step {step}"))


def release(vault: Vault, job: Job, tell: Tell) -> None:
    hold, order = job.given
    release_hold(vault, HoldId(hold), order, lambda step: tell(f"step {step}"))


def move(vault: Vault, job: Job, tell: Tell) -> None:
    move_masters(vault, job.given[0], "test", lambda step: tell(f"step {step}"))


def hold(vault: Vault, job: Job, tell: Tell) -> None:
    place_hold(vault, [job.given[0]], job.given[1])
    tell("placed")


def file(vault: Vault, job: Job, tell: Tell) -> None:
    name, content = job.given
    record = open_record(vault, job.center, idempotency_key="k", applicant={"name": name}, body=b"b").record_id
    tell(f"opened {record}")
    upload(vault, job.center, record, "new.png", content)
    tell("stored")
    complete_record(vault, job.center, record)
    tell("completed")


def recover(vault: Vault, job: Job, tell: Tell) -> None:
    recover_destructions(vault, lambda step: tell(f"step {step}"))
    copy_held_keys(vault)
    reclaim(vault)


OPERATIONS = {each.__name__: each for each in (sweep, scrub, release, move, hold, file, recover)}


def carry(job: Job, tell: Tell) -> None:
    count = 0

    def effect(name: str) -> None:
        nonlocal count
        count += 1
        tell(f"effect {name}")
        if count == job.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def call(name: str, key: str) -> None:
        if not name.startswith(READING_CALLS):
            effect(f"{name} {key.partition('/')[0]}".strip())

    def audit(event: str, given: tuple[Any, ...]) -> None:
        if not given or not str(given[0]).startswith(str(job.home.parent)):
            return
        if event in ("os.rename", "os.remove", "os.mkdir", "os.link", "os.truncate"):
            effect(event)
        elif event == "open" and given[2] & WRITING and (given[2] & os.O_TRUNC or not os.path.lexists(given[0])):
            effect("file made")

    sys.addaudithook(audit)
    sa.event.listen(sa.Engine, "commit", lambda _: effect("commit"))
    store = FarS3(job.store, call)
    setattr(vault.home, "Bucket", lambda _: FarBucket(store))  # noqa: B010  # mypy takes it for a constant
    clock = SimulatedClock(job.now)
    if job.operation == "rebuild":
        replace_catalogue(Home.at(job.home), clock)
    else:
        with open_vault(job.home, clock) as opened:
            OPERATIONS[job.operation](opened, job, tell)
    effect("answer")


def _become(job: Job, descriptor: int) -> NoReturn:
    def tell(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    carry(job, tell)
    os._exit(0)


def serve() -> None:
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        (told, tell), (errors, error) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            os.close(told)
            os.dup2(error, 2)
            _become(job, tell)
        os.close(tell)
        os.close(error)
        with os.fdopen(told, encoding="utf-8") as lines, os.fdopen(errors, encoding="utf-8") as broken:
            read = lines.read().splitlines(), broken.read()
        _, status = os.waitpid(child, 0)
        pickle.dump(Ended(os.waitstatus_to_exitcode(status) == -signal.SIGKILL, read[1], read[0]), sys.stdout.buffer)
        sys.stdout.buffer.flush()
