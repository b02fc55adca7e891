"""One served vault for all tests here, and own ones for those that break something."""

from collections.abc import Iterator

import pytest

from tests.api.house import House, served
from tests.services.fault_proxy import FaultProxy
from tests.services.object_stores import proxy, seaweedfs

__all__ = ["proxy", "seaweedfs"]


@pytest.fixture(scope="session")
def shared_house(seaweedfs: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with served(tmp_path_factory.mktemp("house"), seaweedfs) as house:
        yield house


@pytest.fixture
def house(shared_house: House) -> Iterator[House]:
    """The shared vault; nothing is left under way in it."""
    yield shared_house
    shared_house.until_quiet()


@pytest.fixture
def own_house(seaweedfs: str, proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A vault of the test's own; its way to the store leads through `proxy`."""
    with served(tmp_path_factory.mktemp("own"), seaweedfs, way=proxy.url) as house:
        yield house
