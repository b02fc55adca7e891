"""Uploads through the API against plain `put_object` to the same store, and the service's memory under load."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench.results import Row, interleaved
from tests.bench.service import Center, PlainStore, Service, scan, served
from vault.records.uploads import DOCUMENTS_MAX

__all__ = ["measure_memory", "measure_throughput"]

THREADS: Final = 8
GOAL: Final = 0.9
FLOOR: Final = 0.7
MEMORY_GOAL_BYTES: Final = 400_000_000
MEMORY_UPLOADS: Final = 20
MEMORY_UPLOAD_BYTES: Final = 20_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """A size in bytes, and how many documents a run files."""

    label: str
    size: int
    documents: int


LOADS: Final = (
    Load("40 KB", 40_000, 320),
    Load("300 KB", 300_000, 160),
    Load("2 MB", 2_000_000, 48),
    Load("20 MB", 20_000_000, 16),
)


def measure_throughput(*, quick: bool) -> Iterator[Row]:
    """Rows for every size: runs of the two sides take turns, on one server and one store."""
    pairs = 3 if quick else 7
    with TemporaryDirectory(prefix="bench-") as folder, served(Path(folder)) as service:
        plain = service.plain_store()
        plain.prepare()
        sides = _Sides(service, plain)
        for load in LOADS:
            body = scan(load.size)
            sides.ours(load, body, "warm-up")
            sides.plain(load, body, "warm-up")
            ours, theirs = [], []
            for number in range(pairs):
                ours.append(sides.ours(load, body, f"run-{number}"))
                theirs.append(sides.plain(load, body, f"run-{number}"))
            yield _row(load, ours, theirs)


def _row(load: Load, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    ratios = interleaved(ours, theirs)
    return Row(
        "Upload through the API against plain boto3 put_object, 8 at a time",
        f"documents of {load.label}",
        _rate(statistics.median(ours), load.size),
        _rate(statistics.median(theirs), load.size),
        f"{ratios.median:.2f}",
        ratios.spread,
        f"≥ {GOAL}, never under {FLOOR}",
        ratios.median >= GOAL and min(ratios.values) >= FLOOR,
    )


def _rate(per_second: float, size: int) -> str:
    return f"{per_second:,.0f}/s, {per_second * size / 1e6:,.0f} MB/s"


class _Sides:
    """The two sides of the comparison, driven by the same threads of this process."""

    def __init__(self, service: Service, plain: PlainStore) -> None:
        self._service = service
        self._plain = plain
        self._centers = [service.center() for _ in range(THREADS)]

    def ours(self, load: Load, body: bytes, run: str) -> float:
        """Documents per second through the API. The records are opened before the time begins."""
        share = load.documents // THREADS
        for center in self._centers:
            center.reconnect()
        records = range(-(-share // DOCUMENTS_MAX))
        plan = [
            [_open(center, f"{load.label}/{run}/{thread}/{number}") for number in records]
            for thread, center in enumerate(self._centers)
        ]

        def work(thread: int) -> None:
            for number in range(share):
                self._centers[thread].put(plan[thread][number // DOCUMENTS_MAX], f"scan-{number}", body)

        return share * THREADS / _timed(work, THREADS)

    def plain(self, load: Load, body: bytes, run: str) -> float:
        """Objects per second without us."""
        share = load.documents // THREADS

        def work(thread: int) -> None:
            for number in range(share):
                self._plain.put(f"{load.label}/{run}/{thread}/{number}", body)

        return share * THREADS / _timed(work, THREADS)


def _open(center: Center, key: str) -> str:
    return center.open_record(key.replace(" ", "-").replace("/", "-"))


def _timed(work: Callable[[int], None], threads: int) -> float:
    """Seconds from the moment all threads may start until the last has finished."""
    barrier = threading.Barrier(threads + 1)

    def run(thread: int) -> None:
        barrier.wait()
        work(thread)

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(run, thread) for thread in range(threads)]
        barrier.wait()
        begun = time.perf_counter()
        for future in futures:
            future.result()
        return time.perf_counter() - begun


def measure_memory(*, quick: bool) -> Iterator[Row]:
    """The service's peak memory under uploads that all run at once, in a fresh process."""
    rounds = 1 if quick else 3
    with TemporaryDirectory(prefix="bench-") as folder, served(Path(folder)) as service:
        body = scan(MEMORY_UPLOAD_BYTES)
        centers = [service.center() for _ in range(MEMORY_UPLOADS)]
        record_ids = [_open(center, f"memory-{number}") for number, center in enumerate(centers)]
        idle = service.peak_bytes()
        for turn in range(rounds):
            for center in centers:
                center.reconnect()

            def file_one(thread: int, name: str = f"scan-{turn}") -> None:
                centers[thread].put(record_ids[thread], name, body)

            _timed(file_one, MEMORY_UPLOADS)
        peak = service.peak_bytes()
    yield Row(
        "Memory of the service's process",
        f"peak under {MEMORY_UPLOADS} uploads of {MEMORY_UPLOAD_BYTES // 1_000_000} MB at once",
        f"{peak / 1e6:.0f} MB",
        f"{idle / 1e6:.0f} MB before the first upload",
        f"{peak / 1e6:.0f} MB",
        f"{rounds} rounds",
        f"≤ {MEMORY_GOAL_BYTES // 1_000_000} MB",
        peak <= MEMORY_GOAL_BYTES,
    )
