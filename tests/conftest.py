"""Fixtures that several folders of tests share: each is set up once a process, whoever asks for it first.

A conftest that imports a fixture makes another of it: another server for the same session, and SoftHSM, which reads
one configuration for a process, would be told of two.
"""

import signal
from collections.abc import Iterator

import pytest

pytest_plugins = [
    "tests.statements",
    "tests.services.ministack",
    "tests.services.object_stores",
    "tests.services.openbao",
    "tests.services.postgresql",
    "tests.services.softhsm",
    "tests.vault.fixtures",
    "tests.cli.operator",
]


@pytest.fixture(scope="session", autouse=True)
def heeding_interrupts() -> Iterator[None]:
    """Whoever starts the tests in the background has SIGINT ignored, and every child would inherit that."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
