"""No byte of a document in the clear on any disk, at any moment of an upload or a reading.

A watcher reads every file under the folder for temporary files that was touched since the start, and the home, the
objects and the keys, over and over, while forty documents come in at once; each carries a mark of its own.
"""

import os
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

from api.http.limits import Limits
from tests.api.house import MIB, House, place, served

UPLOADS = 40
MARK_BYTES = 16
STEP = 64 * 1024


@pytest.fixture
def mark() -> bytes:
    """What is looked for; drawn for each test, so that nothing another one left behind is taken for ours."""
    return b"never-on-disk-" + secrets.token_hex(8).encode()


def marked(mark: bytes, size: int) -> bytes:
    """A document with the mark every few kilobytes, so that any block of it on a disk shows."""
    block = mark + secrets.token_bytes(MARK_BYTES) + os.urandom(3000)
    body = block * (size // len(block) + 1)
    return b"%PDF-" + body[: size - 10] + b"%%EOF"


@pytest.fixture
def patient_house(seaweedfs: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """With the limits of a real service: forty uploads and a watcher leave little of two cores."""
    with served(tmp_path_factory.mktemp("patient"), seaweedfs, limits=Limits()) as house:
        yield house


class Watcher:
    """Looks for the mark in every file that is new, until it is stopped."""

    def __init__(self, mark: bytes, *folders: Path) -> None:
        self._mark = mark
        self._folders = folders
        self._started = time.time() - 1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher")
        self.found: set[Path] = set()
        self.rounds = 0
        self.scanned = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Read everything once."""
        for folder in self._folders:
            for parent, inner, names in os.walk(folder):
                # Other test runs on this machine; our own folders are named.
                inner[:] = [name for name in inner if not name.startswith("pytest-of-")]
                for name in names:
                    # Files come and go under the watcher's eyes; some are sockets.
                    with suppress(OSError):
                        self._scan(Path(parent, name))
        self.rounds += 1

    def _scan(self, path: Path) -> None:
        status = path.stat()
        if not path.is_file() or status.st_mtime < self._started:
            return
        kept = b""
        with path.open("rb") as file:
            while piece := file.read(4 * MIB):
                self.scanned += len(piece)
                if self._mark in kept + piece:
                    self.found.add(path)
                    return
                kept = piece[-len(self._mark) :]

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()


def test_the_watcher_sees_what_is_written(tmp_path: Path, mark: bytes) -> None:
    with tempfile.NamedTemporaryFile() as spooled, Watcher(mark, Path(tempfile.gettempdir())) as watcher:
        spooled.write(b"\0" * (4 * MIB - 5) + mark)
        spooled.flush()
    assert Path(spooled.name) in watcher.found
    (tmp_path / "kept").write_bytes(marked(mark, STEP))
    with Watcher(mark, tmp_path) as watcher:
        pass
    assert watcher.found == {tmp_path / "kept"}


def test_plaintext_never_touches_a_disk(
    patient_house: House, mark: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    house = patient_house
    sizes = [40_000, 300_000, 2 * MIB, 9 * MIB]
    documents = [marked(mark, sizes[number % 4 if number < 36 else 3]) for number in range(UPLOADS)]
    records = [house.record() for _ in range(UPLOADS)]

    def upload(number: int) -> int:
        content = documents[number]
        pieces = (content[start : start + STEP] for start in range(0, len(content), STEP))
        # Half of them chunked, and every tenth cut short by a type it does not have.
        wrong: Any = {"headers": {"Content-Type": "image/png"}} if number % 10 == 9 else {}
        return house.put(records[number], pieces if number % 2 else content, **wrong).status_code

    # Home, objects, keys, and the object store's folder.
    ours = tmp_path_factory.getbasetemp()
    with Watcher(mark, Path(tempfile.gettempdir()), ours) as watcher, ThreadPoolExecutor(UPLOADS) as pool:
        statuses = list(pool.map(upload, range(UPLOADS)))
        assert house.get(place(records[0], "scan.pdf")).content == documents[0]

    assert sorted(statuses) == [201] * 36 + [415] * 4
    assert house.folder.is_relative_to(ours)
    assert watcher.rounds >= 2
    assert watcher.scanned > sum(map(len, documents))
    assert not watcher.found
