"""Object stores for tests: moto in this process, and a real SeaweedFS server for the session."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from moto import mock_aws
from pydantic import SecretStr

from tests.services.fault_proxy import FaultProxy
from vault.host.embedded_store import EmbeddedStore
from vault.objects import Bucket, BucketSettings

ACCESS_KEY = "vault-under-test"
SECRET_KEY = SecretStr("not-a-secret-but-long-enough")


@dataclass
class ObjectStore:
    """A store and a name of a bucket that nobody else uses (it is not created yet)."""

    kind: str
    settings: BucketSettings
    _closing: ExitStack = field(default_factory=ExitStack)

    def bucket(self, **changes: object) -> Bucket:
        """A `Bucket` with these settings changed; closed at the end of the test."""
        bucket = Bucket(replace(self.settings, **changes))  # type: ignore[arg-type]
        self._closing.callback(bucket.close)
        return bucket

    def close(self) -> None:
        self._closing.close()


def settings(endpoint_url: str | None) -> BucketSettings:
    return BucketSettings(
        endpoint_url=endpoint_url,
        region="us-east-1",
        bucket=f"test-{secrets.token_hex(8)}",
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
    )


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint's URL of a SeaweedFS server that all tests share."""
    store = EmbeddedStore(tmp_path_factory.mktemp("seaweedfs") / "store", ACCESS_KEY, SECRET_KEY)
    with pytest.MonkeyPatch.context() as patch:
        # Each bucket has volumes of its own, and there are no more than would fit on the disk when all were full.
        patch.setattr("vault.host.embedded_store.VOLUME_MEBIBYTES", 16)
        endpoint = store.start()
    try:
        yield endpoint
    finally:
        store.stop()


@pytest.fixture
def real_store(seaweedfs: str) -> Iterator[ObjectStore]:
    store = ObjectStore("seaweedfs", settings(seaweedfs))
    yield store
    store.close()


@pytest.fixture(params=["moto", "seaweedfs"])
def object_store(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    """Every implementation in turn."""
    if request.param == "moto":
        with mock_aws():
            store = ObjectStore("moto", settings(None))
            yield store
            store.close()
    else:
        yield request.getfixturevalue("real_store")


@pytest.fixture
def proxy(seaweedfs: str) -> Iterator[FaultProxy]:
    """A fault proxy in front of the SeaweedFS server."""
    address = urlsplit(seaweedfs)
    assert address.hostname
    assert address.port
    with FaultProxy((address.hostname, address.port)) as proxy:
        yield proxy


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[Callable[[], EmbeddedStore]]:
    """Makes stores in the test's directory, which the test may start, stop and kill."""
    made: list[EmbeddedStore] = []

    def make() -> EmbeddedStore:
        made.append(EmbeddedStore(tmp_path / "store", ACCESS_KEY, SECRET_KEY))
        return made[-1]

    yield make
    for store in made:
        store.stop()
