"""Vaults for tests: on real SQLite and on real PostgreSQL, with file custodian, simulated clock, own bucket."""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.services.object_stores import settings
from tests.services.postgresql import Server
from tests.vault.databases import Databases, Files, OnServer, blank_file, migrate
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import World, make_world
from vault.objects import Bucket


@pytest.fixture(scope="session")
def blank_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated catalogue without content, to be copied."""
    return blank_file(tmp_path_factory.mktemp("blank") / "catalogue.db")


@pytest.fixture(scope="session")
def postgresql_with_blank(postgresql: Server) -> Server:
    """The shared server, with a database `blank` that is migrated and empty, to be copied."""
    postgresql.run("CREATE DATABASE blank")
    migrate(postgresql.url("blank"))
    return postgresql


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Where catalogues come from. Tests of one kind of database choose it with `on_sqlite` or `on_postgresql`."""
    made: Databases
    if request.param == "sqlite":
        made = Files(request.getfixturevalue("blank_catalogue"))
    else:
        made = OnServer(request.getfixturevalue("postgresql_with_blank"))
    yield made
    made.clear()


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
def world(tmp_path: Path, bucket: Bucket, databases: Databases) -> Iterator[World]:
    """A vault over the real object store."""
    world = make_world(tmp_path / "vault", bucket, databases)
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
def new_world(scratch: Path, databases: Databases) -> Iterator[Callable[[], World]]:
    """Makes vaults over an object store in memory, for tests that need many."""
    made: list[World] = []

    def make() -> World:
        made.append(make_world(scratch / f"vault-{len(made)}", MemoryBucket(), databases))
        return made[-1]

    yield make
    for world in made:
        world.vault.catalogue.close()


@pytest.fixture
def quick_world(new_world: Callable[[], World]) -> World:
    """A vault over an object store in memory."""
    return new_world()
