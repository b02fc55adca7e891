"""The catalogue's two database roles: each does its own work, and neither the other's. On a real PostgreSQL."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

import psycopg
import pytest
import sqlalchemy as sa

from tests.crashes.faults import Died, Fuse, arm, disarm
from tests.services.postgresql import HURRIED, SUPERUSER, Server, database_of, server
from tests.vault.databases import OnServer, migrate
from tests.vault.holding import place_hold, release_hold
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import World, make_world
from vault.access import Role, authenticate, create_token
from vault.alarms import alarms_of
from vault.catalogue import Catalogue
from vault.catalogue.law import sunsets
from vault.destruction.carrying_out import recover_destructions
from vault.destruction.reclaim import reclaim
from vault.errors import DestructionRefusedError
from vault.holds import copy_held_keys
from vault.host.processes import Process
from vault.ids import new_id
from vault.serving.fences import Node
from vault.serving.servings import begin_serving, settle_filings
from vault.status import destructions, status_of

ROLES: Final = Path(__file__).parents[2] / "infra" / "postgresql" / "roles.sql"
API: Final = "shredvault_api"
DESTROYER: Final = "shredvault_destroyer"


@pytest.fixture
def postgresql() -> Iterator[Server]:
    """A server of its own: roles belong to a whole server."""
    with server(in_memory=True, **HURRIED) as made:
        made.run("CREATE DATABASE blank")
        migrate(made.url("blank"))
        yield made


@pytest.fixture
def world(postgresql: Server, tmp_path: Path) -> Iterator[World]:
    """A vault whose catalogue belongs to somebody else than the two who use it."""
    made = make_world(tmp_path / "vault", MemoryBucket(), OnServer(postgresql))
    for _ in range(2):  # safe to repeat, as after a migration
        postgresql.run(ROLES.read_text("utf-8"), database=database_of(made.database))
    yield made
    made.vault.catalogue.close()


def become(world: World, role: str) -> None:
    """Go on with a catalogue that this role opened. There is nothing to migrate, and no right to is needed."""
    world.vault.catalogue.close()
    url = world.database.replace(f"user={SUPERUSER}", f"user={role}")
    world.vault = replace(world.vault, catalogue=Catalogue(url))
    world.vault.catalogue.migrate()


def refused(world: World, role: str, statement: str) -> bool:
    """Whether the database says no for want of a right; nothing is changed either way."""
    url = world.database.replace(f"user={SUPERUSER}", f"user={role}")
    with psycopg.connect(url) as connection:
        try:
            connection.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return True
        finally:
            connection.rollback()
    return False


def test_each_does_its_own_work(world: World) -> None:
    become(world, API)
    with Node(world.vault):
        spared, doomed = world.file(), world.file()
        world.assert_readable(spared, doomed)
        # Its rights let it write that a deadline has latched; nobody believes it.
        now = world.clock.now()
        with world.vault.catalogue.write() as tx:
            lie = {"ends_at": now, "latched_at": now, "outcome": "DESTROY", "covers": [], "kept": []}
            tx.execute(sa.insert(sunsets).values(deadline=date(2026, 1, 1), **lie))
        world.assert_readable(spared, doomed)
        assert alarms_of(world.vault).unbelieved == [date(2026, 1, 1)]
        token = create_token(world.vault, Role.CENTER, "another")
        assert authenticate(world.vault, token).role is Role.CENTER
        hold = place_hold(world.vault, [spared.id], "24-CV-1").hold_id

    become(world, DESTROYER)
    with Node(world.vault):
        world.scrub()
        assert reclaim(world.vault) == 1
        assert copy_held_keys(world.vault) == 0
        assert recover_destructions(world.vault).undone == []
        assert len(destructions(world.vault)) == 1
        status_of(world.vault)

    become(world, API)
    world.assert_readable(spared)
    world.assert_destroyed(doomed)

    become(world, DESTROYER)
    with Node(world.vault):
        release_hold(world.vault, hold, "test")
        world.scrub()
        reclaim(world.vault)

    become(world, API)
    world.assert_destroyed(spared, doomed)


ENDS = [
    "INSERT INTO policies SELECT * FROM policies",
    "UPDATE orders SET used_at = 1, used_by = 'x'",
    "INSERT INTO lists SELECT * FROM lists",
    "UPDATE records SET condemned_by = NULL",
    "UPDATE records SET spared = false",
    "UPDATE records SET reclaimed = true, sheet = NULL",
    "UPDATE cohorts SET condemned_by = NULL",
    "UPDATE destructions SET condemned_at = 1",
    "UPDATE destructions SET fenced_at = 1, completed_at = 1",
    "INSERT INTO destructions SELECT * FROM destructions",
    "INSERT INTO destruction_lists SELECT * FROM destruction_lists",
    "UPDATE holds SET released_at = 1",
    "UPDATE masters SET destroyed_at = 1",
    "INSERT INTO masters SELECT * FROM masters",
    "DELETE FROM documents",
    "DELETE FROM roots",
    "DELETE FROM sealed_pages",
]
SEES = [
    "SELECT sheet FROM records",
    "SELECT body_tag FROM records",
    "SELECT sheet FROM record_states",
    "SELECT slip FROM documents",
    "SELECT name_tag FROM documents",
    "UPDATE records SET sheet = sheet RETURNING sheet",
    "DELETE FROM documents RETURNING slip",
    # A reviewer of its own making would read through the service.
    "SELECT * FROM access_tokens",
    "INSERT INTO access_tokens VALUES ('a', 'reviewer', 'l', 'x', 1)",
    "UPDATE access_tokens SET revoked_at = NULL",
]
CHANGES = [
    "UPDATE journal SET event = ''",
    "DELETE FROM journal",
    "UPDATE reads SET purpose = ''",
    "DELETE FROM records",
    "DELETE FROM holds",
    "UPDATE roots SET master = master",
    "UPDATE sealed_pages SET sealed = sealed",
    "UPDATE policies SET adopted_at = 1",
    "UPDATE orders SET body = body",
    "UPDATE orders SET effective_at = 1",
    "UPDATE list_slots SET slots = slots",
    "UPDATE vaults SET vault_id = vault_id",
    "UPDATE records SET completed_at = 1 WHERE id = '' RETURNING sheet",
    "ALTER TABLE records DISABLE TRIGGER ALL",
    "DROP TABLE records",
    "CREATE TABLE mine (x int)",
    "UPDATE alembic_version SET version_num = ''",
    "TRUNCATE nodes",
]


@pytest.mark.parametrize(
    ("role", "statements"),
    [(API, ENDS), (DESTROYER, SEES), (DESTROYER, CHANGES), (API, [s for s in CHANGES if "completed_at" not in s])],
    ids=["the api ends nothing", "the destroyer sees nothing sealed", "the destroyer", "the api"],
)
def test_neither_does_more(world: World, role: str, statements: list[str]) -> None:
    world.file()
    before = world.rows("SELECT * FROM records")

    assert [statement for statement in statements if not refused(world, role, statement)] == []
    assert world.rows("SELECT * FROM records") == before

    # The same statements, of somebody who may: that it was for want of a right.
    assert not any(refused(world, SUPERUSER, statement) for statement in statements if statement[:6] == "SELECT")


def test_what_was_cut_off_is_seen_by_both_and_made_good_by_the_api(world: World) -> None:
    begin_serving(world.vault, new_id(), replace(Process.this(), started=1))
    record = world.open()
    world.upload(record)
    arm(world, Fuse(3, dies=True))
    with pytest.raises(Died):
        world.complete(record)
    disarm(world)
    become(world, DESTROYER)
    with pytest.raises(DestructionRefusedError, match="were cut off"):
        recover_destructions(world.vault)
    become(world, API)
    assert settle_filings(world.vault) == 1
    become(world, DESTROYER)
    recover_destructions(world.vault)
