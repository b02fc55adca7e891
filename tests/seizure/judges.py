"""The judges of a game. Each has a name and finds what is wrong by its own means; all must find nothing."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from keystore import KeystoreError
from tests.independent.seal import root_key_context
from tests.seizure.attested import by_history, by_papers
from tests.seizure.byte_scan import FORM_MIN, Marks, Words, digests, unescaped
from tests.seizure.key_graph import KeyId
from tests.seizure.recorder import Recorder
from tests.seizure.spoils import Spoils, attack, gather
from tests.seizure.temporary import digest_of, found_in
from tests.seizure.workload import Workload
from tests.vault.world import Record, World
from vault.errors import DestroyedError, NotFoundError, VaultError
from vault.objects import ObjectStoreError


class Finding(NamedTuple):
    judge: str
    what: str


@dataclass
class Seizure:
    """What is judged, after the vault said that its destructions are complete."""

    recorder: Recorder
    workload: Workload

    def __post_init__(self) -> None:
        self.stage = self.recorder.stage
        self.world = self.stage.world
        self.graph = self.stage.notes.graph
        self.live = self.stage.real.names()
        self.places = self.workload.places
        self.vault_id = self.world.vault.vault_id

    def attack(self) -> Spoils:
        """The adversary with the recording and every use of the live masters."""
        return attack(gather(self.vault_id, self.recorder.recording), [self.stage.real])

    def attack_with_copies(self) -> Spoils:
        """The positive control: he has copied the custodian's storage before the old masters died, too."""
        spoils = gather(self.vault_id, self.recorder.recording)
        return attack(spoils, [self.stage.real], self.old_root_keys(), trials=0)

    def old_root_keys(self) -> set[bytes]:
        """What the adversary gets with copies of the custodian's storage."""
        spoils = gather(self.vault_id, self.recorder.recording)
        return self.stage.unwrap_with_copies(
            (root.wrapped, root_key_context(self.vault_id, root.tree, root.epoch, root.version))
            for root in spoils.roots
        )

    def record_keys(self, record: str) -> set[KeyId]:
        """The ids of every key that ever stood at a record's place."""
        return self.graph.places.get(self.places[record], set())

    def telling_keys(self) -> Iterator[bytes]:
        """Every key that something was ever sealed under, or that had a record. Keys of empty places tell nothing."""
        taken = {*self.places.values()}
        empty = {key for place, keys in self.graph.places.items() if place[1] and place not in taken for key in keys}
        used = {key for place in taken for key in self.graph.places.get(place, ())}
        for key, value in self.graph.values.items():
            if key not in empty or key in used or key in self.graph.children or key in self.graph.sealed:
                yield value


def judge(seizure: Seizure, spoils: Spoils) -> list[Finding]:
    """All judges; empty when the adversary has lost."""
    found: list[Finding] = []
    for name, judge_one in JUDGES.items():
        found += [Finding(name, what) for what in judge_one(seizure, spoils)]
    return found


def by_graph(seizure: Seizure, _: Spoils) -> Iterator[str]:
    """W1: over every key that was ever sealed under another, the live masters reach no key or path of the destroyed."""
    reached = seizure.graph.reachable(seizure.live)
    for record in seizure.workload.destroyed:
        own = seizure.record_keys(record.id)
        if not own:
            yield f"no key of the destroyed record {record.id} was ever seen: the instruments are blind"
        if own & reached:
            yield f"the live masters reach the key of the destroyed record {record.id}"
    lost = {key for record in seizure.workload.destroyed for key in seizure.record_keys(record.id)}
    if paths := seizure.graph.above(lost) & reached:
        yield f"the live masters reach {len(paths)} keys on paths to the destroyed"


def by_trial(seizure: Seizure, spoils: Spoils) -> Iterator[str]:
    """W1: no recorded blob of a destroyed record opens with any key that was found. Those of the living do."""
    for record in seizure.workload.destroyed:
        if record.id in spoils.opened or spoils.documents.get(record.id):
            yield f"the destroyed record {record.id} was opened"
    for record in seizure.workload.living:
        if record.id not in spoils.opened:
            yield f"the living record {record.id} was not opened: the adversary is blind"
    yield from spoils.swapped


def by_bytes(seizure: Seizure, _: Spoils) -> Iterator[str]:
    """W1, W2: no canary, key, sealed docket, digest of a name or document stands anywhere in the recording."""
    canaries = seizure.workload.canaries
    marks = Marks(canaries.text_mark, canaries.byte_mark)
    dockets = (docket.encode() for docket in seizure.workload.dockets)
    secrets = (*seizure.telling_keys(), *seizure.stage.masters, *dockets)
    everybody = (*seizure.workload.destroyed, *seizure.workload.living)
    plain = [c for r in everybody for c in (*(text.encode() for text in texts_of(r)), *r.documents.values())]
    hashes = ((name, value) for one in plain for name, value in digests(one).items() if len(value) >= FORM_MIN)
    words = Words([*(("a key", value) for value in secrets), *hashes])
    for origin, piece in seizure.recorder.recording.pieces():
        for data in (piece, *unescaped(piece)):
            for scan in (marks, words):
                for hit in scan.find(data):
                    yield f"{hit.label} ({hit.form}) in {origin.source} {origin.name}, step {origin.step}"


def by_accounting(seizure: Seizure, _: Spoils) -> Iterator[str]:
    """Only the destroyed masters lead to the destroyed, every master is accounted for, no key seals two things."""
    graph, notes = seizure.graph, seizure.stage.notes
    lost = {key for record in seizure.workload.destroyed for key in seizure.record_keys(record.id)}
    heads = graph.above(lost)
    leading = {master for master, wrapped in graph.wraps.items() if wrapped & heads}
    if left := leading - notes.destroyed:
        yield f"{len(left)} masters that were not destroyed lead to the destroyed"
    if left := notes.made - notes.destroyed - seizure.live:
        yield f"{len(left)} masters are neither live nor destroyed"
    if len(seizure.live) != 2:
        yield f"{len(seizure.live)} masters live, for two trees"
    if reused := graph.reused():
        yield f"{len(reused)} page keys sealed more than one version of a page"
    wrapped_by: dict[KeyId, set[str]] = {}
    for master, roots in graph.wraps.items():
        for root in roots:
            wrapped_by.setdefault(root, set()).add(master)
    if twice := [root for root, masters in wrapped_by.items() if len(masters) > 1]:
        yield f"{len(twice)} root keys were wrapped by more than one master"


def by_contexts(seizure: Seizure, _: Spoils) -> Iterator[str]:
    """Everything sealed under a record key is bound to that record, and a slip or document to its own id too."""
    record_of = {key: record for record in seizure.places for key in seizure.record_keys(record)}
    fields = {"shredvault/sheet/v1": 2, "shredvault/slip/v1": 3, "shredvault/document/v1": 3}
    for key, contexts in seizure.graph.sealed.items():
        for one in contexts:
            label, *bound = _fields_of(one)
            if fields.get(label.decode()) != len(bound) or bound[1].decode() != record_of.get(key):
                yield f"a {label.decode()} is not bound to all it belongs to"


def _fields_of(context: bytes) -> list[bytes]:
    found = []
    while context:
        size = int.from_bytes(context[:4], "big")
        found.append(context[4 : 4 + size])
        context = context[4 + size :]
    return found


def by_reading(seizure: Seizure, _: Spoils) -> Iterator[str]:
    """W3, W5: every survivor and held record can be read in full; W4: no destroyed one can."""
    yield from seizure.workload.troubles
    yield from readings(seizure.workload)


def readings(workload: Workload, sample: int | None = None) -> Iterator[str]:
    """Who of the living cannot be read now, and who of the destroyed can; of at most `sample` of each."""
    world = workload.stage.world
    for record in _some(workload.living, sample):
        try:
            world.assert_readable(record)
        except (AssertionError, VaultError, KeystoreError, ObjectStoreError) as failure:
            yield f"the living record {record.id} cannot be read: {type(failure).__name__}"
    for record in _some(workload.destroyed, sample):
        answer = NotFoundError if record.id in workload.forgotten else DestroyedError
        try:
            world.assert_readable(record)
        except answer:
            continue
        except (AssertionError, VaultError, KeystoreError, ObjectStoreError) as failure:
            yield f"the destroyed record {record.id} is answered with {type(failure).__name__}"
        else:
            if record.id not in workload.undecided:
                yield f"the destroyed record {record.id} can be read"


def gone_from(world: World) -> set[str]:
    """Every record that is condemned, those too that a rebuild knows by their ids only."""
    condemned = "SELECT id FROM record_states WHERE destruction_id IS NOT NULL UNION SELECT id FROM gone_records"
    return {row[0] for row in world.rows(condemned)}


def _some(records: list[Record], sample: int | None) -> list[Record]:
    return records if sample is None or len(records) <= sample else Random(len(records)).sample(records, sample)


def texts_of(record: Record) -> Iterator[str]:
    """Every text that stands in a record's sheet."""
    waiting = list(record.applicant.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        else:
            yield str(value)


def by_mirror(seizure: Seizure, spoils: Spoils) -> Iterator[str]:
    """W3: the bucket alone, with the live masters, opens every living record."""
    alone = gather(seizure.vault_id, seizure.recorder.recording, with_rows=False)
    attack(alone, [seizure.stage.real], trials=0)
    completed = {row[0] for row in seizure.world.rows("SELECT id FROM records WHERE completed_at IS NOT NULL")}
    for record in seizure.workload.living:
        if record.id in completed and record.id not in alone.opened:
            yield f"the bucket does not give the living record {record.id} back"


def by_authority(seizure: Seizure, _: Spoils) -> Iterator[str]:
    """W5: who is condemned is who was to be, and nobody else."""
    gone = gone_from(seizure.world)
    expected = {record.id for record in seizure.workload.destroyed} - seizure.workload.forgotten
    yield from seizure.workload.astray
    if more := gone - expected:
        yield f"{len(more)} records were destroyed without authority"
    if less := expected - gone:
        yield f"{len(less)} records that were to be destroyed were not"


def by_certificate(seizure: Seizure, _: Spoils) -> Iterator[str]:
    """W4: no destruction is recorded as complete whose master lives, or lived when that was recorded."""
    for master in seizure.stage.notes.recorded_early:
        yield f"the destruction of {master} was recorded while it lived"
    rows = seizure.world.rows(
        "SELECT r.master FROM destructions d JOIN roots r ON r.tree = d.tree AND r.version = d.old_version "
        "WHERE d.completed_at IS NOT NULL"
    )
    for row in rows:
        if row[0] in seizure.live:
            yield f"a destruction is complete whose master {row[0]} lives"
    kind = seizure.stage.real.assurance.kind
    told = seizure.world.rows("SELECT observed FROM destructions WHERE completed_at IS NOT NULL AND condemned > 0")
    for row in told:
        observed = json.loads(row[0]) if isinstance(row[0], str) else row[0]
        if "taken_over" in observed:
            # A rebuild has it from the ledger, which does not repeat the assurance.
            continue
        if observed["assurance"]["kind"] != kind:
            yield "a destruction record says another assurance than the custodian gives"


def by_memory(seizure: Seizure, _: Spoils) -> Iterator[str]:
    """D10: no process holds the key of a destroyed record any more."""
    gone = {record.id for record in seizure.workload.destroyed}
    if left := gone & seizure.workload.in_use:
        yield f"a process held the keys of {len(left)} destroyed records after completion"
    yield from seizure.workload.remembered


def by_epoch(seizure: Seizure, _: Spoils) -> Iterator[str]:
    """Nothing is added to a record that was destroyed."""
    known = {record.id: len(record.documents) for record in seizure.workload.destroyed}
    for record, count in seizure.world.rows("SELECT record_id, COUNT(*) FROM documents GROUP BY record_id"):
        if count > known.get(record, count):
            yield f"a document came into the destroyed record {record}"


def by_leftovers(seizure: Seizure, _: Spoils) -> Iterator[str]:
    """A day later nothing of the destroyed is left in the bucket, and no upload is unfinished."""
    bucket = seizure.world.vault.bucket
    if left := len(list(bucket.unfinished(""))):
        yield f"{left} unfinished uploads are left"
    names = {version.name for version in bucket.versions("")}
    for record in seizure.workload.destroyed:
        if any(record.id in name for name in names):
            yield f"an object of the destroyed record {record.id} is left"


def by_places(seizure: Seizure, _: Spoils) -> Iterator[str]:
    """W1: nothing is written into temporary folders but what is public (`tests.seizure.temporary`), to the byte."""
    wrote = {place: set(digests) for place, digests in seizure.stage.notes.wrote.items()}
    for place, content in seizure.recorder.recording.every("temporary"):
        # Whoever was killed has removed nothing.
        wrote.setdefault(place, set()).add(digest_of(content))
    yield from found_in(wrote, seizure.world)


JUDGES = {
    "graph": by_graph,
    "trial": by_trial,
    "bytes": by_bytes,
    "accounting": by_accounting,
    "contexts": by_contexts,
    "reading": by_reading,
    "mirror": by_mirror,
    "authority": by_authority,
    "certificate": by_certificate,
    "papers": by_papers,
    "history": by_history,
    "places": by_places,
    "memory": by_memory,
    "epoch": by_epoch,
    "leftovers": by_leftovers,
}
