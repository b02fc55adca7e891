"""A disk that is full or read-only, under catalogue, masters and lock alike: every write may be the first that fails.

The disk is a real one (tmpfs), with room for so many pages and no more. Boundaries between services are in
`test_crashes`; these are the writes within them: the log of the database, a master's file, a lock.
"""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from keystore import Tree
from tests.crashes.faults import Died, Fuse, arm, disarm
from tests.crashes.test_crashes import ANSWERS, Town, recover, twin
from tests.crashes.test_crashes_of_moves import into
from tests.vault.databases import Databases, on_sqlite
from tests.vault.holding import place_hold, release_hold
from tests.vault.world import World
from vault.destruction.carrying_out import carry_out
from vault.destruction.frozen_lists import freeze_move

pytestmark = on_sqlite
DISK_BYTES = 48 * 1024**2
PAGE = 4096


class Disk:
    """A small file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    @contextmanager
    def full(self, room: int) -> Iterator[None]:
        """There are `room` pages left, and those that files have already."""
        there = os.statvfs(self.path)
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, (there.f_bavail - room) * there.f_frsize)
        try:
            yield
        finally:
            self._ballast.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self._mount("remount,ro")
        try:
            yield
        finally:
            self._mount("remount,rw")

    def _mount(self, options: str) -> None:
        subprocess.run(["mount", "-o", options, self.path], check=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    path = tmp_path_factory.mktemp("disk")
    options = f"size={DISK_BYTES},mode=700"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system takes root")
    yield Disk(path)
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def town(quick_world: World) -> Town:
    return Town(quick_world)


@contextmanager
def refused() -> Iterator[None]:
    """As the vault's own errors, or as the system's, which the command line knows."""
    try:
        yield
    except ANSWERS:
        pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def hold(world: World, town: Town) -> None:
    place_hold(world.vault, [town.due[0].id], "20-cv-2")


def release(world: World, town: Town) -> None:
    release_hold(world.vault, town.hold, "counsel")


def move(world: World, town: Town) -> None:  # as the others
    for tree in Tree:
        carry_out(world.vault, freeze_move(world.vault, tree, world.custodian.uri, "test"))


def sweep(world: World, town: Town) -> None:
    world.sweep()


def judge(world: World, town: Town, done: Callable[[World, Town], None]) -> None:
    due = [twin(world, record) for record in town.due]
    others = [r for r in world.records if r not in due and r.id != town.given_up.id]
    world.assert_readable(*others)
    alive = {world.is_readable(record) for record in due}
    assert alive == {True} or (done is sweep and alive == {False})
    world.assert_two_masters()
    assert world.value("SELECT COUNT(*) FROM destructions WHERE completed_at IS NULL AND abandoned_at IS NULL") == 0


@pytest.mark.parametrize("operation", [hold, release, move, sweep])
def test_a_disk_that_is_full_at_any_write(town: Town, disk: Disk, operation: Callable[[World, Town], None]) -> None:
    failed = 0
    for room in range(0, 400, 13):
        world = town.again(disk.path / "vault")
        ended = False
        with disk.full(room), refused():
            operation(world, town)
            ended = True
        world.restart()
        recover(world)
        judge(world, town, operation)
        world.vault.catalogue.close()
        shutil.rmtree(world.folder)
        if ended:
            break
        failed += 1
    else:
        pytest.fail("the operation writes more than the limit")
    assert failed > 2


@pytest.mark.parametrize("cut_at", [14, 26], ids=["before condemning", "after condemning"])
def test_a_recovery_on_a_full_disk_is_repeated(town: Town, disk: Disk, cut_at: int) -> None:
    for room in range(0, 200, 13):
        world = town.again(disk.path / "vault")
        arm(world, Fuse(cut_at, dies=True))
        with suppress(Died):
            world.sweep()
        disarm(world)
        ended = False
        with disk.full(room), refused():
            recover(world)
            ended = True
        world.restart()
        recover(world)
        judge(world, town, sweep)
        world.vault.catalogue.close()
        shutil.rmtree(world.folder)
        if ended:
            return
    pytest.fail("a recovery writes more than the limit")


def test_a_rebuild_on_a_full_disk_is_begun_again(town: Town, disk: Disk, databases: Databases) -> None:
    town.world.sweep()
    for room in range(60, 1000, 37):
        world = town.again(disk.path / "vault")
        ended = False
        with disk.full(room), refused():
            into(world, databases, world.folder / "first", world.vault.custody).vault.catalogue.close()
            ended = True
        again = into(world, databases, world.folder / "second", world.vault.custody)
        recover(again)
        again.assert_readable(twin(again, town.held), twin(again, town.young))
        again.assert_destroyed(*(twin(again, record) for record in town.due))
        again.assert_two_masters()
        for each in (world, again):
            each.vault.catalogue.close()
        shutil.rmtree(world.folder)
        if ended:
            return
    pytest.fail("a rebuild writes more than the limit")


@pytest.mark.parametrize("operation", [hold, release, move, sweep])
def test_a_read_only_disk_changes_nothing(town: Town, disk: Disk, operation: Callable[[World, Town], None]) -> None:
    world = town.again(disk.path / "vault")
    world.vault.catalogue.close()
    before = {path: path.read_bytes() for path in world.folder.rglob("*") if path.is_file()}
    with disk.read_only():
        with pytest.raises((OSError, *ANSWERS)):
            operation(world, town)
        world.vault.catalogue.close()
    assert {path: path.read_bytes() for path in world.folder.rglob("*") if path.is_file()} == before
    operation(world, town)
    judge(world, town, operation)
    world.vault.catalogue.close()
    shutil.rmtree(world.folder)


def test_what_was_cut_off_waits_for_a_disk_that_can_be_written(town: Town, disk: Disk, databases: Databases) -> None:
    """Neither a recovery nor a rebuild does anything by halves on a read-only disk."""
    world = town.again(disk.path / "vault")
    arm(world, Fuse(26, dies=True))
    with suppress(Died):
        world.sweep()
    disarm(world)
    world.vault.catalogue.close()
    with disk.read_only():
        with pytest.raises((OSError, *ANSWERS)):
            recover(world)
        world.vault.catalogue.close()
        with pytest.raises((OSError, *ANSWERS)):
            into(world, databases, world.folder / "first", world.vault.custody)
    world.restart()
    recover(world)
    judge(world, town, sweep)
    again = into(world, databases, world.folder / "second", world.vault.custody)
    recover(again)
    again.assert_readable(twin(again, town.held), twin(again, town.young))
    again.assert_two_masters()
    for each in (world, again):
        each.vault.catalogue.close()
    shutil.rmtree(world.folder)


@contextmanager
def unsynced(at: int, patch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The fsync of this number fails; yields what was counted."""
    real, seen = os.fsync, [0]

    def failing(descriptor: int) -> None:
        seen[0] += 1
        if seen[0] == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    with patch.context() as patched:
        patched.setattr(os, "fsync", failing)
        with suppress(OSError, *ANSWERS):
            yield seen


@pytest.mark.parametrize("cut_at", [14, 26], ids=["before condemning", "after condemning"])
def test_a_recovery_whose_master_cannot_be_synced_is_repeated(
    town: Town, disk: Disk, cut_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(1, 20):
        world = town.again(disk.path / "vault")
        arm(world, Fuse(cut_at, dies=True))
        with suppress(Died):
            world.sweep()
        disarm(world)
        with unsynced(at, monkeypatch) as seen:
            recover(world)
        world.restart()
        recover(world)
        judge(world, town, sweep)
        world.vault.catalogue.close()
        shutil.rmtree(world.folder)
        if seen[0] < at:
            assert at > 1, "something is synced"
            return
    pytest.fail("more syncs than the limit")


def test_a_rebuild_whose_masters_cannot_be_synced_is_begun_again(
    town: Town, disk: Disk, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.world.sweep()
    for at in range(1, 20):
        world = town.again(disk.path / "vault")
        with unsynced(at, monkeypatch) as seen:
            into(world, databases, world.folder / "first", world.vault.custody).vault.catalogue.close()
        again = into(world, databases, world.folder / "second", world.vault.custody)
        recover(again)
        again.assert_readable(twin(again, town.held), twin(again, town.young))
        again.assert_destroyed(*(twin(again, record) for record in town.due))
        again.assert_two_masters()
        for each in (world, again):
            each.vault.catalogue.close()
        shutil.rmtree(world.folder)
        if seen[0] < at:
            assert at > 1, "something is synced"
            return
    pytest.fail("more syncs than the limit")


@pytest.mark.parametrize("operation", [release, move, sweep])
def test_a_master_that_cannot_be_synced_leaves_nothing_half_done(
    town: Town, disk: Disk, operation: Callable[[World, Town], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fsync of a master's file or folder fails in its turn."""
    for at in range(1, 20):
        world = town.again(disk.path / "vault")
        with unsynced(at, monkeypatch) as seen:
            operation(world, town)
        world.restart()
        recover(world)
        judge(world, town, operation)
        world.vault.catalogue.close()
        shutil.rmtree(world.folder)
        if seen[0] < at:
            return
    pytest.fail("more syncs than the limit")
