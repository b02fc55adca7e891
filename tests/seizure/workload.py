"""The workload of a game, from a printed seed: what happens to the vault, and what the test knows to be right."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import NamedTuple

from tests.people import COUNSEL, HEAD, OFFICER, TERMS, submitted
from tests.seizure.canaries import Canaries
from tests.seizure.stages import Stage
from tests.vault.holding import place_hold, release_hold
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import PURPOSE, Record
from vault import holds
from vault.catalogue.destructions import Destruction
from vault.certificates import issue_missing
from vault.destruction.carrying_out import carry_out, recover_destructions
from vault.destruction.condemning import Progress
from vault.destruction.drafting import draft_destroy
from vault.destruction.frozen_lists import freeze_ordered
from vault.destruction.reclaim import reclaim, sweep_litter
from vault.holds import Kind, Scope, Terms
from vault.law.retention import Cause
from vault.records.retrieval import read_record
from vault.records.uploads import Upload, begin_upload
from vault.serving.fences import Node

PART = 96 * 2**10
"""What is sent of an upload that is given up: more than a part of it."""
DAY = timedelta(hours=25)


class Draft(NamedTuple):
    """The papers of somebody who has not been filed yet."""

    applicant: dict[str, str]
    scans: dict[str, bytes]


@dataclass
class Workload:
    """Runs on a stage; `snapshot` is called after each step, and inside of every destruction."""

    stage: Stage
    random: Random
    canaries: Canaries
    snapshot: Callable[[], None]
    destroyed: list[Record] = field(default_factory=list)
    living: list[Record] = field(default_factory=list)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Cohort and slot of every record, destroyed or not."""
    in_use: set[str] = field(default_factory=set)
    """Records whose keys a process still had when a destruction was complete."""
    spent: dict[str, float] = field(default_factory=dict)
    """Seconds in each step of all destructions."""
    mirror_bytes: int = 0
    abandoned: list[Upload] = field(default_factory=list)
    filed_meanwhile: list[Record] = field(default_factory=list)
    undecided: set[str] = field(default_factory=set)
    """Records whose destruction is begun and not complete: they may be whole, or gone."""
    forgotten: set[str] = field(default_factory=set)
    """Records that were lost with a catalogue before they were complete: a rebuild does not know their ids."""
    remembered: list[str] = field(default_factory=list)
    """What was found in the memory of processes after a destruction was complete."""
    troubles: list[str] = field(default_factory=list)
    """What could not be read, or could, at some moment of the game when it should not."""
    dockets: list[str] = field(default_factory=list)
    """Dockets of sealed holds, which only counsel may know."""
    astray: list[str] = field(default_factory=list)
    """What was destroyed without authority at some moment of the game."""

    def draw(self, documents: int = 1, sizes: Sequence[int] = (300, 700, 3000)) -> Draft:
        """Papers with a canary in every field."""
        text = self.canaries.text
        applicant = {"name": text(), "number": text(), "born": text()}
        scans = {}
        for _ in range(documents):
            size = self.random.choice(sizes)
            scans[f"{text()}.png"] = self.canaries.document(self.canaries.raw(), size)
        return Draft(applicant, scans)

    def file(self, documents: int = 1, *, complete: bool = True) -> Record:
        """A record with a canary in every field."""
        return self.file_draft(self.draw(documents), complete=complete)

    def file_draft(self, draft: Draft, *, complete: bool = True) -> Record:
        """A record of these papers."""
        world = self.stage.world
        record = world.open(**draft.applicant)
        self.places[record.id] = world.place(record)
        for name, content in draft.scans.items():
            world.upload(record, name, content)
        if complete:
            world.complete(record)
        self.living.append(record)
        return record

    def doom(self, *doomed: Record) -> None:
        """From now on these are to be destroyed."""
        for record in doomed:
            self.living.remove(record)
            self.destroyed.append(record)

    def hold_in_secret(self, record: Record) -> None:
        """Place a sealed hold, with canaries in what only counsel may know."""
        docket = self.canaries.docket()
        terms = Terms(Kind.FRAUD_CASE, self.canaries.text(), docket, reason=self.canaries.text(), sealed=True)
        holds.place_hold(self.stage.world.vault, terms, Scope((record.id,)), "counsel")
        self.dockets.append(docket)

    def step(self, _: str) -> None:
        """A step of a destruction begins."""
        self.snapshot()

    def abandon_an_upload(self, record: Record) -> None:
        """Send a part and never come back."""
        world = self.stage.world
        content = self.canaries.document(self.canaries.raw(), PART)
        sending = begin_upload(world.vault, world.center, record.id, "x.png", declared_size=None, declared_type=None)
        for start in range(0, len(content), 2**15):
            sending.add(content[start : start + 2**15])
            if sending.part_is_full:
                sending.send_part()
        self.abandoned.append(sending)

    def scene(self) -> tuple[Record, ...]:
        """Two that are due and one in their cohort that is not, one given up in the middle of an upload, one held."""
        world = self.stage.world
        due = self.file(2), self.file()
        held = self.file()
        given_up = self.file(complete=False)
        self.abandon_an_upload(given_up)
        place_hold(world.vault, [held.id], "21-cv-1")
        self.hold_in_secret(held)
        world.advance(days=3)
        self.file(2)
        world.advance(days=728)
        self.file()
        self.snapshot()
        self.stage.copy_custodian()
        self.doom(*due, given_up)
        return due

    def brief(self) -> None:
        """The shortest game: a scene, a sweep, and what is cleaned up a day later."""
        self.scene()
        self.destroy(Cause.SWEEP, self.step)
        self.clean_up()

    def destroy(self, cause: Cause, progress: Progress) -> None:
        """Destroy while this process serves; time it without what `progress` does."""
        self._carry_out(lambda step: self.stage.world.destroy(cause, step), progress)

    def destroy_named(self, records: Collection[Record], progress: Progress) -> None:
        """Destroy named records under an order; of those that are held none."""
        vault = self.stage.world.vault
        drafted = draft_destroy(vault, [record.id for record in records], TERMS)
        order = submitted(vault, drafted.order, OFFICER, COUNSEL, HEAD)
        self._carry_out(lambda step: carry_out(vault, freeze_ordered(vault, order.id), step), progress)

    def _carry_out(self, destroy: Callable[[Progress], Destruction], progress: Progress) -> None:
        world, since = self.stage.world, time.perf_counter()
        timed = "freeze"

        def step(name: str) -> None:
            nonlocal since, timed
            self.spent[timed] = self.spent.get(timed, 0.0) + time.perf_counter() - since
            progress(name)
            since, timed = time.perf_counter(), name

        with Node(world.vault):
            done = destroy(step)
            step("")
            self.in_use |= world.vault.uses.records()
        since = time.perf_counter()
        issue_missing(world.vault)
        self.spent["record"] = self.spent.get("record", 0.0) + time.perf_counter() - since
        self.mirror_bytes += done.observed.get("mirror_bytes", 0)

    def clean_up(self) -> None:
        """Reclaim, and what is a day old and named by nobody."""
        world = self.stage.world
        self.snapshot()
        bucket = world.vault.bucket
        assert isinstance(bucket, MemoryBucket)
        bucket.s3.ahead += DAY
        reclaim(world.vault)
        sweep_litter(world.vault)
        self.snapshot()

    def run(self, size: int) -> None:
        """File, read, hold, sweep with filing meanwhile, release, sweep, destroy one, scrub; about `size` destroyed."""
        world = self.stage.world
        due = [self.file(1 + number % 2) for number in range(max(2, size - 8))]
        held, *kept = (self.file(2) for _ in range(2 + size // 20))
        given_up = self.file(complete=False)
        self.abandon_an_upload(given_up)
        self.snapshot()
        read_record(world.vault, world.reviewer, self.random.choice(due).id, PURPOSE)
        hold = place_hold(world.vault, [held.id], "21-cv-1").hold_id
        place_hold(world.vault, [record.id for record in kept], "21-cv-2")
        self.hold_in_secret(kept[0])
        self.snapshot()
        world.restart()
        world.advance(days=3)
        sibling = self.file()
        world.advance(days=728)
        young = self.file()
        self.snapshot()
        self.stage.copy_custodian()
        self.doom(*due, given_up)
        self.destroy(Cause.SWEEP, self._with_filing)
        self.snapshot()
        self.stage.copy_custodian()
        release_hold(world.vault, hold, "counsel", self.step)
        self.snapshot()
        self.stage.copy_custodian()
        self.doom(held)
        self.destroy(Cause.SWEEP, self.step)
        mistake = self.file()
        self.snapshot()
        self.stage.copy_custodian()
        self.doom(mistake)
        self.destroy_named([mistake, *kept], self.step)
        world.restart()
        recover_destructions(world.vault)
        self.clean_up()
        late = [self.file() for _ in range(2)]
        self.snapshot()
        self.stage.copy_custodian()
        self.doom(*late, young, sibling, *self.filed_meanwhile)
        self.destroy(Cause.SCRUB, self.step)
        self.file()
        self.clean_up()

    def _with_filing(self, name: str) -> None:
        self.snapshot()
        if name == "stage":
            self.filed_meanwhile.append(self.file())
