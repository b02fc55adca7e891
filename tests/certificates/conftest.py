"""Certificates of real destructions in small vaults."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vault.databases import Files
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import World, make_world
from vault.certificates import Certificate, extract_ledger, issue_certificate

RECORDS = 12


@dataclass(frozen=True)
class Issued:
    """A certificate, and what somebody needs to check it."""

    world: World
    certificate: Certificate
    key: bytes
    ledger: bytes


def issue(world: World) -> Issued:
    """File some records, let them fall due, sweep them, and certify it."""
    for _ in range(RECORDS):
        world.file()
    world.advance(days=800)
    world.file()
    destroyed = world.sweep()
    certificate = issue_certificate(world.vault, destroyed.id)
    return Issued(
        world, certificate, f"{world.vault.signing.verifier}\n".encode(), extract_ledger(world.vault, destroyed.id)
    )


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory, blank_catalogue: Path) -> Iterator[Issued]:
    """One certificate for all tests that change nothing."""
    world = make_world(tmp_path_factory.mktemp("certified"), MemoryBucket(), Files(blank_catalogue))
    yield issue(world)
    world.vault.catalogue.close()
