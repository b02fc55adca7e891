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
    "tests.vault.scene",
    "tests.cli.operator",
]


def pytest_configure() -> None:
    """Put the tests' folders into memory where there is room: what they wait for most is a disk's fsync."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture(scope="session", autouse=True)
def heeding_interrupts() -> Iterator[None]:
    """Whoever starts the tests in the background has SIGINT ignored, and every child would inherit that."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
