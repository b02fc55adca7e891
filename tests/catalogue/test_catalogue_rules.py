"""What the database itself refuses, whatever the code above it does; and how it is opened."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.people import frozen
from tests.vault.databases import Databases, on_sqlite
from tests.vault.holding import place_hold, release_hold
from tests.vault.world import World, png, upload
from vault import holds
from vault.access import Role, authenticate, create_token
from vault.catalogue import Catalogue, Transaction, sqlite_url
from vault.catalogue.engine import newest_revision
from vault.catalogue.migrations.rules import RULES, Forbid
from vault.catalogue.schema import metadata
from vault.certificates import issue_certificate
from vault.destruction.carrying_out import recover_destructions
from vault.errors import BusyError, CatalogueError, CatalogueFullError, HomeError, RuleBrokenError
from vault.holds import Kind, Scope, Terms
from vault.law.retention import Cause
from vault.records.filing import open_record

AUDIT = Terms(Kind.AUDIT, "City Comptroller", "17-aud-3")


class Scene:
    """A vault with something of everything; `sql` fills the ids into a statement."""

    def __init__(self, world: World) -> None:
        self.world = world
        dead, saved = world.file(), world.file()
        whole = [world.file() for _ in range(3)]
        first = place_hold(world.vault, [saved.id, *(r.id for r in whole)], "first").hold_id
        world.scrub()  # condemns `dead` one by one, for most of the cohort survives
        release_hold(world.vault, first, "counsel")
        hold = place_hold(world.vault, [saved.id], "second").hold_id
        done = world.scrub()  # condemns the cohort as a whole and spares `saved`
        world.open()
        shut = world.value("SELECT MAX(id) FROM cohorts")
        world.run(f"UPDATE cohorts SET next_slot = 50 WHERE id = {shut}")
        world.run(f"UPDATE cohorts SET closed_at = 1 WHERE id = {shut}")
        open_one, receiving = world.file(), world.open()
        world.upload(receiving)
        held = place_hold(world.vault, [open_one.id], "third").hold_id
        world.fetch(open_one)
        far = authenticate(world.vault, create_token(world.vault, Role.CENTER, "far"))
        ruled = holds.place_hold(world.vault, AUDIT, Scope(centers=("far",)), "counsel").hold_id
        ruled_one = open_record(world.vault, far, idempotency_key="far", applicant={}, body=b"").record_id
        world.run(
            "INSERT INTO sunsets (deadline, ends_at, latched_at, outcome, kept) "
            "VALUES ('2020-12-31', 1, 2, 'PRESERVE', '[]')"
        )
        world.run(f"INSERT INTO gone_records VALUES ('gone', '{done.id}')")
        alike = "body, approvals, policy_version, accepted_at, effective_at, expires_at"
        world.run(
            f"INSERT INTO orders (id, action, {alike}) SELECT 'decision', 'preserve', {alike} FROM orders LIMIT 1"
        )
        issue_certificate(world.vault, done.id)
        frozen_one = frozen(world.vault, Cause.SCRUB)
        self.ids = {
            "dead": dead.id,
            "whole": whole[0].id,
            "saved": saved.id,
            "young": open_one.id,
            "receiving": receiving.id,
            "released": first,
            "hold": hold,
            "third": held,
            "ruled": ruled,
            "ruled_one": ruled_one,
            "order": world.value(f"SELECT ending_order FROM hold_records WHERE hold_id = '{first}'"),
            "done": done.id,
            "frozen": frozen_one,
            "young_cohort": world.place(open_one)[0],
            "old_cohort": world.place(dead)[0],
            "shut_cohort": shut,
            "dead_master": done.old_master,
        }

    def sql(self, statement: str) -> None:
        self.world.run(statement.format(**self.ids))


@pytest.fixture
def scene(quick_world: World) -> Scene:
    return Scene(quick_world)


RECORD = "INSERT INTO records (id, cohort_id, slot, policy_version, opened_at, sheet) VALUES ('n', {c}, {s}, 1, 1, 'x')"
HELD = "INSERT INTO hold_records (hold_id, record_id, cohort_id) VALUES ('{{hold}}', '{r}', {c})"
DOCUMENT = "INSERT INTO documents VALUES ('n', '{r}', 't', 'o', 's')"

JOURNAL = (
    "INSERT INTO journal (id, at, event, subject, facts, salt) "
    "SELECT {id}, at, 'e', 's', facts, salt FROM journal WHERE id = 1"
)

FORBIDDEN = {
    "certificates_stay": "DELETE FROM certificates",
    "certificates_are_append_only": "UPDATE certificates SET issued_at = 1",
    "certificates_follow_completion": "INSERT INTO certificates VALUES ('{frozen}', 'x', 0)",
    "records_stay": "DELETE FROM records WHERE id = '{young}'",
    "cohorts_stay": "DELETE FROM cohorts WHERE id = {young_cohort}",
    "destructions_stay": "DELETE FROM destructions WHERE id = '{done}'",
    "policies_stay": "DELETE FROM policies",
    "orders_stay": "DELETE FROM orders",
    "lists_stay": "DELETE FROM lists",
    "list_slots_stay": "DELETE FROM list_slots",
    "policies_are_append_only": "UPDATE policies SET adopted_at = 1",
    "lists_are_append_only": "UPDATE lists SET count = 1",
    "list_slots_are_append_only": "UPDATE list_slots SET cohort_id = cohort_id",
    "policies_follow_one_another": "INSERT INTO policies "
    "SELECT 0, document, approvals, order_id, adopted_at FROM policies",
    "orders_are_used_once": "UPDATE orders SET used_at = 1, used_by = 'x'",
    "orders_are_used_once: changed": "UPDATE orders SET body = '{{}}'",
    "decisions_are_not_taken_back": "UPDATE orders SET void_reason = 'x' WHERE id = 'decision'",
    "destructions_have_authority": "UPDATE destructions SET condemned_at = 1 WHERE id = '{frozen}'",
    "due_dates_come_nearer": "UPDATE records SET due_on = '2100-01-01' WHERE id = '{young}'",
    "journal_stay": "DELETE FROM journal WHERE id = 1",
    "hold_records_stay": "DELETE FROM hold_records WHERE hold_id = '{third}'",
    "hold_scopes_stay": "DELETE FROM hold_scopes WHERE hold_id = '{ruled}'",
    "holds_stay": "DELETE FROM holds WHERE id = '{third}'",
    "reads_stay": "DELETE FROM reads",
    "gone_records_stay": "DELETE FROM gone_records",
    "gone_records_are_append_only": "UPDATE gone_records SET id = 'other'",
    "journal_is_append_only": "UPDATE journal SET event = 'x' WHERE id = 1",
    "journal_has_no_gaps": JOURNAL.format(id="(SELECT MAX(id) + 2 FROM journal)"),
    "journal_has_no_gaps: from behind": JOURNAL.format(id=0),
    "ledger_nodes_stay": "DELETE FROM ledger_nodes",
    "ledger_nodes_are_append_only": "UPDATE ledger_nodes SET position = position + 1000",
    "reads_are_append_only": "UPDATE reads SET purpose = 'audit'",
    "records_enter_open_cohorts: closed": RECORD.format(c="{shut_cohort}", s=40),
    "records_enter_open_cohorts: slot not given out": RECORD.format(c="{young_cohort}", s=900),
    "records_enter_open_cohorts: no such cohort": RECORD.format(c=77, s=1),
    "records_keep_their_place: id": "UPDATE records SET id = 'x' WHERE id = '{receiving}'",
    "records_keep_their_place: slot": "UPDATE records SET slot = 700 WHERE id = '{young}'",
    "records_keep_their_place: cohort": "UPDATE records SET cohort_id = 1 WHERE id = '{young}'",
    "records_keep_their_place: policy": "UPDATE records SET policy_version = 2 WHERE id = '{young}'",
    "records_keep_their_place: opened": "UPDATE records SET opened_at = 1 WHERE id = '{young}'",
    "records_are_completed_once": "UPDATE records SET completed_at = 1 WHERE id = '{young}'",
    "records_are_completed_once: cleared": "UPDATE records SET completed_at = NULL, due_on = NULL WHERE id = '{young}'",
    "records_are_condemned_once": "UPDATE records SET condemned_by = NULL WHERE id = '{dead}'",
    "records_are_condemned_once: as a whole": "UPDATE records SET condemned_by = '{done}' WHERE id = '{whole}'",
    "held_records_are_not_condemned": "UPDATE records SET condemned_by = '{done}' WHERE id = '{young}'",
    "held_records_are_not_condemned: spared": "UPDATE records SET condemned_by = '{done}' WHERE id = '{saved}'",
    "records_are_spared_before_their_cohort_is_condemned": "UPDATE records SET spared = true WHERE id = '{whole}'",
    "records_are_spared_before_their_cohort_is_condemned: undone": "UPDATE records SET spared = false "
    "WHERE id = '{saved}'",
    "only_destroyed_records_are_reclaimed": "UPDATE records SET reclaimed = true, sheet = NULL, opened_by = NULL, "
    "body_tag = NULL, due_on = NULL WHERE id = '{saved}'",
    "documents_go_with_their_record": "DELETE FROM documents WHERE record_id = '{young}'",
    "documents_enter_receiving_records: retained": DOCUMENT.format(r="{young}"),
    "documents_enter_receiving_records: destroyed": DOCUMENT.format(r="{dead}"),
    "cohorts_close_once": "UPDATE cohorts SET closed_at = NULL, condemned_by = NULL WHERE id = {old_cohort}",
    "cohorts_close_once: slots back": "UPDATE cohorts SET next_slot = 1 WHERE id = {young_cohort}",
    "cohorts_are_condemned_once": "UPDATE cohorts SET condemned_by = NULL WHERE id = {old_cohort}",
    "cohorts_with_held_records_are_not_condemned": "UPDATE cohorts SET closed_at = 1, condemned_by = '{done}' "
    "WHERE id = {young_cohort}",
    "held_records_are_not_condemned: by a rule": "UPDATE records SET condemned_by = '{done}' WHERE id = '{ruled_one}'",
    "holds_protect_living_records: destroyed": HELD.format(r="{dead}", c="{old_cohort}"),
    "holds_protect_living_records: wrong cohort": HELD.format(r="{receiving}", c="{old_cohort}"),
    "hold_records_end_on_orders": "UPDATE hold_records SET ends_at = 1 WHERE hold_id = '{third}'",
    "hold_records_end_on_orders: another hold's": "UPDATE hold_records SET ends_at = 1, ending_order = '{order}' "
    "WHERE hold_id = '{third}'",
    "hold_scopes_end_on_orders": "UPDATE hold_scopes SET ends_at = 1 WHERE hold_id = '{ruled}'",
    "hold_records_end_after_their_tail": "UPDATE hold_records SET ended_at = 1 WHERE hold_id = '{third}'",
    "hold_records_end_after_their_tail: again": "UPDATE hold_records SET ended_at = ended_at + 1 "
    "WHERE hold_id = '{released}'",
    "hold_scopes_end_after_their_tail": "UPDATE hold_scopes SET ended_at = 1 WHERE hold_id = '{ruled}'",
    "hold_records_stay_what_they_are": "UPDATE hold_records SET record_id = '{receiving}' WHERE hold_id = '{third}'",
    "hold_scopes_stay_what_they_are": "UPDATE hold_scopes SET since = 1 WHERE hold_id = '{ruled}'",
    "holds_are_released_when_all_parts_have_ended": "UPDATE holds SET released_at = 1 WHERE id = '{third}'",
    "holds_are_released_when_all_parts_have_ended: of rules": "UPDATE holds SET released_at = 1 WHERE id = '{ruled}'",
    "time_marks_stay": "DELETE FROM time_marks",
    "trusted_time_goes_forward": "UPDATE time_marks SET high_water = high_water - 1",
    "trusted_time_goes_forward: suspect": "UPDATE time_marks SET high_water = 1, suspect_since = 1, why = 'x'",
    "sunsets_stay": "DELETE FROM sunsets",
    "sunsets_latch_once": "UPDATE sunsets SET outcome = 'DESTROY'",
    "holds_are_released_once": "UPDATE holds SET released_at = NULL WHERE id = '{released}'",
    "holds_are_released_once: renamed": "UPDATE holds SET id = 'x' WHERE id = '{third}'",
    "trees_go_forward": "UPDATE trees SET version = 1 WHERE tree = 'active'",
    "trees_go_forward: same": "UPDATE trees SET version = version",
    "masters_die_once": "UPDATE masters SET destroyed_at = NULL WHERE name = '{dead_master}'",
    "masters_in_use_are_not_given_up": "UPDATE masters SET given_up_at = 1 WHERE destroyed_at IS NULL",
    "roots_stand_under_living_masters": "INSERT INTO roots SELECT tree, 99, epoch, '{dead_master}', wrapped_key, "
    "sealed_page FROM roots WHERE tree = 'active' LIMIT 1",
    "trees_go_to_living_roots": "UPDATE trees SET version = next_version, next_version = next_version + 9 "
    "WHERE tree = 'active'",
    "destructions_are_carried_out": "UPDATE destructions SET completed_at = NULL WHERE id = '{done}'",
    "destructions_are_carried_out: undone": "UPDATE destructions SET abandoned_at = 1 WHERE id = '{done}'",
    "destructions_are_carried_out: uncondemned": "UPDATE destructions SET condemned_at = NULL WHERE id = '{done}'",
}
CONSTRAINTS = {
    "one vault": "INSERT INTO vaults VALUES (2, 'x', 1, 0, 'x')",
    "role": "UPDATE access_tokens SET role = 'root'",
    "one time": "INSERT INTO time_marks VALUES (2, 1, 1, 'x', 1, NULL, NULL)",
    "suspect for no reason": "UPDATE time_marks SET suspect_since = 1",
    "latched early": "INSERT INTO sunsets (deadline, ends_at, latched_at, outcome) "
    "VALUES ('2021-12-31', 2, 1, 'DESTROY')",
    "slot zero": "UPDATE cohorts SET next_slot = 1025 WHERE id = {young_cohort}",
    "condemned is closed": "UPDATE cohorts SET condemned_by = '{done}' WHERE id = 99",
    "completed without a date": "UPDATE records SET completed_at = 1 WHERE id = '{receiving}'",
    "a date without completion": "UPDATE records SET due_on = '2030-01-01' WHERE id = '{receiving}'",
    "bare without being reclaimed": "UPDATE records SET sheet = NULL WHERE id = '{young}'",
    "kind": "UPDATE destructions SET kind = 'whim' WHERE id = '{done}'",
    "version not given out": "UPDATE trees SET version = next_version + 5",
    "no such record": "INSERT INTO documents VALUES ('n', 'nobody', 't', 'o', 's')",
    "a slot twice": RECORD.format(c="{young_cohort}", s=1),
    "no such master": "UPDATE roots SET master = 'x'",
}
del CONSTRAINTS["condemned is closed"]  # no such row: nothing to refuse


def content(world: World) -> list[list[object]]:
    return [world.rows(f"SELECT * FROM {table.name}") for table in metadata.sorted_tables]


def test_every_rule_of_the_schema_refuses(scene: Scene) -> None:
    before = content(scene.world)
    for rule, statement in (FORBIDDEN | CONSTRAINTS).items():
        try:
            scene.sql(statement)
        except RuleBrokenError:
            continue
        pytest.fail(f"not refused: {rule}")
    assert content(scene.world) == before


def test_the_scene_reaches_every_trigger() -> None:
    assert {rule.name for rule in RULES if isinstance(rule, Forbid)} == {rule.partition(":")[0] for rule in FORBIDDEN}


def drop_trigger(databases: Databases, tx: Transaction, name: str) -> None:
    if databases.kind == "sqlite":
        tx.exec_driver_sql(f"DROP TRIGGER {name}")
        tx.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    else:
        tx.exec_driver_sql(f"DROP FUNCTION {name} CASCADE")
        # Foreign keys are triggers of the system.
        for table in metadata.sorted_tables:
            tx.exec_driver_sql(f"ALTER TABLE {table.name} DISABLE TRIGGER ALL")
            tx.exec_driver_sql(f"ALTER TABLE {table.name} ENABLE TRIGGER USER")


def test_each_trigger_is_the_one_that_refuses(scene: Scene) -> None:
    """Without its trigger a statement passes, unless something else stands in its way: then this names it."""
    also_by_others = {
        "trees_go_forward",
        "trees_go_forward: same",
        "records_are_condemned_once: as a whole",
        "records_enter_open_cohorts: no such cohort",
        "records_keep_their_place: cohort",
        "records_keep_their_place: policy",
        "destructions_are_carried_out: undone",
        "destructions_are_carried_out: uncondemned",
        "cohorts_close_once",
    }
    for rule, statement in FORBIDDEN.items():
        name = rule.partition(":")[0]
        passed = False
        with scene.world.vault.catalogue.write() as tx:
            drop_trigger(scene.world.databases, tx, name)
            try:
                done = tx.exec_driver_sql(statement.format(**scene.ids))
                passed = done.rowcount > 0
            except sa.exc.IntegrityError:
                pass
            tx.rollback()
        assert passed or rule in also_by_others, rule


def test_changes_that_matter_to_a_list_are_counted(scene: Scene) -> None:
    def revision() -> int:
        return int(scene.world.value("SELECT revision FROM cohorts WHERE id = {young_cohort}".format(**scene.ids)))

    world, receiving = scene.world, scene.world.records[-1]
    recover_destructions(world.vault)
    steps: list[Callable[[], object]] = [
        world.open,
        lambda: world.complete(receiving),
        lambda: place_hold(world.vault, [receiving.id], "x"),
        lambda: release_hold(world.vault, scene.ids["third"], "counsel"),
        lambda: holds.place_hold(world.vault, AUDIT, Scope(program=True), "counsel"),
        lambda: release_hold(world.vault, scene.ids["ruled"], "counsel"),
        lambda: scene.sql("UPDATE records SET spared = true WHERE id = '{receiving}'"),
    ]
    for step in steps:
        before = revision()
        step()
        assert revision() > before


def test_the_migrations_give_the_schema_in_the_code(databases: Databases, tmp_path: Path) -> None:
    catalogue = Catalogue(databases.unused() or sqlite_url(tmp_path / "fresh.db"))
    catalogue.migrate()
    catalogue.migrate()
    with catalogue.read() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == newest_revision(), "what is asked without Alembic"
    catalogue.close()


def test_a_database_of_a_newer_version_is_left_alone(quick_world: World) -> None:
    quick_world.run("UPDATE alembic_version SET version_num = '9999'")
    before = content(quick_world)
    with pytest.raises(HomeError, match="newer"):
        quick_world.vault.catalogue.migrate()
    assert content(quick_world) == before


@on_sqlite
def test_how_connections_are_set(quick_world: World) -> None:
    for opened in (quick_world.vault.catalogue.read, quick_world.vault.catalogue.write):
        with opened() as tx:
            found = {
                name: tx.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in (
                    "synchronous",
                    "journal_mode",
                    "foreign_keys",
                    "secure_delete",
                    "temp_store",
                    "busy_timeout",
                )
            }
            trusted = tx.exec_driver_sql("PRAGMA trusted_schema").scalar()
        assert found == {
            "synchronous": 2,
            "journal_mode": "wal",
            "foreign_keys": 1,
            "secure_delete": 1,
            "temp_store": 2,
            "busy_timeout": 10_000,
        }
        assert trusted == 0


@on_sqlite
def test_files_are_nobody_elses(quick_world: World) -> None:
    with quick_world.vault.catalogue.read():
        files = [path for path in (quick_world.folder / "home").iterdir() if path.name.startswith("catalogue")]
    assert {path.name for path in files} >= {"catalogue.db", "catalogue.db-wal", "catalogue.db-shm"}
    fresh = Catalogue(sqlite_url(quick_world.folder / "home" / "fresh.db"))
    fresh.migrate()
    assert stat.S_IMODE((quick_world.folder / "home" / "fresh.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((quick_world.folder / "home" / "fresh.db-wal").stat().st_mode) == 0o600
    fresh.close()


def fill_disk(catalogue: Catalogue) -> None:
    """From now on the database cannot grow, on any connection."""

    def limit(connection: object, _: object) -> None:
        count = connection.execute("PRAGMA page_count").fetchone()[0]  # type: ignore[attr-defined]
        connection.execute(f"PRAGMA max_page_count = {count}")  # type: ignore[attr-defined]

    sa.event.listen(catalogue._database.readers, "connect", limit)
    catalogue.close()


@on_sqlite
def test_a_full_disk_is_told_and_leaves_nothing_half_done(quick_world: World) -> None:
    world = quick_world
    record = world.file()
    receiving = world.open()
    fill_disk(world.vault.catalogue)
    refused = 0
    acknowledged = []
    for number in range(200):
        try:
            opened = open_record(
                world.vault, world.center, idempotency_key=f"{number}", applicant={"n": "x" * 3000}, body=b""
            )
            acknowledged.append(opened.record_id)
        except CatalogueFullError:
            refused += 1
            break
    assert refused
    assert world.value("SELECT COUNT(*) FROM records") == 2 + len(acknowledged)
    assert world.value("SELECT SUM(next_slot - 1) FROM cohorts") == 2 + len(acknowledged)
    for number in range(40):
        try:
            upload(world.vault, world.center, receiving.id, "x" * 100 + f"{number}", png())
        except CatalogueFullError:
            break
    assert world.value(f"SELECT state FROM record_states WHERE id = '{record.id}'") == "retained"
    assert world.value("PRAGMA integrity_check") == "ok"
    assert not world.vault.uses.records()


def test_what_is_no_database_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "catalogue.db").write_bytes(b"not a database at all, but long enough to be one" * 100)
    catalogue = Catalogue(sqlite_url(tmp_path / "catalogue.db"))
    with pytest.raises(CatalogueError):
        catalogue.migrate()
    catalogue.close()


def test_an_absent_folder_is_told_as_such(tmp_path: Path) -> None:
    catalogue = Catalogue(sqlite_url(tmp_path / "catalogue.db"))
    (tmp_path / "catalogue.db").mkdir()
    with pytest.raises(CatalogueFullError):
        catalogue.migrate()
    catalogue.close()


def test_a_writer_that_waits_too_long_is_told_so(quick_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.catalogue.sqlite.BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr("vault.catalogue.postgresql.LOCK_TIMEOUT_MS", 50)
    second = Catalogue(quick_world.database)
    with quick_world.vault.catalogue.write() as tx:
        tx.exec_driver_sql("UPDATE access_tokens SET label = 'x'")
        with pytest.raises(BusyError), second.write():
            pass
        with second.read() as other:
            assert other.exec_driver_sql("SELECT COUNT(*) FROM access_tokens WHERE label = 'x'").scalar() == 0
    second.close()


def test_a_snapshot_does_not_move(quick_world: World) -> None:
    with quick_world.vault.catalogue.read() as tx:
        first = tx.exec_driver_sql("SELECT COUNT(*) FROM journal").scalar()
        quick_world.run(JOURNAL.format(id="(SELECT MAX(id) + 1 FROM journal)"))
        assert tx.exec_driver_sql("SELECT COUNT(*) FROM journal").scalar() == first
