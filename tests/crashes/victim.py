"""Processes that are killed: another process imports everything and forks one for each `Job` that it reads.

Each opens a vault from its home as every command does and carries out one operation; right before its durable effect
of the number asked for it kills itself with SIGKILL, so that nothing of Python runs any more. Effects are found and not
listed: every call that changes the bucket, every commit, every file that is made, renamed or removed. After one effect
is before the next; the last boundary is between the last effect and the answer.
"""

import ctypes
import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import sqlalchemy as sa

import vault.catalogue.migrating  # imported where it is needed, and here before the forks
import vault.home
from keystore import KeystoreError
from tests.crashes.far_s3 import FarBucket, FarS3
from tests.statements import Compiled
from tests.vault.holding import place_hold
from tests.vault.world import upload
from vault.access import Caller
from vault.clocks.clock import SimulatedClock
from vault.context import Vault
from vault.destruction.carrying_out import carry_out, recover_destructions
from vault.destruction.frozen_lists import freeze_ordered, freeze_sweep
from vault.destruction.moving import move_masters
from vault.destruction.reclaim import reclaim
from vault.destruction.releasing import release_hold
from vault.errors import VaultError
from vault.holds import copy_held_keys
from vault.home import Home, open_vault
from vault.ids import HoldId
from vault.objects import ObjectStoreError
from vault.records.filing import complete_record, open_record
from vault.recovery.replacement import replace_catalogue

REPOSITORY = Path(__file__).resolve().parents[2]
WRITING = os.O_WRONLY | os.O_RDWR
CALLS = ("pwrite64", "fdatasync", "fsync")
"""By which SQLite writes and syncs; Python's own writes are `write`."""
PR_SET_PTRACER, ANYBODY = 0x59616D61, -1
REFUSALS = (VaultError, KeystoreError, ObjectStoreError, OSError)
READING_CALLS = ("get_", "head_", "pages")


@dataclass(frozen=True)
class Fault:
    """What the operating system answers to some of a process's calls that write and sync; counted, if nothing."""

    call: str = ""
    """One of `CALLS`."""
    error: str = ""
    """EIO or ENOSPC."""
    when: str = ""
    """Which of these calls fail: `3` the third; `3+` the third and all later ones."""


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
    fault: Fault | None = None
    """Then the process is traced, and tries once more what has failed."""
    rehearsed: bool = False
    """Done by the process that forks: its children need not import and compile what this took."""

    @property
    def stubborn(self) -> bool:
        """Whether it does again what has failed."""
        return self.fault is not None


@dataclass(frozen=True)
class Ended:
    killed: bool
    error: str
    told: list[str]
    """`step NAME` for each step of a destruction, the name of each effect it got to, and what the operation says."""

    calls: list[str]
    """Calls that write and sync, in order, as `strace` writes them; those of a process that was traced."""

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
        command = [sys.executable, "-W", "error", "-c", "from tests.crashes.victim import serve; serve()"]
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


def stubbornly(job: Job, clock: SimulatedClock, tell: Tell) -> None:
    """As a service that goes on: what failed is done again, over the same connections; at the end it is killed."""

    def attempt(act: Callable[[], object]) -> None:
        for done in ("done", "went on"):
            try:
                act()
            except REFUSALS as error:
                tell(f"failed: {type(error).__name__}")
            else:
                tell(done)
                return

    def operate_on(opened: Vault) -> None:
        recover_destructions(opened)
        OPERATIONS[job.operation](opened, job, tell)

    if job.operation == "rebuild":
        attempt(lambda: replace_catalogue(Home.at(job.home), clock))
    else:
        for _ in range(2):
            with suppress(*REFUSALS), open_vault(job.home, clock) as opened:
                attempt(partial(operate_on, opened))
                # This writes the log into the file.
                opened.catalogue.close()
                break
    os.kill(os.getpid(), signal.SIGKILL)


def operate(job: Job, store: FarS3, tell: Tell) -> None:
    setattr(vault.home, "Bucket", lambda _: FarBucket(store))  # noqa: B010  # mypy takes it for a constant
    clock = SimulatedClock(job.now)
    if job.stubborn:
        stubbornly(job, clock, tell)
    elif job.operation == "rebuild":
        replace_catalogue(Home.at(job.home), clock)
    else:
        with open_vault(job.home, clock) as opened:
            OPERATIONS[job.operation](opened, job, tell)


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
    operate(job, FarS3(job.store, call), tell)
    effect("answer")


def _become(job: Job, descriptor: int, attached: int) -> NoReturn:
    # Yama lets only ancestors trace, if nobody else is named.
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANYBODY, 0, 0, 0)
    os.read(attached, 1)

    def tell(line: str) -> None:
        os.write(descriptor, f"{line}\n".encode())

    carry(job, tell)
    os._exit(0)


def serve() -> None:
    cache = Compiled()
    sa.event.listen(sa.Engine, "engine_connect", lambda connection: connection.execution_options(compiled_cache=cache))
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if job.rehearsed:
            rehearse(job)
            continue
        (told, tell), (errors, error), (attached, go_on) = os.pipe(), os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            for unused in (told, errors, go_on):
                os.close(unused)
            os.dup2(error, 2)
            _become(job, tell, attached)
        for theirs in (tell, error, attached):
            os.close(theirs)
        with traced(child, job.fault) as calls, os.fdopen(told, encoding="utf-8") as lines:
            os.close(go_on)
            with os.fdopen(errors, encoding="utf-8") as broken:
                read = lines.read().splitlines(), broken.read()
            _, status = os.waitpid(child, 0)
        killed = os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        pickle.dump(Ended(killed, read[1], read[0], calls), sys.stdout.buffer)
        sys.stdout.buffer.flush()


def rehearse(job: Job) -> None:
    told: list[str] = []
    store = FarS3(job.store, lambda _call, _name: None)
    operate(job, store, told.append)
    store.hang_up()
    gc.collect()
    gc.freeze()
    pickle.dump(Ended(killed=False, error="", told=told, calls=[]), sys.stdout.buffer)
    sys.stdout.buffer.flush()


@contextmanager
def traced(process: int, fault: Fault | None) -> Iterator[list[str]]:
    """Let `strace` look at a process that waits, and interfere; fills the list of its calls at the end."""
    calls: list[str] = []
    if fault is None:
        yield calls
        return
    with tempfile.NamedTemporaryFile("r") as trace:
        command = ["strace", "-f", "-q", "-y", "-o", trace.name, "-e", f"trace={','.join(CALLS)}", "-p", f"{process}"]
        if fault.call:
            command += ["-e", f"inject={fault.call}:error={fault.error}:when={fault.when}"]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
            while "TracerPid:\t0\n" in Path(f"/proc/{process}/status").read_text("utf-8"):
                if tracer.poll() is not None:
                    assert tracer.stderr
                    os.kill(process, signal.SIGKILL)
                    raise RuntimeError(tracer.stderr.read())
                time.sleep(0.002)
            yield calls
        calls += [line for line in trace if line.partition("(")[0].split()[-1] in CALLS]
