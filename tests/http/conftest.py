"""Served vaults: one for the session, and own ones for tests that break something."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.http.served import Sink, Site, served
from tests.services.postgresql import Server


@pytest.fixture(scope="session")
def logs() -> Sink:
    """What all servers of the session log."""
    return Sink()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def shared_site(
    request: pytest.FixtureRequest, seaweedfs: str, logs: Sink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    database = None
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        server.run("CREATE DATABASE served")
        database = server.url("served")
    with served(tmp_path_factory.mktemp("site"), seaweedfs, logs, database=database) as site:
        yield site
    if database is not None:
        server.run("DROP DATABASE served WITH (FORCE)")


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The session's vault. Afterwards nothing is under way in it."""
    yield shared_site
    shared_site.until_quiet()


@pytest.fixture
def new_site(seaweedfs: str, tmp_path: Path, logs: Sink) -> Iterator[Callable[..., Site]]:
    """Makes served vaults that are the test's own."""
    with ExitStack() as stack:

        def make(store: str = seaweedfs, **options: Any) -> Site:
            return stack.enter_context(served(tmp_path / "own", store, logs, **options))

        yield make
