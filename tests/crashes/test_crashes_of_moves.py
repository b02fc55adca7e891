"""Every boundary of a move to fresh masters and of a rebuild: cut off there, nobody is lost, no master left over."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from keystore import Tree
from tests.crashes.faults import Died, Fuse, arm, disarm
from tests.crashes.test_crashes import ANSWERS, POINTS_LIMIT, Town, each_boundary, recover
from tests.vault.databases import Databases, on_sqlite
from tests.vault.world import World, open_world_vault
from vault.catalogue.schema import access_tokens
from vault.destruction.carrying_out import carry_out
from vault.destruction.frozen_lists import freeze_move
from vault.keys.custody import Custody
from vault.recovery.rebuild import rebuild

pytestmark = on_sqlite


@pytest.fixture
def town(quick_world: World) -> Town:
    return Town(quick_world)


@pytest.mark.parametrize("dies", [True, False], ids=["dies", "answer-lost"])
def test_a_move_cut_off_anywhere_loses_nobody(town: Town, scratch: Path, *, dies: bool) -> None:
    def operation(world: World, fuse: Fuse) -> None:
        address = world.custodian.uri
        for tree in Tree:
            carry_out(world.vault, freeze_move(world.vault, tree, address, "test"), fuse.step)

    def judge(world: World, where: str) -> None:
        assert where
        world.assert_readable(*(r for r in world.records if r.documents))

    seen = each_boundary(town, scratch, operation, judge, dies=dies)
    assert {"commit", "wrap", "unwrap", "put_object", "create", "destroy"} <= seen


@pytest.mark.parametrize("dies", [True, False], ids=["dies", "answer-lost"])
def test_a_rebuild_cut_off_anywhere_is_begun_again(
    town: Town, scratch: Path, databases: Databases, *, dies: bool
) -> None:
    town.world.sweep()
    complete = [town.held, town.young]
    for at in range(1, POINTS_LIMIT):
        world = town.again(scratch / f"{at}")
        fuse = Fuse(at, dies=dies)
        arm(world, fuse)
        with suppress(Died, *ANSWERS):
            into(world, databases, world.folder / "first", world.vault.custody)
        disarm(world)
        again = into(world, databases, world.folder / "second", world.vault.custody)
        recover(again)
        again.assert_readable(*(r for r in again.records if r.id in {c.id for c in complete}))
        again.assert_destroyed(*(r for r in again.records if r.id in {d.id for d in town.due}))
        again.assert_two_masters()
        again.vault.catalogue.close()
        world.vault.catalogue.close()
        shutil.rmtree(scratch / f"{at}")
        if fuse.blown is None:
            return
    pytest.fail("a rebuild has more boundaries than the limit")


def into(world: World, databases: Databases, home: Path, custody: Custody) -> World:
    """Rebuild into a database of its own, through this world's services."""
    home.mkdir()
    database = databases.new(home)
    fresh = open_world_vault(world.folder, world.vault.vault_id, world.vault.bucket, world.clock, database)
    vault = replace(fresh, custody=custody)
    addresses: Sequence[str] = [f"file:{world.folder / 'keys'}"]
    with world.vault.catalogue.read() as tx:
        tokens = [dict(row._mapping) for row in tx.execute(sa.select(access_tokens))]
    try:
        rebuild(vault, addresses, tokens)
    except BaseException:
        vault.catalogue.close()
        raise
    return replace(world, vault=vault, database=database)
