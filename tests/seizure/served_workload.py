"""The workload of a game with real processes: who and what is killed, and when, is drawn from the seed.

Nothing here is timed: a destruction waits at each of its steps until the recorder has taken everything, and whoever is
to be killed there has been.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tests.fences.service import Wire, eventually
from tests.people import TERMS, submitted
from tests.seizure.byte_scan import FORM_MIN, Words, forms, text_forms
from tests.seizure.conductor import Heard
from tests.seizure.insider import COMPLETE
from tests.seizure.judges import gone_from, readings, texts_of
from tests.seizure.key_graph import KeyId
from tests.seizure.served_world import ServedWorld, is_there
from tests.seizure.workload import DAY, Draft, Workload
from tests.services.memory import contents
from tests.vault.holding import release_order
from tests.vault.world import PNG_HEAD, Record
from vault.destruction.drafting import draft_scrub
from vault.law.retention import Cause

STEPS = ("intent", "create master", "stage", "condemn", "fence", "destroy master", "record")
WORKER, COMMAND, STORE = "a worker", "the command", "the store"
BACK = 729
"""Days by which the clock is set back once, and then forward again: to when nobody was due or given up."""
TRIES = 4
"""A destruction is begun so often at most: once for each that may die, and once for all of them."""
SAMPLE = 24
"""Of so many records each is read at the moments before the end."""
PART = 9 * 2**20
SLOW = 3 * 2**20
_OVERLAP = 512

Fates = dict[str, str]
"""Who is killed, and before which step."""


@dataclass
class ServedWorkload(Workload):
    """Runs on a stage with a served world."""

    thorough: bool = False
    """Whether a hold is released too, and the store is killed alone."""
    scans: int = 0
    """Memories of processes that were scanned after completion."""
    kills: list[str] = field(default_factory=list)
    fates: list[Fates] = field(default_factory=list)
    complete: int = 0
    """Destructions with condemned records that were seen to be complete."""

    def __post_init__(self) -> None:
        draw = self.random.choice
        self.fates = [{WORKER: draw(STEPS), COMMAND: draw(STEPS)}, {STORE: draw(STEPS)}]

    @property
    def world(self) -> ServedWorld:
        """The vault."""
        assert isinstance(self.stage.world, ServedWorld)
        return self.stage.world

    def run(self, size: int) -> None:
        """File, sweep with the clock set back, sweep and be killed, die in an upload, restore the backup, scrub."""
        world = self.world
        slow = self.file_draft(self.draw(1, sizes=(SLOW,)))
        due = [slow, *(self.file(1 + number % 2) for number in range(max(1, size - 7)))]
        self._held("21-cv-1")
        released = self._held("21-cv-2") if self.thorough else None
        given_up = self.file(complete=False)
        self.snapshot()
        backup = self.stage.folder / "backup"
        world.back_up(backup)
        world.advance(days=3)
        sibling = self.file()
        world.advance(days=728)
        young = self.file()
        self._sweep_too_early()
        self.stage.copy_custodian()

        self.doom(*due, given_up)
        with self._reading(slow):
            self._destroy(Cause.SWEEP, self.fates[0], [self.draw() for _ in STEPS])
        self._look("after a sweep in which a worker and the command were killed")
        if released:
            self._release_and_lose_the_store(released)
        self._die_in_an_upload()
        self._restore(backup)
        late = self.file()
        self.stage.copy_custodian()
        self.doom(late, young, sibling, *self.filed_meanwhile)
        self._destroy(Cause.SCRUB, {})
        self.file()
        self.clean_up()

    def brief(self) -> None:
        """File, and sweep while somebody reads; nobody is killed."""
        slow, held = self.file_draft(self.draw(1, sizes=(SLOW,))), self._held("21-cv-1")
        self._look("before anything is due")
        self.world.advance(days=800)
        self.stage.copy_custodian()
        self.doom(slow)
        with self._reading(slow):
            self._destroy(Cause.SWEEP, {})
        self.clean_up()
        assert held in self.living

    def _release_and_lose_the_store(self, record: Record) -> None:
        """A hold is released; in the sweep that follows the store is killed, and everything after it."""
        self.stage.copy_custodian()
        hold = self._hold_of(record)
        self._must("hold", "release", hold, "--order", release_order(self.world.vault, hold).id)
        self.snapshot()
        self.stage.copy_custodian()
        self.doom(record)
        self._destroy(Cause.SWEEP, self.fates[1])
        self._look("after a sweep in which the store was killed")

    # --- what the operator does

    def clean_up(self) -> None:
        """Reclaim, and what is a day old and named by nobody."""
        self.snapshot()
        self.world.conductor.set_store_ahead(DAY)
        self._must("recover")
        self.world.conductor.set_store_ahead(timedelta())
        self.snapshot()

    def _must(self, *words: str) -> None:
        done = self.world.command(*words, heard=self._hearing({}))
        assert done.code == 0, done.err

    def _held(self, docket: str) -> Record:
        """A record that is due like the others, and held."""
        record = self.file(2)
        self._must("hold", "place", record.id, "--kind", "audit", "--authority", "Comptroller", "--docket", docket)
        return record

    def _hold_of(self, record: Record) -> str:
        (found,) = self.world.rows(f"SELECT hold_id FROM hold_records WHERE record_id = '{record.id}'")
        return str(found[0])

    def _sweep_too_early(self) -> None:
        """The clock is set back, and the clocks that it is compared with too: nobody is due yet. Then forward again."""
        self.snapshot()
        self.world.advance(days=-BACK)
        self._must("sweep")
        if gone := self._gone():
            self.astray.append(f"{len(gone)} records were destroyed before they were due")
        self.world.advance(days=BACK)
        self.snapshot()

    def _destroy(self, cause: Cause, fates: Fates, meanwhile: list[Draft] | None = None) -> None:
        """Destroy, and after whatever dies do what an operator does, until it is complete."""
        before = self.complete
        self.undecided |= {record.id for record in self.destroyed} - self._gone()
        for _ in range(TRIES):
            words = (cause.value, self._order(), "--yes") if cause is Cause.SCRUB else (cause.value,)
            with self._filing(meanwhile or []) as turn:
                done = self.world.command(*words, heard=self._hearing(fates, turn))
            meanwhile = None
            if done.code:
                self._put_in_order(fates)
            if self.complete > before:
                break
        else:
            self.troubles.append(f"a {cause} does not come to its end")
        self.undecided.clear()
        self.snapshot()

    def _order(self) -> str:
        """An order to destroy whatever is not held, signed and accepted."""
        return submitted(self.world.vault, draft_scrub(self.world.vault, TERMS).order).id

    def _put_in_order(self, fates: Fates) -> None:
        """A command has died, or failed because something else has."""
        if not self.world.store():
            self.world.kill()
            with self.world.conductor.hearing(self._hearing(fates)):
                self.world.serve()
        self.world.command("recover", heard=self._hearing(fates))
        self._look("after a recovery")

    def _restore(self, backup: Path) -> None:
        """The oldest backup of the home comes back, and is brought forward as the manual says."""
        self.world.put_back(backup)
        if self.thorough and self.world.command("sweep").code == 0:
            self.astray.append("a sweep was carried out on the catalogue of an old backup")
        rebuilt = self.world.command("rebuild", "--json")
        assert rebuilt.code == 0, rebuilt.err
        self.world.serve()
        self.complete = self._completed()
        self._look("after the oldest backup was restored and rebuilt")
        self.snapshot()

    # --- who dies

    def _hearing(self, fates: Fates, turn: threading.Semaphore | None = None) -> Heard:
        """What is done when a process is about to take a step: it waits meanwhile."""
        since, timed = time.perf_counter(), "freeze"

        def heard(step: str, pid: int) -> None:
            nonlocal since, timed
            self.spent[timed] = self.spent.get(timed, 0.0) + time.perf_counter() - since
            if step == COMPLETE:
                self.scan_memory(pid)
            self.snapshot()
            for who in [who for who, at in fates.items() if at == step]:
                del fates[who]
                self.end(who, pid)
            if turn is not None:
                turn.release()
            since, timed = time.perf_counter(), step

        return heard

    def _die_in_an_upload(self) -> None:
        """Everything is killed while an upload in parts is under way, of which a part is in the bucket.

        The catalogue is not brought back as it was, so its record is lost: the papers are still at the center.
        """
        record = self.file(complete=False)
        content = self.canaries.document(self.canaries.raw(), PART)
        with self.world.service.wire() as sending:
            sending.begin_put(record.id, len(content), content[: len(content) - 1000], f"{self.canaries.text()}.png")
            eventually(lambda: any(self.world.vault.bucket.unfinished("")), "a part is in the bucket")
            self.stage.copy_custodian()
            self.snapshot()
            self.kills.append("the service and the store")
            self.world.kill()
        self.doom(record)
        # It was never complete nor condemned, so nothing that a rebuild reads has its id.
        self.forgotten.add(record.id)

    @contextmanager
    def _reading(self, record: Record) -> Iterator[Wire]:
        """A slow reader of a record that is about to die; a scan sees it, or it would see nothing later."""
        (name,) = record.documents
        with self.world.service.wire() as slow:
            assert slow.begin_get(record.id, name).startswith(b"HTTP/1.1 200 ")
            self.world.conductor.collect()
            words = Words(self._secrets(), shape=_shape)
            if not any(self._finds(pid, words) for pid in self.world.service.workers()):
                self.remembered.append("the scan of memory is blind: it does not see what is being read")
            yield slow

    @contextmanager
    def _filing(self, drafts: list[Draft]) -> Iterator[threading.Semaphore]:
        """File one record whenever the semaphore is released, beside whatever else happens."""
        turn = threading.Semaphore(0)
        ended = threading.Event()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                for draft in drafts:
                    turn.acquire()
                    if ended.is_set():
                        return
                    self.filed_meanwhile.append(self.file_draft(draft))
            except BaseException as failure:  # noqa: BLE001 - raised again below
                failures.append(failure)

        thread = threading.Thread(target=work, name="filing")
        thread.start()
        try:
            yield turn
        finally:
            ended.set()
            turn.release()
            thread.join()
        if failures:
            raise failures[0]

    def end(self, who: str, command: int) -> None:
        """Kill somebody."""
        workers = sorted(pid for pid, words in self.world.processes().items() if "api.http.worker" in words)
        pids = {WORKER: workers[:1], STORE: self.world.store(), COMMAND: [command]}[who]
        self.kills.append(who)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        while any(is_there(pid) for pid in pids):
            time.sleep(0.01)

    # --- what is looked at

    def _look(self, when: str) -> None:
        self.troubles += [f"{when}: {trouble}" for trouble in readings(self, SAMPLE)]

    def lost_keys(self) -> set[KeyId]:
        """Every key of a destroyed record, and every key that was ever above one."""
        graph = self.stage.notes.graph
        lost = {key for record in self.destroyed for key in graph.places.get(self.places[record.id], ())}
        return lost | graph.above(lost)

    def _secrets(self) -> Iterator[tuple[str, bytes]]:
        values = self.stage.notes.graph.values
        yield from (("an old key", values[key]) for key in self.lost_keys())
        living = {path.read_bytes() for path in Path(self.stage.folder / "keys").glob("*.master")}
        yield from (("a dead master", value) for value in self.stage.masters - living)
        for record in self.destroyed:
            yield from (("a text", text.encode()) for text in texts_of(record))
            for name, content in record.documents.items():
                yield "a file name", name.encode()
                yield "a document", content[len(PNG_HEAD) : len(PNG_HEAD) + 32]

    def scan_memory(self, command: int) -> None:
        """The memory of every process that lives when a destruction is complete; one of them has carried it out."""
        complete = self._completed()
        if complete == self.complete:
            return
        self.complete = complete
        self.world.conductor.collect()
        words = Words(self._secrets(), shape=_shape)
        for pid, program in self.world.processes().items():
            self.scans += 1
            who = "the destroying command" if pid == command else program
            for found in sorted(self._finds(pid, words)):
                self.remembered.append(f"{found} is in the memory of a process after completion: {who}")

    def _gone(self) -> set[str]:
        return gone_from(self.world)

    def _completed(self) -> int:
        query = "SELECT COUNT(*) FROM destructions WHERE completed_at IS NOT NULL AND condemned > 0"
        self.world.look()
        return int(self.world.rows(query)[0][0])

    def _finds(self, pid: int, words: Words) -> set[str]:
        try:
            return {hit.label for piece in contents(pid, _OVERLAP) for hit in words.find(piece)}
        except (FileNotFoundError, ProcessLookupError):
            # It has ended meanwhile, and its memory with it.
            return set()


def _shape(secret: bytes) -> dict[str, bytes]:
    found = forms(secret)
    with suppress(UnicodeError):
        found |= text_forms(secret.decode())
    return {form: value for form, value in found.items() if len(value) >= FORM_MIN}
