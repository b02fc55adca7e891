"""A real SIGKILL in a real process, before every durable effect of every operation that has some.

What was on the disk, in the bucket and at the custodian is all that is left. The effects are counted as they happen, so
a new one cannot be forgotten (see `victim`).
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from keystore.custodians import open_custodian
from tests.people import TERMS, submitted
from tests.vault.databases import on_sqlite
from tests.vault.far_s3 import Keeper
from tests.vault.holding import release_order
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.test_crashes import (
    POINTS_LIMIT,
    Town,
    judge_destruction,
    judge_filing,
    judge_hold,
    judge_release,
    recover,
    twin,
)
from tests.vault.victim import Ended, Job, Victims
from tests.vault.world import Record, World, open_world_vault, png
from vault.condemning import STEPS
from vault.custody import Custody
from vault.home import FORMAT
from vault.ids import RecordId
from vault.moving import masters_in_use, move_masters
from vault.orders.drafting import draft_scrub
from vault.reclaim import reclaim

Judge = Callable[[World, str, Ended], None]


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    victims = Victims()
    yield victims
    victims.close()


@pytest.fixture
def keeper(scratch: Path) -> Iterator[Keeper]:
    keeper = Keeper(scratch)
    yield keeper
    keeper.close()


class Scene:
    """A town in a home that commands open, and the means to kill who works on it."""

    def __init__(self, town: Town, folder: Path, victims: Victims, keeper: Keeper) -> None:
        self.town = town
        self._folder = folder
        self._victims = victims
        self._keeper = keeper
        self._database = ""

    def again(self) -> World:
        """The town as it was, where it was, in a home with settings that name a second custodian, too.

        In another place the ledger would name masters that are not there.
        """
        was, rest = self.town.world, self._folder / "rest"
        if not rest.exists():
            was.vault.catalogue.close()
            shutil.copytree(was.folder, rest)
            self._database = was.databases.copied(was.database, rest / "home") if in_server(was) else was.database
        shutil.rmtree(was.folder)
        shutil.copytree(rest, was.folder)
        database = was.databases.copied(self._database, was.folder / "home") if in_server(was) else was.database
        self._keeper.s3 = self.town.s3.clone()
        vault = open_world_vault(was.folder, was.vault.vault_id, MemoryBucket(self._keeper.s3), was.clock, database)
        everybody = [Record(r.id, r.applicant, dict(r.documents)) for r in was.records]
        world = replace(was, vault=vault, database=database, records=everybody)
        home = world.folder / "home"
        settings = {
            "format": FORMAT,
            "objects": "http://nowhere.invalid",
            "objects_folder": str(world.folder / "objects"),
            "bucket": "far",
            "region": "us-east-1",
            "custodians": custodians(world),
            "vault_id": world.vault.vault_id.hex(),
        }
        if in_server(world):
            settings["database"] = world.database
        (home / "vault.json").write_text(json.dumps(settings))
        (home / "bucket.json").write_text(json.dumps({"access_key": "-", "secret_key": "-"}))
        return world

    def run(self, world: World, operation: str, *given: object, fatal: int = 0) -> Ended:
        """Let another process do it, and die; then this one begins anew with what is left."""
        world.vault.catalogue.close()
        job = Job(world.folder / "home", world.clock.now(), self._keeper.address, world.center, operation, given, fatal)
        ended = self._victims.run(job)
        assert not ended.error, ended.error
        world.restart()
        home = world.folder / "home"
        custody = Custody(lambda uri: open_custodian(uri, away_from=home), lambda: custodians(world))
        world.vault = replace(world.vault, custody=custody)
        return ended

    def kill_everywhere(
        self,
        operation: str,
        given: Callable[[World], tuple[object, ...]],
        judge: Judge,
        before: Callable[[World], object] = lambda _: None,
    ) -> list[str]:
        """Kill before the first, second, third ... effect until it gets through; the steps that saw a death."""
        steps: list[str] = []
        for at in count(1):
            assert at < POINTS_LIMIT, "the operation has more effects than the limit"
            world = self.again()
            before(world)
            ended = self.run(world, operation, *given(world), fatal=at)
            where = f"effect {at}: {ended.last if ended.told else ''}"
            assert len(ended.effects) == at or not ended.killed, where
            judge(world, where, ended)
            assert_masters_in_use_only(world)
            pending = "SELECT COUNT(*) FROM destructions WHERE completed_at IS NULL AND abandoned_at IS NULL"
            assert world.value(pending) == 0, where
            world.vault.catalogue.close()
            if not ended.killed:
                assert ended.effects[-1] == "answer"
                return steps
            steps += [line.removeprefix("step ") for line in ended.told if line.startswith("step ")][-1:]
        raise AssertionError


def in_server(world: World) -> bool:
    return world.databases.kind != "sqlite"


def custodians(world: World) -> list[str]:
    return [f"file:{world.folder / name}" for name in ("keys", "other-keys")]


def assert_masters_in_use_only(world: World) -> None:
    in_use = {one.master for one in masters_in_use(world.vault)}
    assert len(in_use) == 2
    assert in_use == {name for uri in custodians(world) for name in world.vault.custody.at(uri).names()}


@pytest.fixture
def scene(quick_world: World, scratch: Path, victims: Victims, keeper: Keeper) -> Scene:
    return Scene(Town(quick_world), scratch, victims, keeper)


def recovered(judge: Callable[[World, str], None]) -> Judge:
    def judged(world: World, where: str, _: Ended) -> None:
        recover(world)
        judge(world, where)

    return judged


def test_a_sweep_that_is_killed(scene: Scene) -> None:
    judge = recovered(judge_destruction(scene.town, scene.town.due, [scene.town.given_up]))
    assert set(scene.kill_everywhere("sweep", lambda _: (), judge)) == set(STEPS)


@on_sqlite
def test_a_scrub_that_is_killed(scene: Scene) -> None:
    town = scene.town
    order = submitted(town.world.vault, draft_scrub(town.world.vault, TERMS).order).id
    judge = recovered(judge_destruction(town, [*town.due, town.young], [town.given_up]))
    assert set(scene.kill_everywhere("scrub", lambda _: (order,), judge)) == set(STEPS)


@on_sqlite
def test_a_release_that_is_killed(scene: Scene) -> None:
    town, outcomes = scene.town, set[bool]()
    order = release_order(town.world.vault, town.hold).id
    judge = recovered(judge_release(town, outcomes))
    assert set(scene.kill_everywhere("release", lambda _: (town.hold, order), judge)) == set(STEPS)
    assert outcomes == {True, False}


@on_sqlite
def test_a_move_to_another_custodian_that_is_killed(scene: Scene) -> None:
    def judge(world: World, where: str, _: Ended) -> None:
        recover(world)
        everybody = [r for r in world.records if r.documents]
        world.assert_readable(*everybody)
        assert_masters_in_use_only(world)
        there = custodians(world)[1]
        move_masters(world.vault, there, "test")
        assert {one.custodian for one in masters_in_use(world.vault)} == {there}, where
        world.assert_readable(*everybody)

    steps = scene.kill_everywhere("move", lambda world: (custodians(world)[1],), judge)
    assert {steps.count(step) > 1 for step in STEPS} == {True}, "of both trees"


@on_sqlite
def test_a_hold_that_is_killed(scene: Scene) -> None:
    told: list[str] = []

    def judge(world: World, where: str, ended: Ended) -> None:
        recover(world)
        told[:] = ended.told
        judge_hold(scene.town, "20-cv-2", lambda: "placed" in told)(world, where)

    scene.kill_everywhere("hold", lambda _: (scene.town.due[0].id, "20-cv-2"), judge)
    assert "placed" in told


@on_sqlite
def test_a_filing_that_is_killed(scene: Scene) -> None:
    content = png(9000)

    def judge(world: World, where: str, ended: Ended) -> None:
        recover(world)
        opened = [line.removeprefix("opened ") for line in ended.told if line.startswith("opened ")]
        world.records += [Record(RecordId(record_id), {"name": "A. New"}) for record_id in opened]
        states = {twin(world, record).id: "" for record in world.records if record.id in opened}
        for record_id in states:
            states[record_id] = world.value(f"SELECT state FROM record_states WHERE id = '{record_id}'")
            stored = world.value(f"SELECT COUNT(*) FROM documents WHERE record_id = '{record_id}'")
            assert stored or "stored" not in ended.told, where
        assert set(states.values()) <= {"receiving", "retained"}, where
        assert states != dict.fromkeys(opened, "receiving") or "completed" not in ended.told, where
        judge_filing(scene.town, content)(world, where)

    # Far from the other dates, so that a cohort must be opened.
    scene.town.world.advance(days=100)
    scene.kill_everywhere("file", lambda _: ("A. New", content), judge)


@on_sqlite
@pytest.mark.parametrize("last", ["condemn", "destroy master"])
def test_a_recovery_that_is_killed(scene: Scene, last: str) -> None:
    """Of a sweep that died at the end of its step `last`: what there is to undo is most, or to carry out."""
    probe = scene.again()
    told = scene.run(probe, "sweep").told
    probe.vault.catalogue.close()
    following = told.index(f"step {STEPS[STEPS.index(last) + 1]}")
    fatal = sum(line.startswith("effect ") for line in told[:following])

    def died(world: World) -> None:
        assert scene.run(world, "sweep", fatal=fatal).last.endswith(f"(step {last})")

    doomed = judge_destruction(scene.town, scene.town.due, [scene.town.given_up])

    def judge(world: World, where: str, ended: Ended) -> None:
        recover(world)
        doomed(world, where)
        reclaim(world.vault)
        gone = {world.is_readable(twin(world, record)) for record in scene.town.due}
        assert gone == {last == "condemn"}, where

    scene.kill_everywhere("recover", lambda _: (), judge, died)


@on_sqlite
def test_a_rebuild_that_is_killed(scene: Scene) -> None:
    """Cut off, it is begun again: the home has the old catalogue, the new one, or for a moment none."""
    town = scene.town
    town.world.sweep()

    def judge(world: World, where: str, ended: Ended) -> None:
        if ended.killed:
            assert not scene.run(world, "rebuild").killed
        recover(world)
        world.assert_readable(twin(world, town.held), twin(world, town.young))
        world.assert_destroyed(*(twin(world, record) for record in town.due))

    scene.kill_everywhere("rebuild", lambda _: (), judge)
