"""What can happen to a catalogue on PostgreSQL only: connections die, servers restart, others share the database."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.services.object_stores import ACCESS_KEY, SECRET_KEY, settings
from tests.services.postgresql import Server, database_of, server
from tests.vault.databases import OnServer, migrate
from tests.vault.holding import place_hold
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import Record, World, make_world, png
from vault.access import Role, create_token
from vault.catalogue import Catalogue
from vault.context import Vault
from vault.destruction.carrying_out import recover_destructions
from vault.errors import (
    BusyError,
    CatalogueError,
    CatalogueFullError,
    DestructionRefusedError,
    HomeError,
    KeystoreError,
    RuleBrokenError,
    VaultError,
)
from vault.holds import NothingToHoldError, copy_held_keys
from vault.home import Founding, found_vault, open_vault
from vault.keys.key_uses import KeyUses
from vault.records.filing import complete_record, open_record

REPOSITORY = Path(__file__).parents[2]
STATEMENTS_LIMIT = 200


@pytest.fixture
def databases(postgresql_with_blank: Server) -> Iterator[OnServer]:
    """Here there is only one kind."""
    made = OnServer(postgresql_with_blank)
    yield made
    made.clear()


def on_server(world: World) -> Server:
    assert isinstance(world.databases, OnServer)
    return world.databases.server


def disconnect(world: World, also: str = "true") -> int:
    """End the connections to this world's database, as an operator or a firewall does."""
    name = database_of(world.database)
    ended = on_server(world).run(
        f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}' AND {also}"
    )
    return len(ended)


def numbers(world: World) -> list[int]:
    return [row.id for row in world.rows("SELECT id FROM journal ORDER BY id")]


def assert_sound(world: World) -> None:
    """Slots are used once, what was given out is counted, and the journal has no gaps."""
    assert world.value("SELECT COUNT(*) - COUNT(DISTINCT (cohort_id, slot)) FROM records") == 0
    assert world.value("SELECT SUM(next_slot - 1) FROM cohorts") == world.value("SELECT COUNT(*) FROM records")
    assert numbers(world) == list(range(1, len(numbers(world)) + 1))


# --- what the session is -------------------------------------------------------------------------------


def test_how_sessions_are_set(quick_world: World) -> None:
    database = database_of(quick_world.database)
    on_server(quick_world).run(f"ALTER DATABASE {database} SET synchronous_commit = off")
    quick_world.restart()
    for opened, isolation in (
        (quick_world.vault.catalogue.read, "repeatable read"),
        (quick_world.vault.catalogue.write, "read committed"),
    ):
        with opened() as tx:
            found = {
                name: tx.exec_driver_sql(f"SHOW {name}").scalar()
                for name in ("synchronous_commit", "transaction_isolation", "application_name", "statement_timeout")
            }
        assert found == {
            "synchronous_commit": "on",
            "transaction_isolation": isolation,
            "application_name": "shredvault",
            "statement_timeout": "5min",
        }


def test_where_more_than_the_disk_is_waited_for_that_stays(quick_world: World) -> None:
    database = database_of(quick_world.database)
    on_server(quick_world).run(f"ALTER DATABASE {database} SET synchronous_commit = remote_apply")
    quick_world.restart()
    assert quick_world.value("SHOW synchronous_commit") == "remote_apply"


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgresql://user:secret@localhost/vault", "password"),
        ("postgresql:///vault?password=secret", "password"),
        ("postgresql:///vault?nonsense=1", "understood"),
        ("postgresql:///vault?target_session_attrs=any", "takes writes"),
        ("mysql://localhost/vault", "must begin"),
        ("sqlite:///relative.db", "whole path"),
    ],
)
def test_urls_that_are_refused(url: str, word: str) -> None:
    with pytest.raises(HomeError, match=word) as refusal:
        Catalogue(url)
    assert "secret" not in str(refusal.value)


@contextmanager
def answering_about_tls(answer: bytes) -> Iterator[str]:
    """A server's port: it says whether it can do TLS, `S` or `N`, to whoever asks, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    with listener.accept()[0] as asker:
                        asker.recv(8)
                        asker.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield str(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def told(url: str) -> str:
    """What somebody hears who cannot read the catalogue."""
    catalogue = Catalogue(url)
    with pytest.raises(CatalogueError) as refusal, catalogue.read() as tx:
        tx.execute(sa.text("SELECT * FROM trees"))
    with pytest.raises(CatalogueError), catalogue.alone():
        pass
    catalogue.close()
    assert str(refusal.value).count(".") == 1, "one sentence"
    return str(refusal.value)


def test_who_cannot_get_in_hears_why(postgresql_with_blank: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    made = postgresql_with_blank
    made.run("CREATE ROLE guarded LOGIN PASSWORD 'open sesame'", "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    rules = made.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all guarded scram-sha-256\nlocal all unwelcome reject\n{before}")
    made.run("SELECT pg_reload_conf()")
    try:
        assert "password" in told(made.url("blank", user="guarded"))
        monkeypatch.setenv("PGPASSWORD", "guess")
        assert "password" in told(made.url("blank", user="guarded"))
        assert "connection left" in told(made.url("blank", user="crowded"))
        assert "let this user in" in told(made.url("blank", user="unwelcome"))
        assert "no such database" in told(made.url("nowhere"))
        assert "schema" in told(made.url("blank", options="-csearch_path%3Dnowhere"))
        assert "does not answer" in told(made.url("blank", host="/nonexistent"))
        for answer in (b"N", b"S"):
            with answering_about_tls(answer) as port:
                away = {"host": "127.0.0.1", "port": port, "sslmode": "verify-full", "sslrootcert": "/nonexistent.pem"}
                assert "No trusted TLS connection" in told(made.url("blank", **away))
        # The control: with the right password it goes as far as the rights of this user.
        monkeypatch.setenv("PGPASSWORD", "open sesame")
        made.run("REVOKE ALL ON trees FROM PUBLIC", database="blank")
        catalogue = Catalogue(made.url("blank", user="guarded"))
        with pytest.raises(CatalogueError, match="lacks a right"), catalogue.read() as tx:
            tx.execute(sa.text("SELECT * FROM trees"))
        catalogue.close()
    finally:
        rules.write_text(before)
        made.run("SELECT pg_reload_conf()", "DROP ROLE guarded", "DROP ROLE crowded")


@pytest.mark.parametrize(
    ("state", "kind", "word"),
    [
        ("53100", CatalogueFullError, "full"),
        ("53200", CatalogueError, "memory"),
        ("40001", BusyError, "busy"),
        ("40P01", BusyError, "busy"),
        ("57014", CatalogueError, "too long"),
        ("22001", RuleBrokenError, "rules"),
    ],
)
def test_what_the_server_reports_is_translated_and_leaves_nothing(
    quick_world: World, state: str, kind: type[VaultError], word: str
) -> None:
    """The server raises the error itself, in the statement that would need the room or the lock."""
    record = quick_world.file()
    (function, trigger) = quick_world.databases.broken("records")
    quick_world.run(function.replace("integrity_constraint_violation", state), trigger)
    with pytest.raises(kind, match=word):
        quick_world.open()
    assert quick_world.value("SELECT COUNT(*) FROM records") == 1
    quick_world.run(quick_world.databases.mended("records"))
    quick_world.records = [record]
    quick_world.assert_readable(record, quick_world.file())
    assert_sound(quick_world)


def test_a_database_that_only_reads_is_told_as_such(quick_world: World) -> None:
    name = database_of(quick_world.database)
    record = quick_world.file()
    on_server(quick_world).run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    quick_world.restart()
    with pytest.raises(CatalogueError, match="no writes"):
        quick_world.sweep()
    on_server(quick_world).run(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    quick_world.assert_readable(record)


# --- sharing a database --------------------------------------------------------------------------------


def test_vaults_in_schemas_of_one_database_do_not_meet(tmp_path: Path, databases: OnServer) -> None:
    url = databases.unused()
    databases.server.run('CREATE SCHEMA "one"', 'CREATE SCHEMA "Two of them"', database=database_of(url))
    catalogues = [Catalogue(f"{url}&options=-csearch_path%3D{path}") for path in ("one", '"Two%5C%20of%5C%20them"')]
    for catalogue in catalogues:
        catalogue.migrate()
    first, second = catalogues
    with first.write() as tx, second.write() as other, first.alone(), second.alone():
        tx.execute(sa.text("INSERT INTO vaults VALUES (1, 'x', 1, 0, 'x')"))
        assert other.execute(sa.text("SELECT COUNT(*) FROM vaults")).scalar() == 0
    for catalogue in catalogues:
        catalogue.close()


def test_one_writer_at_a_time_and_each_sees_the_one_before(quick_world: World) -> None:
    seen: list[int] = []

    def write() -> None:
        catalogue = Catalogue(quick_world.database)
        for _ in range(20):
            with catalogue.write() as tx:
                before = tx.execute(sa.text("SELECT next_version FROM trees WHERE tree = 'held'")).scalar_one()
                tx.execute(sa.text(f"UPDATE trees SET next_version = {before + 1} WHERE tree = 'held'"))
            seen.append(before)
        catalogue.close()

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(seen) == list(range(min(seen), min(seen) + 80))


def test_no_table_is_emptied_at_once_and_no_temporary_table_deceives(quick_world: World) -> None:
    record = quick_world.file()
    hold = place_hold(quick_world.vault, [record.id], "d").hold_id
    done = quick_world.scrub().id
    for table in ("journal", "reads", "records", "holds", "hold_records", "documents", "destructions", "cohorts"):
        with pytest.raises(RuleBrokenError):
            quick_world.run(f"TRUNCATE {table} CASCADE")
    condemned = f"UPDATE records SET condemned_by = '{done}' WHERE id = '{record.id}'"
    with pytest.raises(RuleBrokenError):
        quick_world.run(condemned)
    with pytest.raises(RuleBrokenError):
        quick_world.run("CREATE TEMP TABLE holds AS SELECT * FROM holds WHERE false", condemned)
    assert quick_world.value(f"SELECT released_at FROM holds WHERE id = '{hold}'") is None
    quick_world.assert_readable(record)


# --- connections that die ------------------------------------------------------------------------------


@contextmanager
def cut_at(world: World, number: int) -> Iterator[Callable[[], bool]]:
    """End the connection at the n-th moment that counts, from now on; tells whether it came to that.

    Every transaction's first statement and its COMMIT count, and every fourth statement between: what the server does
    with a transaction is the same wherever in it the connection was lost.
    """
    left, statements = number, 0
    engine = world.vault.catalogue._database.readers

    def cut(connection: sa.Connection) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            backend = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
            on_server(world).run(f"SELECT pg_terminate_backend({backend}, 10000)")

    def count(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal statements
        statements += 1
        if statement.startswith("BEGIN") or statements % 4 == 0:
            cut(connection)

    sa.event.listen(engine, "before_cursor_execute", count)
    sa.event.listen(engine, "commit", cut)
    try:
        yield lambda: left <= 0
    finally:
        sa.event.remove(engine, "before_cursor_execute", count)
        sa.event.remove(engine, "commit", cut)


def test_filing_that_loses_its_connection_anywhere_can_be_repeated(quick_world: World) -> None:
    world = quick_world
    world.file()
    content = png()

    def file(name: str) -> str:
        applicant = {"name": name}
        opened = open_record(world.vault, world.center, idempotency_key=name, applicant=applicant, body=b"")
        record = next((r for r in world.records if r.id == opened.record_id), None)
        if record is None:
            record = Record(opened.record_id, applicant)
            world.records.append(record)
        world.upload(record, "card.png", content)
        complete_record(world.vault, world.center, record.id)
        return record.id

    for number in range(1, STATEMENTS_LIMIT):
        with cut_at(world, number) as was_cut, suppress(CatalogueError):
            file(f"p{number}")
            assert not was_cut(), "nobody was told"
        if not was_cut():
            break
        once = file(f"p{number}")
        assert file(f"p{number}") == once
        assert_sound(world)
    assert number > 15
    assert world.value("SELECT COUNT(*) FROM records") == number + 1
    world.assert_readable(*world.records)


@pytest.mark.long
def test_a_destruction_that_loses_its_connection_anywhere_is_undone_or_carried_out(quick_world: World) -> None:
    world = quick_world
    held, *_ = world.file(), world.file()
    place_hold(world.vault, [held.id], "d")
    outcomes = set()
    for number in range(1, STATEMENTS_LIMIT):
        doomed = [world.file(), world.file()]
        world.advance(days=800)
        young = world.file()
        with cut_at(world, number) as was_cut, suppress(CatalogueError):
            world.sweep()
        if not was_cut():
            break
        recover_destructions(world.vault)
        copy_held_keys(world.vault)
        alive = {world.is_readable(record) for record in doomed}
        assert len(alive) == 1, "half of the list is gone"
        outcomes |= alive
        world.assert_two_masters()
        world.assert_readable(held, young)
        assert_sound(world)
        # Each turn has as many statements as the one before.
        world.sweep()
    assert outcomes == {True, False}
    world.assert_destroyed(*doomed)
    world.assert_readable(held)


def interrupted_write(world: World, interrupt: Callable[[], None]) -> None:
    with world.vault.catalogue.write() as tx:
        tx.execute(sa.text("UPDATE access_tokens SET label = 'lost'"))
        interrupt()
        tx.execute(sa.text("UPDATE access_tokens SET label = 'lost too'"))


@pytest.mark.parametrize("how", ["fast", "crash"])
def test_a_restart_of_the_server_is_survived_by_those_who_use_it(tmp_path: Path, databases: OnServer, how: str) -> None:
    with server(in_memory=True) as own:
        own.run("CREATE DATABASE blank")
        migrate(own.url("blank"))
        world = make_world(tmp_path / "vault", MemoryBucket(), OnServer(own))
        first = world.file()
        with pytest.raises(CatalogueError):
            interrupted_write(world, lambda: own.restart(how))
        assert world.value("SELECT COUNT(*) FROM access_tokens WHERE label LIKE 'lost%'") == 0
        second = world.file()
        world.assert_readable(first, second)
        own.stop(how)
        with pytest.raises(CatalogueError):
            world.fetch(first)
        own.start()
        world.assert_readable(first, second)
        assert_sound(world)
        world.vault.catalogue.close()


# --- one destroyer at a time, on all machines ----------------------------------------------------------


@contextmanager
def elsewhere(world: World) -> Iterator[Vault]:
    """The same vault on another machine, where no lock on a file is in its way."""
    catalogue = Catalogue(world.database)
    lock = world.folder / "home" / "another-machine.lock"
    yield replace(world.vault, catalogue=catalogue, lock_file=lock, uses=KeyUses())
    catalogue.close()


def test_another_machine_waits_for_a_destruction_to_end(quick_world: World) -> None:
    refused: list[str] = []

    def intrude(step: str) -> None:
        with pytest.raises(BusyError, match="Another destruction"):
            recover_destructions(other)
        refused.append(step)

    record = quick_world.file()
    with elsewhere(quick_world) as other:
        quick_world.scrub(intrude)
        assert recover_destructions(other).masters_discarded == 0
    assert len(refused) == 7
    quick_world.assert_destroyed(record)


@pytest.mark.parametrize("at", ["intent", "create master", "stage", "condemn", "fence", "destroy master", "record"])
def test_a_destroyer_who_lost_the_lock_harms_nobody(quick_world: World, at: str) -> None:
    """The connection with the lock dies; another machine recovers; the first goes on, knowing nothing."""
    world = quick_world
    dead, held = world.file(), world.file()
    place_hold(world.vault, [held.id], "d")
    world.advance(days=800)
    young = world.file()

    def lose(step: str) -> None:
        if step == at:
            assert disconnect(world, "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')") == 1
            with elsewhere(world) as other:
                recovered.append(recover_destructions(other))

    recovered: list[Any] = []
    with suppress(VaultError, KeystoreError):
        world.sweep(lose)
    assert len(recovered) == 1
    recover_destructions(world.vault)
    world.assert_two_masters()
    world.assert_readable(held, young)
    if at in ("fence", "destroy master", "record"):
        world.assert_destroyed(dead)
    else:
        world.assert_readable(dead)
    assert_sound(world)
    world.sweep()
    world.assert_destroyed(dead)
    world.assert_readable(held, young)


def test_a_master_that_somebody_gave_up_never_becomes_current(quick_world: World) -> None:
    """The worst moment: the other has taken the new master for an orphan, and has not destroyed it yet."""
    world = quick_world
    dead = world.file()

    def give_up(step: str) -> None:
        if step == "condemn":
            world.run(
                "UPDATE masters SET given_up_at = 1 WHERE name NOT IN (SELECT master FROM roots JOIN trees "
                "ON trees.tree = roots.tree AND trees.version = roots.version)"
            )

    with pytest.raises((RuleBrokenError, DestructionRefusedError)):
        world.scrub(give_up)
    world.assert_readable(dead)
    recover_destructions(world.vault)
    world.assert_two_masters()
    world.scrub()
    world.assert_destroyed(dead)


# --- several processes ---------------------------------------------------------------------------------


def test_processes_that_file_at_once_use_no_slot_twice(tmp_path: Path, seaweedfs: str, databases: OnServer) -> None:
    home = tmp_path / "home"
    founding = Founding(
        home=home,
        objects=seaweedfs,
        objects_folder=tmp_path / "objects",
        bucket=settings(None).bucket,
        region="us-east-1",
        custodian=f"file:{tmp_path}/keys",
        time_zone="America/New_York",
        retention_months=24,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        database=databases.unused(),
    )
    assert found_vault(founding)
    assert not found_vault(founding), "safe to run twice"
    with pytest.raises(HomeError, match="database"):
        found_vault(replace(founding, database=None))
    with pytest.raises(HomeError, match="another vault"):
        found_vault(replace(founding, home=tmp_path / "other", bucket=settings(None).bucket))
    with open_vault(home) as vault:
        token = create_token(vault, Role.CENTER, "center")
        command = [sys.executable, "-W", "error", "-m", "tests.catalogue.filer", str(home), token, "12"]
        processes = [
            subprocess.Popen(command, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(3)
        ]
        filed = []
        for process in processes:
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            filed += out.split()
        with vault.catalogue.read() as tx:
            rows = tx.execute(sa.text("SELECT id, cohort_id, slot FROM record_states WHERE state = 'retained'")).all()
            journal = tx.execute(sa.text("SELECT id FROM journal ORDER BY id")).scalars().all()
    assert sorted(filed) == sorted(row.id for row in rows)
    assert len({(row.cohort_id, row.slot) for row in rows}) == len(filed) == 36
    assert list(journal) == list(range(1, len(journal) + 1))
    assert not (home / "catalogue.db").exists()


@pytest.mark.parametrize("tried", range(4))
def test_holds_that_race_with_a_condemnation_win_or_are_refused(quick_world: World, tried: int) -> None:
    """Whoever comes first: a hold that was acknowledged protects, and one that came too late is refused."""
    world = quick_world
    records = [world.file() for _ in range(6)]
    world.advance(days=800)
    acknowledged: list[str] = []
    start = threading.Barrier(3)

    def hold(mine: list[Record]) -> None:
        with elsewhere(world) as other:
            start.wait()
            for record in mine:
                with suppress(NothingToHoldError, BusyError):
                    place_hold(other, [record.id], record.id[:8])
                    acknowledged.append(record.id)

    rivals = [threading.Thread(target=hold, args=(records[part::2],)) for part in range(2)]
    for rival in rivals:
        rival.start()
    start.wait()
    with suppress(BusyError):
        world.sweep()
    for rival in rivals:
        rival.join()
    for record in records:
        if record.id in acknowledged:
            world.assert_readable(record)
    recover_destructions(world.vault)
    world.sweep()
    assert {record.id for record in records if world.is_readable(record)} == set(acknowledged)
    world.assert_two_masters()
