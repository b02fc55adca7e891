"""A vault served by real workers, with an embedded object store, and its command line."""

from collections.abc import Callable, Iterator

import pytest

from tests.cli.operator import Operator
from tests.fences.service import Service
from tests.people import written_policy


@pytest.fixture
def serve(newcomer: Operator) -> Iterator[Callable[..., Service]]:
    """Found a vault and serve it with so many workers."""
    assert newcomer.run("init", *written_policy(newcomer.folder)).code == 0
    started: list[Service] = []

    def start(workers: int, **settings: str) -> Service:
        started.append(Service.start(newcomer, workers, **settings))
        return started[-1]

    yield start
    for service in started:
        service.kill()


@pytest.fixture
def service(serve: Callable[..., Service]) -> Service:
    """Three workers."""
    return serve(3)
