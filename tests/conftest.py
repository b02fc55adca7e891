"""Fixtures that several folders of tests share: each is set up once a process, whoever asks for it first.

A conftest that imports a fixture makes another of it: another server for the same session, and SoftHSM, which reads
one configuration for a process, would be told of two.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

MEMORY = Path("/dev/shm")
ROOM = 6 * 2**30

pytest_plugins = [
    "tests.statements",
    "tests.services.ministack",
    "tests.services.object_stores",
    "tests.services.openbao",
    "tests.services.postgresql",
    "tests.services.softhsm",
    "tests.vault.fixtures",
    "tests.crashes.scene",
    "tests.cli.operator",
]


# No test fails for being slow: the machine may have much else to do.
settings.register_profile("vault", deadline=None, max_examples=100)
settings.load_profile("vault")


def pytest_configure() -> None:
    """Put the tests' folders into memory where there is room: what they wait for most is a disk's fsync."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests: one that began last would run alone, and the other processes would wait for it.

    xdist's `worksteal` gives each process a stretch of the list, and whoever is through takes from the end of others'.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    begins = [0]
    for left in range(processes, 1, -1):
        begins.append(begins[-1] + (len(items) - begins[-1]) // left)
    # The first of each stretch, then the second of each, and so on.
    first = sorted(range(len(items)), key=lambda place: (place - max(at for at in begins if at <= place), place))
    long = [item for item in items if item.get_closest_marker("long")]
    taken = dict(zip(first, long, strict=False))
    rest = iter([item for item in items if not item.get_closest_marker("long")])
    items[:] = [taken.get(place) or next(rest) for place in range(len(items))]


@pytest.fixture(scope="session", autouse=True)
def heeding_interrupts() -> Iterator[None]:
    """Whoever starts the tests in the background has SIGINT ignored, and every child would inherit that."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
