"""Attacks that once succeeded."""

import shutil
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.vault.databases import on_sqlite
from tests.vault.holding import place_hold, release_hold
from tests.vault.world import World
from vault.destruction.carrying_out import recover_destructions
from vault.errors import DamagedError, DestructionRefusedError
from vault.holds import list_holds


def back_up(world: World, to: Path) -> None:
    """A consistent copy of the catalogue, as a backup program makes it."""
    with sqlite3.connect(world.folder / "home" / "catalogue.db") as source, sqlite3.connect(to) as target:
        source.backup(target)
    source.close()
    target.close()


def restore(world: World, backup: Path) -> None:
    world.vault.catalogue.close()
    for name in ("catalogue.db", "catalogue.db-wal", "catalogue.db-shm"):
        (world.folder / "home" / name).unlink(missing_ok=True)
    shutil.copyfile(backup, world.folder / "home" / "catalogue.db")


@on_sqlite
@pytest.mark.parametrize("step", ["stage", "condemn"])
def test_a_backup_from_the_middle_of_a_destruction_does_not_cost_the_living_master(
    world: World, tmp_path: Path, step: str
) -> None:
    world.file()
    world.advance(days=800)
    young = world.file()
    backup = tmp_path / "backup.db"

    def copy_at(now: str) -> None:
        if now == step:
            back_up(world, backup)

    world.sweep(copy_at)
    masters = world.custodian.names()
    newest = tmp_path / "newest.db"
    back_up(world, newest)
    restore(world, backup)
    with pytest.raises(DestructionRefusedError):
        recover_destructions(world.vault)
    assert world.custodian.names() == masters
    restore(world, newest)
    world.assert_readable(young)
    assert recover_destructions(world.vault).masters_discarded == 0


def test_exchanged_name_tags_do_not_give_the_wrong_document(quick_world: World) -> None:
    record = quick_world.open()
    quick_world.upload(record, "one")
    quick_world.upload(record, "two")
    (one, tag_one), (two, tag_two) = quick_world.rows("SELECT id, name_tag FROM documents")
    with quick_world.vault.catalogue.write() as tx:
        for document, tag in ((one, b"-" * 16), (two, tag_one), (one, tag_two)):
            tx.execute(sa.text("UPDATE documents SET name_tag = :new WHERE id = :id"), {"new": tag, "id": document})
    for name in ("one", "two"):
        with pytest.raises(DamagedError):
            quick_world.fetch(record, name)


def test_a_record_added_to_a_hold_during_its_release_keeps_it(quick_world: World) -> None:
    record, late = quick_world.file(), quick_world.file()
    hold = place_hold(quick_world.vault, [record.id], "docket").hold_id

    def widen(now: str) -> None:
        if now == "condemn":
            place_hold(quick_world.vault, [late.id], "docket")

    release_hold(quick_world.vault, hold, "counsel", widen)
    assert [line.records for line in list_holds(quick_world.vault)] == [1]
    quick_world.advance(days=800)
    assert quick_world.sweep().condemned == 1
    quick_world.assert_readable(late)
    quick_world.assert_destroyed(record)
    release_hold(quick_world.vault, hold, "counsel")
    assert quick_world.sweep().condemned == 1
