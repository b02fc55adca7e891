"""What the game puts into every process of a vault that is served for real: workers, supervisor, commands.

`inside/sitecustomize.py` calls `begin` before the program itself starts, when SEIZURE_FOLDER names the game's folder:

* instruments write what they see into one notebook, straight from the buffers of the product, so that they leave no key
  in the memory that is scanned later
* destructions tell the game each step that they begin, and go on when it lets them, if they are not killed
* the vault's clock, and what the store's clock is taken for, are off by what stands in a file
* everything logs at full verbosity, the object store too; what is written into the temporary folder is noted

Nothing that the product does is left out or done otherwise, but for the faults of `tests.seizure.faults` where they are
asked for.
"""

import json
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from keystore import Ask
from tests.seizure.faults import FAULTS, switch_on
from tests.seizure.instruments import Notes, WatchedCustodian, instrument, watch_files
from tests.seizure.key_graph import Buffer, PageAt
from tests.seizure.temporary import TemporaryFolder
from vault import home
from vault.clocks.clock import SystemClock
from vault.clocks.trusted_time import simulated_sources
from vault.destruction import carrying_out as destruction
from vault.host.embedded_store import EmbeddedStore
from vault.keys import custody
from vault.objects import Bucket

FOLDER: Final = "SEIZURE_FOLDER"
NOTES, STEPS, CLOCKS, LOGS, TEMPORARY = "notes", "steps", "clocks", "logs", "tmp"
COMPLETE: Final = "complete"
"""The step that is told when a destruction has been recorded, by the process that carried it out."""
LOGGERS: Final = ("api", "asyncio", "boto3", "botocore", "keystore", "s3transfer", "sqlalchemy", "urllib3", "vault")
_SIZES: Final = struct.Struct("<II")


class Notebook:
    """Appends notes to a file, each in one write of the kernel's, from where the bytes stand."""

    def __init__(self, path: Path) -> None:
        self.destroyed: set[str] = set()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(self, kind: str, *facts: Any) -> None:
        """Take one note."""
        if kind == "destroyed":
            self.destroyed.add(facts[0])
        buffers = [fact for fact in facts if isinstance(fact, bytes | bytearray | memoryview)]
        plain = [len(fact) if isinstance(fact, bytes | bytearray | memoryview) else [fact] for fact in facts]
        head = json.dumps([kind, *plain]).encode()
        total = len(head) + sum(map(len, buffers))
        written = os.writev(self._file, [_SIZES.pack(total, len(head)), head, *buffers])
        assert written == _SIZES.size + total, "the game's disk is full"

    def has_page(self, key: Buffer, at: PageAt) -> bool:  # noqa: ARG002 - to remember is to keep
        """Nothing is remembered here."""
        return False


def read_notes(path: Path, start: int, notes: Notes) -> int:
    """Take over what all processes have noted from a place in the file on; return the place after it."""
    with path.open("rb") as file:
        file.seek(start)
        content = memoryview(file.read())
    at = 0
    while at + _SIZES.size <= len(content):
        total, head = _SIZES.unpack_from(content, at)
        at += _SIZES.size
        kind, *plain = json.loads(bytes(content[at : at + head]))
        notes.note(kind, *_facts(plain, content[at + head : at + total]))
        at += total
    return start + at


def _facts(plain: list[Any], buffers: memoryview) -> Iterator[Any]:
    for fact in plain:
        if isinstance(fact, int):
            yield buffers[:fact]
            buffers = buffers[fact:]
        else:
            yield fact[0]


def begin(folder: Path) -> None:
    """Put everything into this process."""
    notebook = Notebook(folder / NOTES)
    instrument(setattr, notebook)
    _watch_custodians(notebook)
    _tell_steps(folder / STEPS)
    _move_clocks(folder / CLOCKS)
    # The calendar is turned by years, and the store's apart from it: only the moved clock is left to compare with.
    _put(home, "TimeSources", lambda _: simulated_sources(SystemClock()))
    _say_everything(folder / LOGS)
    switch_on(os.environ.get(FAULTS, ""), setattr)

    watch_files(TemporaryFolder(folder / TEMPORARY, partial(notebook.note, "wrote")).told)


def _watch_custodians(notebook: Notebook) -> None:
    opened = vars(custody)["open_custodian"]

    def watched(uri: str, *, away_from: Path, ask: Ask | None = None, make: bool = False) -> WatchedCustodian:
        return WatchedCustodian(opened(uri, away_from=away_from, ask=ask, make=make), notebook)

    _put(custody, "open_custodian", watched)


def _tell_steps(address: Path) -> None:
    condemn_list, finish = vars(destruction)["condemn_list"], destruction._finish

    def telling(progress: Callable[[str], None]) -> Callable[[str], None]:
        def tell(step: str) -> None:
            progress(step)
            _tell(address, step)

        return tell

    def condemned(vault: Any, frozen: Any, progress: Any) -> Any:
        return condemn_list(vault, frozen, telling(progress))

    def finished(vault: Any, destruction_id: Any, progress: Any) -> Any:
        done = finish(vault, destruction_id, telling(progress))
        _tell(address, COMPLETE)
        return done

    _put(destruction, "condemn_list", condemned)
    _put(destruction, "_finish", finished)


def _tell(address: Path, step: str) -> None:
    """Say it, and wait for an answer. Whoever is killed meanwhile does not get one."""
    with socket.socket(socket.AF_UNIX) as told:
        told.connect(str(address))
        told.sendall(f"{os.getpid()} {step}\n".encode())
        told.recv(1)


def _move_clocks(file: Path) -> None:
    now, store_now = SystemClock.now, Bucket.now

    def off(which: int) -> timedelta:
        return timedelta(seconds=json.loads(file.read_text())[which])

    def moved(self: SystemClock) -> datetime:
        return now(self) + off(0)

    def store_moved(self: Bucket) -> datetime:
        return store_now(self) + off(1)

    _put(SystemClock, "now", moved)
    _put(Bucket, "now", store_moved)


def _say_everything(folder: Path) -> None:
    options = EmbeddedStore._options

    def verbose(self: EmbeddedStore) -> list[str]:
        return ["-v=4", *options(self)]

    _put(EmbeddedStore, "_options", verbose)
    handler = logging.FileHandler(folder / f"{Path(sys.argv[0] or 'python').name}-{os.getpid()}", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    for name in LOGGERS:
        # On each of them: the service takes the root's handlers away.
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False


def _put(where: Any, name: str, value: Any) -> None:
    setattr(where, name, value)
