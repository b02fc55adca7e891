"""Plaintext is never on a disk: a watcher reads along while uploads are under way."""

import os
import secrets
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest

from tests.http.served import LIMIT, MIB, PDF_END, PDF_HEAD, Site
from vault.host.embedded_store import EmbeddedStore
from vault.records.uploads import Upload

MARK = secrets.token_bytes(16)
"""The first half of every canary, so that one search finds them all."""
SPACING = 32_000
SIZES = [50_000 + (12 * MIB - 50_000) * (n % 10) ** 2 // 81 for n in range(40)]
HELD_MAX = 8 * MIB


def canary_document(size: int) -> tuple[bytes, bytes]:
    """A document and its canary, which stands in it every 32 kB."""
    canary = MARK + secrets.token_bytes(16)
    body = bytearray(secrets.token_bytes(size - len(PDF_HEAD) - len(PDF_END)))
    for start in range(100, len(body) - len(canary), SPACING):
        body[start : start + len(canary)] = canary
    return PDF_HEAD + bytes(body) + PDF_END, canary


class Watcher:
    """Scans what grows or changes in some folders, and files of this process that have no name any more."""

    def __init__(self, *folders: Path) -> None:
        self.found: set[Path] = set()
        self.scanned = 0
        self.rounds = 0
        self._folders = folders
        self._seen: dict[Path, tuple[int, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        # At last everything once more, whole.
        self._seen.clear()
        self.look()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.look()

    def look(self) -> None:
        self.rounds += 1
        for path in self._files():
            try:
                self._scan(path)
            except OSError:
                continue  # it is gone already

    def _files(self) -> Iterator[Path]:
        for folder in self._folders:
            for place, _, names in os.walk(folder):
                yield from (Path(place, name) for name in names)
        for link in Path("/proc/self/fd").iterdir():
            try:
                target = str(link.readlink())
            except OSError:
                continue
            if target.endswith(" (deleted)") and any(target.startswith(str(folder)) for folder in self._folders):
                yield link

    def _scan(self, path: Path) -> None:
        now = path.stat()
        if not stat.S_ISREG(now.st_mode):
            return
        size, changed = self._seen.get(path, (0, 0))
        if (now.st_size, now.st_mtime_ns) == (size, changed):
            return
        # Big files are appended to; small ones may be written anew.
        start = max(0, size - len(MARK)) if now.st_size >= size > MIB else 0
        with path.open("rb") as file:
            file.seek(start)
            content = file.read()
        self._seen[path] = (start + len(content), now.st_mtime_ns)
        self.scanned += len(content)
        if MARK in content:
            self.found.add(path)


@pytest.mark.parametrize("kind", ["named", "without a name"])
def test_the_watcher_finds_what_is_in_the_clear(tmp_path: Path, kind: str) -> None:
    content, _ = canary_document(50_000)
    (tmp_path / "innocent").write_bytes(secrets.token_bytes(50_000))
    with Watcher(tmp_path) as watcher:
        if kind == "named":
            (tmp_path / "spool").write_bytes(content)
        with tempfile.TemporaryFile(dir=tmp_path) as spool:
            if kind != "named":
                spool.write(content)
                spool.flush()
            watcher.look()
            assert len(watcher.found) == 1


def test_uploads_leave_no_plaintext_on_the_disk(
    own_store: Callable[[], EmbeddedStore],
    new_site: Callable[..., Site],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = new_site(own_store().start())
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    assert tempfile.gettempdir() == str(spool)
    documents = [canary_document(size)[0] for size in SIZES]
    records = [site.open() for _ in range(4)]

    def put(number: int) -> int:
        return site.put(records[number % 4], documents[number], f"{number}.pdf").status_code

    with Watcher(tmp_path) as watcher, ThreadPoolExecutor(20) as threads:
        assert set(threads.map(put, range(len(documents)))) == {201}
        for record in records:
            assert site.complete(record).status_code == 200
        for number in (0, 9, 39):
            assert site.fetch(records[number % 4], f"{number}.pdf") == documents[number]
    # It has seen all that was stored, and more than once.
    assert watcher.rounds > 2
    assert watcher.scanned > sum(SIZES)
    assert watcher.found == set()
    assert list(spool.iterdir()) == []
    for record in records[:1]:
        (tmp_path / "control").write_bytes(documents[0])
        watcher.look()
        assert len(watcher.found) == 1, record


@pytest.mark.parametrize("declared", [True, False])
def test_an_upload_holds_8_mib_at_most(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    declared: bool,  # noqa: FBT001
) -> None:
    held: list[int] = []
    add, finish = Upload.add, Upload.finish

    def watched_add(upload: Upload, chunk: bytes) -> None:
        add(upload, chunk)
        held.append(len(upload._out))

    def watched_finish(upload: Upload) -> object:
        held.append(len(upload._out))
        return finish(upload)

    monkeypatch.setattr(Upload, "add", watched_add)
    monkeypatch.setattr(Upload, "finish", watched_finish)
    content, _ = canary_document(LIMIT)
    answer = site.put(site.open(), content if declared else iter([content]))
    assert answer.status_code == 201
    assert len(held) > 25
    assert 7 * MIB <= max(held) <= HELD_MAX
