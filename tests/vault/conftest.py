"""Vaults for tests: real SQLite, file custodian, simulated clock, and a bucket of their own."""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.services.object_stores import seaweedfs, settings
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import World, make_world
from vault.catalogue import Catalogue
from vault.objects import Bucket

__all__ = ["seaweedfs"]


@pytest.fixture(scope="session")
def blank_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated catalogue without content, to be copied."""
    path = tmp_path_factory.mktemp("blank") / "catalogue.db"
    catalogue = Catalogue(path)
    catalogue.migrate()
    catalogue.close()
    return path


@pytest.fixture(scope="session")
def idle_buckets(seaweedfs: str) -> Iterator[list[Bucket]]:
    """Buckets that are empty again. Making one takes SeaweedFS a quarter of a second."""
    idle: list[Bucket] = []
    yield idle
    for bucket in idle:
        bucket.close()


@pytest.fixture
def bucket(seaweedfs: str, idle_buckets: list[Bucket]) -> Iterator[Bucket]:
    """An empty, versioned bucket on a real object store, nobody else's while the test runs."""
    if idle_buckets:
        bucket = idle_buckets.pop()
    else:
        bucket = Bucket(replace(settings(seaweedfs), bucket=f"vault-{secrets.token_hex(8)}", attempts=1))
        bucket.ensure(versioned=True)
    yield bucket
    bucket.abort_unfinished("", older_than=None)
    bucket.delete_every_version({version.name for version in bucket.versions("")})
    idle_buckets.append(bucket)


@pytest.fixture
def world(tmp_path: Path, bucket: Bucket, blank_catalogue: Path) -> Iterator[World]:
    """A vault over the real object store."""
    world = make_world(tmp_path / "vault", bucket, blank_catalogue)
    yield world
    world.vault.catalogue.close()


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of vaults would otherwise wait for the disk's fsync."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="shredvault-test-") as folder:
        yield Path(folder)


@pytest.fixture
def new_world(scratch: Path, blank_catalogue: Path) -> Iterator[Callable[[], World]]:
    """Makes vaults over an object store in memory, for tests that need many."""
    made: list[World] = []

    def make() -> World:
        made.append(make_world(scratch / f"vault-{len(made)}", MemoryBucket(), blank_catalogue))
        return made[-1]

    yield make
    for world in made:
        world.vault.catalogue.close()


@pytest.fixture
def quick_world(new_world: Callable[[], World]) -> World:
    """A vault over an object store in memory."""
    return new_world()
