"""Whatever is done in whatever order, a small model says who must be readable and who must not."""

import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keystore import Tree
from tests.crashes.faults import Died, Fuse, arm, disarm
from tests.recovery.test_rebuilding import OPENED, rebuilt
from tests.services.postgresql import Server
from tests.vault.databases import Databases, Files, OnServer, blank_file
from tests.vault.holding import place_hold, release_order
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import Record, Sealed, World, make_world
from vault.destruction import releasing
from vault.destruction.carrying_out import carry_out, recover_destructions, require_newest
from vault.destruction.frozen_lists import freeze_move
from vault.destruction.reclaim import reclaim
from vault.errors import DestroyedError, OldCatalogueError
from vault.holds import NothingToHoldError, copy_held_keys
from vault.law.retention import Cause
from vault.records.filing import complete_record

ZONE = ZoneInfo("America/New_York")
PICK = st.integers(0, 200)
CAUSES = (Cause.SWEEP, Cause.SCRUB)


@dataclass
class Life:
    """The model of a record."""

    record: Record
    opened: datetime
    completed: date | None = None
    holds: set[str] = field(default_factory=set)
    dead: bool = False
    place: tuple[int, int] = (0, 0)

    def dies(self, cause: Cause, now: datetime) -> bool:
        if self.dead or self.holds:
            return False
        if self.completed is None:
            return now - self.opened > timedelta(hours=72)
        leap_day = (self.completed.month, self.completed.day) == (2, 29)
        last_day = self.completed - timedelta(days=1) if leap_day else self.completed
        due = last_day.replace(year=self.completed.year + 2) + timedelta(days=1)
        return cause is Cause.SCRUB or now.astimezone(ZONE).date() >= due


class Lives(RuleBasedStateMachine):
    @initialize()
    def found(self) -> None:
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="shredvault-test-", dir=memory if memory.is_dir() else None))
        self.databases = self.make_databases()
        self.world: World = make_world(self.folder / "vault", MemoryBucket(), self.databases)
        # A day that every year has.
        self.lives: list[Life] = []
        self.holds: dict[str, str] = {}
        self.sealed = Sealed()
        self.changed = True
        self.forgotten: list[Life] = []
        self.backup: tuple[str, int] | None = None

    def teardown(self) -> None:
        self.world.vault.catalogue.close()
        self.databases.clear()
        shutil.rmtree(self.folder)

    def make_databases(self) -> Databases:
        return Files(blank_file(self.folder / "blank.db"))

    def pick(self, number: int) -> Life:
        return self.lives[number % len(self.lives)]

    @rule()
    def open(self) -> None:
        opened = self.world.clock.now()
        self.begin(Life(self.world.open(), opened))

    @rule()
    def file(self) -> None:
        opened = self.world.clock.now()
        record = self.world.file()
        self.begin(Life(record, opened, self.today()))

    def begin(self, life: Life) -> None:
        life.place = self.world.place(life.record)
        self.lives.append(life)

    def today(self) -> date:
        return self.world.clock.now().astimezone(ZONE).date()

    @precondition(lambda self: self.lives)
    @rule(number=PICK)
    def upload(self, number: int) -> None:
        life = self.pick(number)
        name = f"{len(life.record.documents)}.png"
        if life.dead:
            with pytest.raises(DestroyedError):
                self.world.upload(life.record, name)
        elif life.completed is None:
            self.world.upload(life.record, name)

    @precondition(lambda self: self.lives)
    @rule(number=PICK)
    def complete(self, number: int) -> None:
        life = self.pick(number)
        if life.dead:
            with pytest.raises(DestroyedError):
                complete_record(self.world.vault, self.world.center, life.record.id)
        elif life.record.documents:
            self.world.complete(life.record)
            life.completed = life.completed or self.today()

    @precondition(lambda self: self.lives)
    @rule(numbers=st.lists(PICK, min_size=1, max_size=4), docket=st.sampled_from("abc"))
    def hold(self, numbers: list[int], docket: str) -> None:
        chosen = [self.pick(number) for number in numbers]
        ids = [life.record.id for life in chosen]
        if all(life.dead for life in chosen):
            with pytest.raises(NothingToHoldError):
                place_hold(self.world.vault, ids, docket)
            return
        placed = place_hold(self.world.vault, ids, docket)
        self.holds[docket] = placed.hold_id
        for life in chosen:
            assert (placed.answers[life.record.id] == "held") is not life.dead
            if not life.dead:
                life.holds.add(docket)

    @precondition(lambda self: self.holds)
    @rule(docket=st.sampled_from("abc"))
    def release(self, docket: str) -> None:
        if docket in self.holds:
            self.snapshot()
            hold_id = self.holds.pop(docket)
            # Where all that it held is lost with the catalogue, there is nothing to end.
            releasing.release_hold(self.world.vault, hold_id, release_order(self.world.vault, hold_id).id)
            for life in self.lives:
                life.holds.discard(docket)
            self.changed = True

    @rule(days=st.sampled_from([1, 4, 40, 400, 740]))
    def wait(self, days: int) -> None:
        self.world.advance(days=days)

    @rule(cause=st.sampled_from(CAUSES))
    def destroy(self, cause: Cause) -> None:
        self.snapshot()
        self.world.destroy(cause)
        self.die(cause)

    def die(self, cause: Cause) -> None:
        now = self.world.clock.now()
        for life in self.lives:
            life.dead = life.dead or life.dies(cause, now)
        self.changed = True

    @rule(cause=st.sampled_from(CAUSES), at=st.integers(1, 45))
    def destroy_and_crash(self, cause: Cause, at: int) -> None:
        self.snapshot()
        arm(self.world, Fuse(at, dies=True))
        with suppress(Died):
            self.world.destroy(cause)
        disarm(self.world)
        recover_destructions(self.world.vault)
        copy_held_keys(self.world.vault)
        last = self.world.rows("SELECT condemned_at FROM destructions ORDER BY frozen_at DESC LIMIT 1")
        count = self.world.value("SELECT COUNT(*) FROM destructions")
        if last and last[0][0] is not None and count > getattr(self, "counted", 0):
            self.die(cause)

    @rule()
    def reclaim(self) -> None:
        self.snapshot()
        reclaim(self.world.vault)

    @rule()
    def restart(self) -> None:
        self.world.restart()
        recover_destructions(self.world.vault)
        assert copy_held_keys(self.world.vault) == 0

    @rule(at=st.none() | st.integers(1, 60))
    def move(self, at: int | None) -> None:
        self.snapshot()
        arm(self.world, Fuse(at, dies=True))
        with suppress(Died):
            for tree in Tree:
                carry_out(self.world.vault, freeze_move(self.world.vault, tree, self.world.custodian.uri, "test"))
        disarm(self.world)
        recover_destructions(self.world.vault)
        self.changed = True

    @rule()
    def back_up(self) -> None:
        self.world.vault.catalogue.close()
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        self.backup = self.databases.copied(self.world.database, folder), self.condemnings()

    def condemnings(self) -> int:
        return int(self.world.value("SELECT COUNT(*) FROM destructions WHERE condemned > 0"))

    @rule()
    def lose_the_catalogue(self) -> None:
        """And, if there is a backup, restore it: it is known for an old one."""
        self.snapshot()
        condemnings = self.condemnings()
        if self.backup is not None:
            self.world.vault.catalogue.close()
            self.world.database, known = self.backup
            self.world.restart()
            self.backup = None
            if condemnings > known:
                with pytest.raises(OldCatalogueError):
                    require_newest(self.world.vault)
        old = self.world.vault.catalogue
        self.world, _ = rebuilt(self.world, self.databases)
        OPENED.remove(self.world.vault.catalogue)
        old.close()
        there = {row[0] for row in self.world.rows("SELECT id FROM records")}
        for life in list(self.lives):
            if life.completed is None or (life.dead and life.record.id not in there):
                self.lives.remove(life)
                self.forgotten.append(life)
        # The number of a cohort in which nobody is known any more is given again, to one with keys of its own.
        cohorts = {row[0] for row in self.world.rows("SELECT id FROM cohorts")}
        self.forgotten = [life for life in self.forgotten if life.place[0] in cohorts]
        self.changed = True

    def snapshot(self) -> None:
        bucket = self.world.vault.bucket
        assert isinstance(bucket, MemoryBucket)
        self.sealed.gather(self.world, [c for name, c in bucket.s3.ever if name.startswith("keystore/")])
        self.counted = self.world.value("SELECT COUNT(*) FROM destructions")

    @invariant()
    def the_model_is_right(self) -> None:
        for life in self.lives:
            if life.dead:
                self.world.assert_destroyed(life.record)
            else:
                self.world.assert_readable(life.record)
        self.world.assert_two_masters()

    @invariant()
    def no_key_of_the_dead_opens(self) -> None:
        if self.changed and self.lives:
            self.snapshot()
            reachable = self.sealed.reachable(self.world)
            for life in self.lives:
                assert (life.place in reachable) is not life.dead
            assert not reachable & {life.place for life in self.forgotten}
            self.changed = False


class LivesOnPostgresql(Lives):
    server: ClassVar[Server]

    def make_databases(self) -> Databases:
        return OnServer(self.server)


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def server_for_lives(postgresql_with_blank: Server) -> None:
    LivesOnPostgresql.server = postgresql_with_blank


TestLivesOnPostgresql = pytest.mark.usefixtures("server_for_lives")(LivesOnPostgresql.TestCase)
TestLivesOnPostgresql.settings = settings(
    max_examples=6, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
