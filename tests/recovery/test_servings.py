"""A restored backup that lacks nothing but filings is known for an old one, and what was cut off is made good."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.crashes.faults import Died, Fuse, arm, disarm
from tests.recovery.test_rebuilding import rebuilt
from tests.vault.databases import Databases, on_postgresql
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import World
from vault.catalogue.schema import nodes
from vault.destruction.carrying_out import recover_destructions, require_newest, require_newest_keys
from vault.errors import DestructionRefusedError, NotFoundError, OldCatalogueError
from vault.host.processes import Process
from vault.ids import new_id
from vault.records.retrieval import read_record
from vault.serving.servings import begin_serving, end_serving, settle_filings

DEAD = replace(Process.this(), started=1)
"""A process that had our number, and has ended."""


@pytest.fixture
def restored(quick_world: World) -> Iterator[Callable[[], World]]:
    """Takes a backup at the first call; gives the world with the restored backup at the second."""
    made: list[World] = []
    backups: list[str] = []

    def again() -> World:
        quick_world.vault.catalogue.close()
        if not backups:
            folder = quick_world.folder / "backup"
            folder.mkdir()
            backups.append(quick_world.databases.copied(quick_world.database, folder))
        else:
            made.append(replace(quick_world, database=backups[0], records=list(quick_world.records)))
            made[0].restart()
        return (made or [quick_world])[0]

    yield again
    for world in made:
        world.vault.catalogue.close()


def serve(world: World, process: Process = DEAD) -> str:
    serving = new_id()
    begin_serving(world.vault, serving, process)
    return serving


def listings(world: World) -> list[str]:
    """Listings of manifests from here on."""
    bucket = world.vault.bucket
    assert isinstance(bucket, MemoryBucket)
    seen: list[str] = []
    names = bucket.names

    def listed(prefix: str, *, after: str = "") -> Iterator[str]:
        seen.append(prefix)
        return names(prefix, after=after)

    bucket.names = listed  # type: ignore[method-assign]
    return seen


def test_a_backup_that_lacks_only_filings_is_known_and_brought_forward(
    quick_world: World, restored: Callable[[], World], databases: Databases
) -> None:
    serve(quick_world)
    first = quick_world.file()
    restored()
    lost = quick_world.file()
    world = restored()
    require_newest_keys(world.vault)
    with pytest.raises(OldCatalogueError):
        require_newest(world.vault)
    with pytest.raises(OldCatalogueError):
        settle_filings(world.vault)
    with pytest.raises(OldCatalogueError):
        world.scrub()
    world.assert_readable(first)
    with pytest.raises(NotFoundError):
        read_record(world.vault, world.reviewer, lost.id, "audit")
    again, done = rebuilt(world, databases)
    assert done.records == 2
    again.assert_readable(first, lost)
    seen = listings(again)
    require_newest(again.vault)
    assert "records/" not in seen


def test_a_completion_that_the_backup_lacks_is_made_good(quick_world: World, restored: Callable[[], World]) -> None:
    serve(quick_world)
    record, receiving = quick_world.open(), quick_world.open()
    quick_world.upload(record)
    restored()
    quick_world.complete(record)
    known = quick_world.rows(f"SELECT completed_at, due_on FROM records WHERE id = '{record.id}'")
    world = restored()
    # Else it would be destroyed as given up.
    world.advance(hours=73)
    with pytest.raises(DestructionRefusedError, match="were cut off"):
        world.sweep()
    assert settle_filings(world.vault) == 1
    assert world.rows(f"SELECT completed_at, due_on FROM records WHERE id = '{record.id}'") == known
    assert settle_filings(world.vault) == 0
    recover_destructions(world.vault)
    world.sweep()
    world.assert_readable(record)
    world.assert_destroyed(receiving)
    other = world.file()
    assert world.place(other)[0] != world.place(record)[0]


def test_a_manifest_that_the_key_did_not_tag_completes_nothing(quick_world: World) -> None:
    serve(quick_world)
    record, other = quick_world.open(), quick_world.file()
    quick_world.upload(record)
    bucket = quick_world.vault.bucket
    object_name = quick_world.value(f"SELECT object_name FROM documents WHERE record_id = '{record.id}'")
    forged = bucket.get(f"records/{other.id}", limit=10**6).replace(other.id.encode(), record.id.encode())
    theirs = quick_world.value(f"SELECT object_name FROM documents WHERE record_id = '{other.id}'")
    bucket.put(f"records/{record.id}", forged.replace(theirs.encode(), object_name.encode()))
    assert settle_filings(quick_world.vault) == 0
    assert quick_world.value(f"SELECT state FROM record_states WHERE id = '{record.id}'") == "receiving"


def test_after_a_crash_anywhere_in_a_completion_it_counts_or_can_be_repeated(quick_world: World) -> None:
    outcomes = set()
    for at in range(1, 20):
        serve(quick_world)
        record = quick_world.open()
        quick_world.upload(record)
        fuse = Fuse(at, dies=True)
        arm(quick_world, fuse)
        with suppress(Died):
            quick_world.complete(record)
        disarm(quick_world)
        made_good = settle_filings(quick_world.vault)
        outcomes.add(made_good)
        require_newest(quick_world.vault)
        quick_world.complete(record)
        quick_world.assert_readable(record)
        if fuse.blown is None:
            break
    assert outcomes == {0, 1}


def test_who_ended_in_order_is_not_compared(quick_world: World, restored: Callable[[], World]) -> None:
    serving = serve(quick_world)
    quick_world.file()
    end_serving(quick_world.vault.catalogue, quick_world.clock, serving)
    end_serving(quick_world.vault.catalogue, quick_world.clock, serving)
    restored()
    seen = listings(quick_world)
    require_newest(quick_world.vault)
    assert settle_filings(quick_world.vault) == 0
    assert "records/" not in seen
    # And what is filed in a later serving shows in the ledger.
    serve(quick_world)
    world = restored()
    with pytest.raises(OldCatalogueError):
        require_newest_keys(world.vault)


def test_a_serving_is_compared_once_and_not_while_somebody_serves(quick_world: World) -> None:
    serve(quick_world)
    serve(quick_world, Process.this())
    other = replace(Process.this(), pid=1, host="elsewhere", boot="elsewhere")
    now = quick_world.clock.now()
    row = {"id": new_id(), "active_version": 1, "held_version": 1, "replaced": True}
    with quick_world.vault.catalogue.write() as tx:
        lease = {"lease_until": now + timedelta(seconds=10), "host": other.host, "boot": other.boot}
        tx.execute(sa.insert(nodes).values(**row, **lease, pid=1, started=1))
    seen = listings(quick_world)
    require_newest(quick_world.vault)
    assert "records/" not in seen
    quick_world.advance(seconds=11)
    settle_filings(quick_world.vault)
    assert seen.count("records/") == 1
    # The one that is alive has not ended; it is asked about again.
    require_newest(quick_world.vault)
    assert seen.count("records/") == 2
    quick_world.vault.bucket.__dict__.pop("names")


@on_postgresql
def test_after_a_failover_leases_are_not_believed(quick_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(quick_world)
    with quick_world.vault.catalogue.write() as tx:
        tx.execute(
            sa.insert(nodes).values(
                id=new_id(),
                active_version=1,
                held_version=1,
                replaced=True,
                lease_until=quick_world.clock.now() + timedelta(seconds=10),
                host="elsewhere",
                boot="elsewhere",
                pid=1,
                started=1,
            )
        )
    seen = listings(quick_world)
    require_newest(quick_world.vault)
    assert "records/" not in seen
    monkeypatch.setattr(quick_world.vault.catalogue, "incarnation", lambda: "another timeline")
    require_newest(quick_world.vault)
    assert "records/" in seen
