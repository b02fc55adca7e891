"""Statements are compiled once for all catalogues of a process.

SQLAlchemy keeps what it compiled with the engine. A service has one engine; the tests open thousands of
catalogues, and would spend a third of their time on the same few hundred statements.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa


class Compiled(dict[Any, Any]):
    """A cache whose keys say which kind of database a statement is for, and not which engine."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_a_kind(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(_of_a_kind(key), compiled)


def _of_a_kind(key: Any) -> Any:
    dialect, *statement = key
    return dialect.name, *statement


@pytest.fixture(scope="session", autouse=True)
def compiled_statements() -> Iterator[None]:
    cache = Compiled()

    def share(connection: sa.Connection) -> None:
        connection.execution_options(compiled_cache=cache)

    sa.event.listen(sa.Engine, "engine_connect", share)
    yield
    sa.event.remove(sa.Engine, "engine_connect", share)
