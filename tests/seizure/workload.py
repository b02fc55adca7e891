"""The workload of a game, from a printed seed: what happens to the vault, and what the test knows to be right."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.seizure.canaries import Canaries
from tests.seizure.stages import Stage
from tests.vault.world import PURPOSE, Record
from vault.destruction import recover_destructions
from vault.holds import place_hold, release_hold
from vault.retrieval import read_record
from vault.uploads import begin_upload

PART = 9 * 2**20


@dataclass
class Workload:
    """Runs on a stage; `snapshot` is called after each step, and inside of every destruction."""

    stage: Stage
    random: Random
    canaries: Canaries
    snapshot: Callable[[], None]
    destroyed: list[Record] = field(default_factory=list)
    living: list[Record] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def file(self, documents: int = 1, *, complete: bool = True) -> Record:
        """A record with a canary in every field."""
        text = self.canaries.text
        world = self.stage.world
        record = world.open(name=text(), number=text(), born=text())
        self.names[record.id] = str(record.applicant["name"])
        for _ in range(documents):
            size = self.random.choice((300, 700, 3000))
            world.upload(record, f"{text()}.png", self.canaries.document(self.canaries.raw(), size))
        if complete:
            world.complete(record)
        self.living.append(record)
        return record

    def doom(self, *doomed: Record) -> None:
        """From now on these are to be destroyed."""
        for record in doomed:
            self.living.remove(record)
            self.destroyed.append(record)

    def step(self, _: str) -> None:
        """A step of a destruction begins."""
        self.snapshot()

    def abandon_an_upload(self, record: Record) -> None:
        """Send a part and never come back."""
        world = self.stage.world
        content = self.canaries.document(self.canaries.raw(), PART)
        sending = begin_upload(world.vault, world.center, record.id, "x.png", declared_size=None, declared_type=None)
        for start in range(0, len(content), 2**20):
            sending.add(content[start : start + 2**20])
            if sending.part_is_full:
                sending.send_part()
        sending._use.end()

    def run(self, size: int) -> None:
        """File, read, hold, sweep with filing meanwhile, release, sweep, scrub; about `size` records destroyed."""
        world = self.stage.world
        due = [self.file(1 + number % 2) for number in range(max(2, size - 4))]
        held, kept = self.file(), self.file(2)
        given_up = self.file(complete=False)
        self.abandon_an_upload(given_up)
        self.snapshot()
        read_record(world.vault, world.reviewer, self.random.choice(due).id, PURPOSE)
        hold = place_hold(world.vault, [held.id], "21-cv-1").hold_id
        place_hold(world.vault, [kept.id], "21-cv-2")
        self.snapshot()
        world.restart()
        world.advance(days=800)
        young = [self.file() for _ in range(2)]
        self.snapshot()
        self.stage.copy_custodian()
        self.doom(*due, given_up)
        world.sweep(self._with_filing())
        self.snapshot()
        self.stage.copy_custodian()
        release_hold(world.vault, hold, "counsel", self.step)
        self.snapshot()
        self.stage.copy_custodian()
        self.doom(held)
        world.sweep(self.step)
        world.restart()
        recover_destructions(world.vault)
        self.snapshot()
        scrubbed = [self.file() for _ in range(2)]
        self.snapshot()
        self.stage.copy_custodian()
        self.doom(*scrubbed, *young, *(r for r in self.living if r not in (*scrubbed, *young, kept)))
        world.scrub(self.step)
        self.file()
        self.snapshot()

    def _with_filing(self) -> Callable[[str], None]:
        def step(name: str) -> None:
            self.snapshot()
            if name == "stage":
                self.file()

        return step
