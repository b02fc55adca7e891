"""What the bucket and the custodians alone tell of a vault: the first half of a rebuild. Nothing is changed here.

The ledger says who was condemned, what is held, and which masters there ever were. The packs whose masters still live
give the record keys. The manifests give the records; a manifest counts when its tag was made with the record's key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from keystore import (
    INDEX_SLOT,
    Custodian,
    Key,
    KeyPage,
    MasterState,
    OpenTree,
    SealBrokenError,
    SealedPage,
    StagedTree,
    Tree,
    slots_of,
)
from vault.destruction.frozen_lists import unpack_slots
from vault.destruction.listed_ids import fetch_list, unpack_places
from vault.errors import DamagedError
from vault.holds.history import EVENTS, HeldBy, tell
from vault.ids import DestructionId, RecordId
from vault.law.retention import OF_RECORDS
from vault.ledger.publishing import Entry, Mark, bucket_objects, read_objects
from vault.objects import Bucket
from vault.records.manifests import MANIFEST_LIMIT_BYTES, MANIFEST_PREFIX, Manifest
from vault.sunset.latching import LatchedSunset
from vault.trees import mirror

__all__ = [
    "Condemned",
    "Found",
    "History",
    "Ordered",
    "ReachableKeys",
    "find_records",
    "read_history",
]

_VERSIONS_APART: Final = 1_000_000
"""What was staged since the newest tree that opens, and given up, is fewer by far."""


@dataclass(slots=True)
class Condemned:
    """A destruction as the ledger tells it."""

    id: DestructionId
    frozen_at: datetime
    facts: dict[str, Any]
    condemned_at: datetime | None = None
    condemned: int = 0
    completed_at: datetime | None = None
    slots: dict[int, int] = field(default_factory=dict)
    """Who was condemned, as bitmaps by cohort; empty before that."""
    withdrawn_places: str = ""
    """Who was withdrawn from the list, packed; empty for nobody."""


@dataclass(slots=True)
class Ordered:
    """An order as the ledger tells it."""

    accepted_at: datetime
    facts: dict[str, Any]
    used_at: datetime | None = None
    used_by: str | None = None
    void_reason: str | None = None


@dataclass(slots=True)
class History:
    """What the ledger tells."""

    entries: list[Entry] = field(default_factory=list)
    mark: Mark = field(default_factory=lambda: Mark(0, bytes(32)))
    marks: set[Mark] = field(default_factory=set)
    """Of every object."""
    checkpoint: str = ""
    """The newest, which binds everything before it. See `vault.recovery.recognising`."""
    founded_at: datetime | None = None
    policies: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    """Every version of the policy, with the instant at which it came into force."""
    orders: dict[str, Ordered] = field(default_factory=dict)
    sunsets: dict[str, LatchedSunset] = field(default_factory=dict)
    destructions: dict[str, Condemned] = field(default_factory=dict)
    holds: dict[str, HeldBy] = field(default_factory=dict)
    certificates: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    """Certificates by destruction: when they were issued, and their text."""
    revoked_tokens: dict[str, datetime] = field(default_factory=dict)
    high_water: datetime | None = None
    """The latest entry that was made while time was trusted (T5)."""
    decided: dict[str, date] = field(default_factory=dict)
    """Records that were due at once, because their applications were decided (P3)."""
    suspicion: tuple[datetime, str] | None = None
    """Since when time is SUSPECT, and why."""
    masters: dict[str, str] = field(default_factory=dict)
    """Masters that were planned and are not known to be destroyed, with their custodians' addresses."""
    destroyed_masters: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    """Masters that are known to be destroyed: at which custodian, and when."""

    def destructions_of_records(self) -> Iterator[Condemned]:
        """Those in which records die, not only the held copies of keys or masters."""
        return (one for one in self.destructions.values() if one.facts["kind"] in OF_RECORDS)

    def condemned_by(self, cohort: int, slot: int) -> DestructionId | None:
        """Which destruction of records condemned this slot."""
        for one in self.destructions_of_records():
            if one.slots.get(cohort, 0) >> slot & 1:
                return one.id
        return None


def read_history(bucket: Bucket, vault_id: bytes) -> History:
    """Read the whole ledger.

    Raises:
        DamagedError: it has a gap, was altered, or does not begin with a founding.
    """
    history = History()
    for one in read_objects(bucket_objects(bucket), vault_id):
        history.mark, history.checkpoint = one.mark, one.checkpoint
        history.marks.add(one.mark)
        for entry in one.entries:
            history.entries.append(entry)
            _apply(history, entry)
    if history.founded_at is None:
        message = "The ledger in the bucket does not begin with the founding of a vault."
        raise DamagedError(message)
    return history


def _apply(history: History, entry: Entry) -> None:
    facts = entry.facts
    _apply_time(history, entry)
    _apply_sunset(history, entry)
    match entry.event:
        case "founded":
            history.founded_at = entry.at
            history.policies.append((entry.at, facts["policy"]))
            history.masters.update(dict.fromkeys(facts["masters"], facts["custodian"]))
        case "rebuilt":
            history.masters.update(dict.fromkeys(facts["masters"], facts["custodian"]))
        case event if event in EVENTS:
            tell(history.holds, event, entry.subject, entry.at, facts)
        case "unused master discarded":
            _bury(history, entry.subject, entry.at)
        case "token revoked":
            history.revoked_tokens[entry.subject] = entry.at
        case "decided":
            history.decided[entry.subject] = date.fromisoformat(facts["due_on"])
        case "certificate issued":
            history.certificates[entry.subject] = (entry.at, facts["document"])
        case "policy adopted":
            history.policies.append((entry.at, facts))
        case "order accepted" | "order used" | "order voided":
            _apply_order(history, entry)
        case _:
            _apply_destruction(history, entry)


def _apply_time(history: History, entry: Entry) -> None:
    match entry.event:
        case "time suspect":
            history.suspicion = datetime.fromisoformat(entry.facts["since"]), entry.facts["why"]
        case "time cleared":
            history.suspicion, history.high_water = None, entry.at
        case _ if history.suspicion is None:
            history.high_water = max(entry.at, history.high_water or entry.at)


def _apply_sunset(history: History, entry: Entry) -> None:
    match entry.event:
        case "sunset latched":
            history.sunsets[entry.subject] = LatchedSunset(entry.subject, entry.at, entry.facts)
        case "deferral statement":
            one = history.sunsets[entry.subject]
            one.deferred_at, one.deferred = entry.at, entry.facts["count"]


def _apply_order(history: History, entry: Entry) -> None:
    match entry.event:
        case "order accepted":
            history.orders[entry.subject] = Ordered(entry.at, entry.facts)
        case "order used":
            one = history.orders[entry.subject]
            one.used_at, one.used_by = entry.at, entry.facts["by"]
        case "order voided":
            history.orders[entry.subject].void_reason = entry.facts["reason"]


def _bury(history: History, master: str, at: datetime) -> None:
    if (custodian := history.masters.pop(master, None)) is not None:
        history.destroyed_masters[master] = custodian, at


def _apply_destruction(history: History, entry: Entry) -> None:
    facts = entry.facts
    match entry.event:
        case "list frozen":
            history.destructions[entry.subject] = Condemned(DestructionId(entry.subject), entry.at, facts)
        case "intent":
            history.masters[facts["new_master"]] = facts["custodian"]
        case "condemned":
            one = history.destructions[entry.subject]
            withdrawn = unpack_slots(facts["withdrawn"])
            one.condemned_at, one.condemned = entry.at, facts["count"]
            one.withdrawn_places = facts.get("withdrawn_places", "")
            one.slots = {c: bits & ~withdrawn.get(c, 0) for c, bits in unpack_slots(one.facts["slots"]).items()}
            if one.facts["hold"] is not None:
                history.holds[one.facts["hold"]].end(one.frozen_at, entry.at)
        case "completed":
            one = history.destructions[entry.subject]
            one.completed_at = entry.at
            _bury(history, str(facts.get("master")), entry.at)
            one.condemned_at = one.condemned_at or entry.at


def _no_pack(name: str) -> DamagedError:
    return DamagedError(
        f"The object {name} in the bucket is damaged, or none that this vault wrote. Bring its older version back; "
        "where it has none, keep a copy of it as evidence, and remove it."
    )


class ReachableKeys:
    """Every record key that some living master still reaches, through any pack that the bucket has."""

    def __init__(self, bucket: Bucket, vault_id: bytes, custodians: Mapping[str, Custodian]) -> None:
        """Open what opens; end it with `close`.

        Raises:
            CustodianUnavailableError: a custodian does not answer; what it holds would be taken for lost.
            DamagedError: an object stands among the packs that is none.
        """
        self._vault_id = vault_id
        self._pages: dict[int, dict[tuple[Tree, int], KeyPage]] = {}
        self._stack = ExitStack()
        self.versions = dict.fromkeys(Tree, 0)
        self.epochs = dict.fromkeys(Tree, 0)
        self.masters: dict[str, str] = {}
        """Living masters over some pack, with their custodians' addresses."""
        self.cohorts: set[int] = set()
        """Every cohort of a tree that opens, whether or not a key of it does: these numbers are used."""
        for tree in Tree:
            packs = self._read(bucket, tree)
            newest = 0
            sealed = {(p.cohort, p.version): p for staged, _ in packs.values() for p in staged.pages}
            for staged, carried in packs.values():
                for uri, custodian in custodians.items():
                    if custodian.describe(staged.root.master) is MasterState.LIVE:
                        self._open(tree, staged, carried, sealed, custodian)
                        self.masters[staged.root.master] = uri
                        newest = max(newest, staged.root.version)
            # A pack's head is in the clear. The newest of a tree that opens is near the newest of all; whoever plants
            # one of a version that is far away would use up the numbers, and the head of one that opens is true.
            self.versions[tree] = max(packs, default=0)
            if newest and self.versions[tree] > newest + _VERSIONS_APART:
                raise _no_pack(mirror.pack_name(tree, self.versions[tree]))

    def _read(self, bucket: Bucket, tree: Tree) -> dict[int, tuple[StagedTree, dict[int, int]]]:
        packs: dict[int, tuple[StagedTree, dict[int, int]]] = {}
        for name in bucket.names(f"{mirror.PREFIX}{tree}/"):
            try:
                staged, carried = mirror.unpack(self._vault_id, bucket.get(name, limit=mirror.PACK_LIMIT_BYTES))
            except SealBrokenError as broken:
                raise _no_pack(name) from broken
            # Under another name it would stand in the place of a true one.
            if name != mirror.pack_name(tree, staged.root.version) or staged.root.tree is not tree:
                raise _no_pack(name)
            packs[staged.root.version] = staged, carried
        return packs

    def _open(
        self,
        tree: Tree,
        staged: StagedTree,
        carried: Mapping[int, int],
        sealed: Mapping[tuple[int, int], SealedPage],
        custodian: Custodian,
    ) -> None:
        versions = {**carried, **{page.cohort: page.version for page in staged.pages}}
        try:
            opened = OpenTree.open(self._vault_id, staged.root, custodian)
        except SealBrokenError as broken:
            raise _no_pack(mirror.pack_name(tree, staged.root.version)) from broken
        with opened:
            if set(slots_of(opened.root_page.bitmap)) != set(versions):
                raise _no_pack(mirror.pack_name(tree, staged.root.version))
            self.epochs[tree] = max(self.epochs[tree], staged.root.epoch)
            self.cohorts.update(versions)
            for cohort, version in versions.items():
                known = self._pages.setdefault(cohort, {})
                page = sealed.get((cohort, version))
                if page is not None and (tree, version) not in known and opened.has(cohort):
                    with suppress(SealBrokenError):
                        known[tree, version] = self._stack.enter_context(opened.page(page))

    def candidates(self, cohort: int, slot: int) -> Iterator[Key]:
        """Keys that may be this slot's, each wiped after its turn. Usually there is one, or the same key twice."""
        for page in self._pages.get(cohort, {}).values():
            if page.is_live(slot):
                with page.key(slot) as key:
                    yield key

    def reaches(self, cohort: int, slots: int) -> int:
        """How many of these slots (a bitmap) have a key."""
        live = 0
        for page in self._pages.get(cohort, {}).values():
            live |= int.from_bytes(page.bitmap, "little")
        return (live & slots).bit_count()

    def index_key(self, cohort: int) -> Key | None:
        """A cohort's index key; the caller wipes it."""
        for page in self._pages.get(cohort, {}).values():
            if page.is_live(INDEX_SLOT):
                return page.key(INDEX_SLOT)
        return None

    def close(self) -> None:
        """Wipe all pages."""
        self._stack.close()


@dataclass(slots=True)
class Found:
    """The records that the bucket has."""

    living: list[tuple[Manifest, Key]] = field(default_factory=list)
    """With their keys; the caller wipes them."""
    dead: list[tuple[Manifest, DestructionId]] = field(default_factory=list)
    """Condemned by a destruction; their objects are not reclaimed yet."""
    lost: list[RecordId] = field(default_factory=list)
    """Not condemned, and without a key or with a manifest that was altered: an incident."""
    gone: dict[RecordId, DestructionId] = field(default_factory=dict)
    """Condemned by a destruction, and nothing but the list names them any more."""
    unlisted: list[DestructionId] = field(default_factory=list)
    """Destructions whose list is missing in the bucket, or is damaged: ids on it are not known for destroyed."""


def find_records(bucket: Bucket, vault_id: bytes, history: History, reachable: ReachableKeys) -> Found:
    """Read every manifest and find its key."""
    found = Found()
    for name in bucket.names(MANIFEST_PREFIX):
        record_id = RecordId(name.removeprefix(MANIFEST_PREFIX))
        try:
            manifest, tag = Manifest.decode(name, bucket.get(name, limit=MANIFEST_LIMIT_BYTES))
        except SealBrokenError:
            found.lost.append(record_id)
            continue
        destruction = history.condemned_by(manifest.cohort, manifest.slot)
        if destruction is not None:
            found.dead.append((manifest, destruction))
            continue
        for key in reachable.candidates(manifest.cohort, manifest.slot):
            if manifest.is_tagged_by(key, vault_id, tag):
                found.living.append((manifest, Key.copy_of(key.reveal())))
                break
        else:
            found.lost.append(record_id)
    _find_gone(bucket, vault_id, history, found)
    return found


def _find_gone(bucket: Bucket, vault_id: bytes, history: History, found: Found) -> None:
    known = {manifest.record for manifest, _ in (*found.living, *found.dead)} | set(found.lost)
    for one in history.destructions_of_records():
        if one.condemned_at is None or not one.facts["listed"]:
            continue
        try:
            ids = fetch_list(bucket, vault_id, one.id, bytes.fromhex(one.facts["list_root"]))
        except DamagedError:
            ids = None
        if ids is None:
            found.unlisted.append(one.id)
            continue
        withdrawn = unpack_places(one.withdrawn_places, len(ids)) if one.withdrawn_places else ()
        for place, text in enumerate(ids):
            record_id = RecordId(text.decode("ascii"))
            if place not in withdrawn and record_id not in known:
                found.gone[record_id] = one.id
