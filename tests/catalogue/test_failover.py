"""Failover to a standby that lagged, on two real servers: known for another history, refused, and brought forward."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from keystore.custodians import FileCustodian
from tests.recovery.test_rebuilding import rebuilt
from tests.services.postgresql import Server, database_of, server, server_folder
from tests.vault.databases import OnServer, migrate
from tests.vault.holding import place_hold, release_hold
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import World, make_world
from vault.catalogue import Catalogue
from vault.destruction.carrying_out import recover_destructions, require_newest
from vault.errors import CatalogueError, OldCatalogueError
from vault.holds import list_holds


def test_a_standby_that_lagged_is_known_for_another_and_brought_forward(tmp_path: Path) -> None:
    with server() as primary, server_folder(in_memory=False) as folder:
        primary.run("CREATE DATABASE blank")
        migrate(primary.url("blank"))
        standby = Server(folder)
        standby.follow(primary)
        standby.start()
        try:
            world = make_world(tmp_path / "vault", MemoryBucket(), OnServer(primary))
            dead, held = world.file(), world.file()
            released = world.file()
            old_hold = place_hold(world.vault, [released.id], "15-cv-1").hold_id
            world.advance(days=800)
            fall_behind(world, primary, standby)
            # Of what follows only the primary, which is about to be lost, and bucket and custodian know.
            young = world.file()
            place_hold(world.vault, [held.id], "16-cv-1")
            assert world.sweep().condemned == 1
            release_hold(world.vault, old_hold, "counsel")
            fail_over(world, primary, standby)

            world.database = standby.url(database_of(world.database))
            world.databases = OnServer(standby)
            world.restart()
            assert world.rows("SELECT DISTINCT state FROM record_states") == [("retained",)], "it knows no destruction"
            masters = masters_of(world)
            for refused in (require_newest, recover_destructions):
                with pytest.raises(OldCatalogueError):
                    refused(world.vault)
            with pytest.raises(OldCatalogueError):
                world.scrub()
            assert masters_of(world) == masters

            again, done = rebuilt(world, world.databases)

            assert (done.records, done.held, done.condemned, done.holds_in_force) == (3, 1, 1, 1)
            again.assert_readable(held, released, young)
            again.assert_destroyed(dead)
            assert not masters_of(again) & masters
            assert [hold.docket for hold in list_holds(again.vault)] == ["16-cv-1"]
            again.sweep()
            again.assert_readable(held, young)
            again.assert_destroyed(dead, released)
            for each in (world, again):
                each.vault.catalogue.close()
        finally:
            standby.stop()


def fall_behind(world: World, primary: Server, standby: Server) -> None:
    """The standby has what was done so far, and gets no more."""
    reached = primary.run("SELECT pg_current_wal_lsn()")[0][0]
    eventually(lambda: standby.run(f"SELECT pg_last_wal_replay_lsn() >= '{reached}'")[0][0])
    count = world.value("SELECT COUNT(*) FROM records")
    assert standby.run("SELECT COUNT(*) FROM records", database=database_of(world.database)) == [(count,)]
    standby.run("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
    eventually(lambda: standby.run("SELECT COUNT(*) FROM pg_stat_wal_receiver")[0][0] == 0)


def fail_over(world: World, primary: Server, standby: Server) -> None:
    """The primary dies and the standby takes over: who used the one refuses the other."""
    name = database_of(world.database)
    incarnation = world.vault.catalogue.incarnation()
    count = world.value("SELECT COUNT(*) FROM records")
    # A process that knows both servers uses the one that takes writes, and restarts of it are nothing new.
    both = primary.url(name, host=f"{primary.folder},{standby.folder}")
    service, operator = Catalogue(both), Catalogue(both)
    assert records_in(service) == count
    with pytest.raises(CatalogueError):
        records_in(Catalogue(standby.url(name)))
    primary.restart()
    assert service.incarnation() == world.vault.catalogue.incarnation() == incarnation
    primary.stop("crash")
    with pytest.raises(CatalogueError):
        records_in(service)
    standby.run("SELECT pg_promote()")
    # At once, and without a checkpoint, it is known for another: whoever has used the old one refuses it.
    with pytest.raises(CatalogueError, match="replaced by another"):
        records_in(service)
    with pytest.raises(CatalogueError, match="replaced by another"):
        service.incarnation()
    taken_over = operator.incarnation()
    assert taken_over != incarnation
    assert taken_over.partition("/")[0] == incarnation.partition("/")[0], "the same system, on another timeline"
    assert records_in(operator) == count - 1, "what was filed after the lag began is missing"
    for catalogue in (service, operator, world.vault.catalogue):
        catalogue.close()


def masters_of(world: World) -> frozenset[str]:
    return FileCustodian(world.folder / "keys", away_from=world.folder / "home").names()


def records_in(catalogue: Catalogue) -> int:
    with catalogue.read() as tx:
        return int(tx.execute(sa.text("SELECT COUNT(*) FROM records")).scalar_one())


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
