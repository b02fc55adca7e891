"""Crashes and failing services at a chosen boundary: the n-th of all calls that leave the process, and its steps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from botocore.exceptions import ClientError

from keystore import CustodianUnavailableError, Key
from keystore.custodians import Assurance, Custodian, MasterState
from tests.vault.memory_s3 import MemoryBucket, refused
from tests.vault.world import World
from vault.catalogue import Catalogue, Transaction
from vault.errors import CatalogueFullError
from vault.keys.custody import Custody
from vault.keys.key_uses import KeyUses


class Died(BaseException):
    """The process is dead: nothing of it runs any more, and nobody catches this."""


class Fuse:
    """Counts boundaries and blows at the n-th.

    `dies`: the process ends *before* the effect, and every later call ends too. Otherwise one service
    fails once, *after* its effect: the answer was lost. `only`: other boundaries than these do not count.
    """

    def __init__(self, at: int | None, *, dies: bool, only: frozenset[str] | None = None) -> None:
        self.count = 0
        self.blown: str | None = None
        self._at = at
        self._dies = dies
        self._only = only

    def reach(self, what: str, when: str, failure: Callable[[], Exception]) -> None:
        if self.blown is not None:
            if self._dies:
                raise Died
            return
        if when != ("before" if self._dies else "after") or (self._only and what not in self._only):
            return
        self.count += 1
        if self.count == self._at:
            self.blown = what
            if self._dies:
                raise Died
            raise failure()

    def step(self, name: str) -> None:
        if self._dies:
            self.reach(f"step {name}", "before", RuntimeError)


class FaultyCatalogue(Catalogue):
    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        with super().write() as tx:
            yield tx
            # Dead before the commit, or full at the commit: either way it is rolled back.
            self._fuse.reach("commit", "before" if self._fuse._dies else "after", CatalogueFullError)
        self._fuse.reach("committed", "after", CatalogueFullError)


class FaultyCustodian:
    def __init__(self, real: Custodian, fuse: Fuse) -> None:
        self._real = real
        self._fuse = fuse

    @property
    def uri(self) -> str:
        return self._real.uri

    @property
    def assurance(self) -> Assurance:
        return self._real.assurance

    @property
    def ends_masters(self) -> bool:
        return self._real.ends_masters

    def create(self, name: str, ends_at: datetime | None = None) -> None:
        with self._around("create"):
            self._real.create(name, ends_at)

    def wrap(self, name: str, key: Key, bound_to: bytes) -> bytes:
        with self._around("wrap"):
            return self._real.wrap(name, key, bound_to)

    def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        with self._around("unwrap"):
            return self._real.unwrap(name, wrapped, bound_to)

    def expires_at(self, name: str) -> datetime | None:
        return self._real.expires_at(name)

    def describe(self, name: str) -> MasterState:
        with self._around("describe"):
            return self._real.describe(name)

    def destroy(self, name: str) -> None:
        with self._around("destroy"):
            self._real.destroy(name)

    def names(self) -> frozenset[str]:
        return self._real.names()

    @contextmanager
    def _around(self, what: str) -> Iterator[None]:
        self._fuse.reach(what, "before", CustodianUnavailableError)
        yield
        self._fuse.reach(what, "after", CustodianUnavailableError)


def arm(world: World, fuse: Fuse) -> None:
    """Let every service of this world's vault pass the fuse."""
    bucket = world.vault.bucket
    assert isinstance(bucket, MemoryBucket)

    def unavailable() -> ClientError:
        return refused("ServiceUnavailable", 503)

    bucket.s3.around = lambda call, when: fuse.reach(call, when, unavailable)
    custodian = world.custodian
    world.vault.catalogue.close()
    world.vault = replace(
        world.vault,
        catalogue=FaultyCatalogue(world.database, fuse),
        custody=Custody.of(FaultyCustodian(custodian, fuse)),
        uses=KeyUses(),
    )


def disarm(world: World) -> None:
    """The services work again, and the process has been started anew."""
    bucket = world.vault.bucket
    assert isinstance(bucket, MemoryBucket)
    bucket.s3.around = lambda _call, _when: None
    world.restart()
