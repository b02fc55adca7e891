"""A town in a home that commands open, and the means to kill who works on it."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from keystore.custodians import open_custodian
from tests.crashes.far_s3 import Keeper
from tests.crashes.test_crashes import POINTS_LIMIT, Town, judge_filing, recover, twin
from tests.crashes.victim import Ended, Fault, Job, Victims
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import Record, World, open_world_vault
from vault.destruction.moving import masters_in_use
from vault.home import FORMAT
from vault.ids import RecordId
from vault.keys.custody import Custody

Judge = Callable[[World, str, Ended], None]


@pytest.fixture(scope="session")
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
    """The scene of a crime."""

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
        (world.folder / "other-keys").mkdir(mode=0o700)
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

    def run(
        self,
        world: World,
        operation: str,
        *given: object,
        fatal: int = 0,
        fault: Fault | None = None,
        rehearsed: bool = False,
    ) -> Ended:
        """Let another process do it, and die; then this one begins anew with what is left."""
        world.vault.catalogue.close()
        job = Job(
            world.folder / "home",
            world.clock.now(),
            self._keeper.address,
            world.center,
            operation,
            given,
            fatal,
            fault,
            rehearsed,
        )
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
        rehearsal = self.again()
        before(rehearsal)
        self.run(rehearsal, operation, *given(rehearsal), rehearsed=True)
        rehearsal.vault.catalogue.close()
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


def judge_told_filing(scene: Scene, content: bytes) -> Judge:
    """For the operation `file`: what it told is true, and a repetition ends well."""

    def judge(world: World, where: str, ended: Ended) -> None:
        recover(world)
        opened = {line.removeprefix("opened ") for line in ended.told if line.startswith("opened ")}
        world.records += [Record(RecordId(record_id), {"name": "A. New"}) for record_id in sorted(opened)]
        states = {twin(world, record).id: "" for record in world.records if record.id in opened}
        for record_id in states:
            states[record_id] = world.value(f"SELECT state FROM record_states WHERE id = '{record_id}'")
            stored = world.value(f"SELECT COUNT(*) FROM documents WHERE record_id = '{record_id}'")
            assert stored or "stored" not in ended.told, where
        assert set(states.values()) <= {"receiving", "retained"}, where
        assert states != dict.fromkeys(opened, "receiving") or "completed" not in ended.told, where
        judge_filing(scene.town, content)(world, where)

    return judge


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
