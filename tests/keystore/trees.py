"""A vault's two key trees for tests, with everything they ever wrote, and an adversary who has kept it all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from keystore import (
    EVERY_SLOT,
    INDEX_SLOT,
    GraphReport,
    Key,
    KeyPage,
    MasterGoneError,
    OpenTree,
    PageName,
    Rewrite,
    SealBrokenError,
    SealedPage,
    SealedRoot,
    StagedTree,
    Tree,
    TreeChange,
    Verdict,
    check_graph,
    found,
    slots_of,
    slots_to_bitmap,
    stage,
)
from keystore.custodians import FileCustodian
from keystore.destruction import Evidence, Standing, destroy_master

Place = tuple[int, int]
"""A record: cohort and slot."""

VAULT = bytes(range(16))
GIVEN_OUT = range(1, 6)
"""Slots that hold records in every cohort."""


def bits(slots: Iterable[int]) -> bytes:
    return slots_to_bitmap(slots)


def raw(key: Key) -> bytes:
    """What a test may do and the product must not: a copy of the bytes."""
    with key:
        return bytes(key.reveal())


@dataclass
class Trees:
    """The legal operations on both trees; every blob ever sealed is kept, taken or not."""

    folder: Path
    roots: list[SealedRoot] = field(default_factory=list)
    pages: list[SealedPage] = field(default_factory=list)
    current: dict[Tree, SealedRoot] = field(default_factory=dict)
    current_pages: dict[Tree, dict[int, SealedPage]] = field(default_factory=dict)
    true_keys: dict[Place, bytes] = field(default_factory=dict)
    held: set[Place] = field(default_factory=set)
    gone: set[Place] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.custodian = FileCustodian(self.folder / "keys", away_from=self.folder / "home")
        self.stolen = FileCustodian(self.folder / "stolen", away_from=self.folder / "home")
        self._versions = dict.fromkeys(Tree, 1)
        for tree in Tree:
            master = self.new_master(tree)
            self.current_pages[tree] = {}
            self.take(found(VAULT, tree, version=1, master=master, custodian=self.custodian))

    @property
    def living(self) -> set[Place]:
        return set(self.true_keys) - self.gone

    def new_master(self, tree: Tree) -> str:
        name = f"{tree}-{secrets.token_hex(8)}"
        self.custodian.create(name)
        # The thief copies every master while it lives.
        shutil.copy(self.folder / "keys" / f"{name}.master", self.folder / "stolen")
        return name

    def loader(self, tree: Tree) -> Callable[[int], SealedPage]:
        return self.current_pages[tree].__getitem__

    def open(self, tree: Tree) -> OpenTree:
        return OpenTree.open(VAULT, self.current[tree], self.custodian)

    def stage(self, tree: Tree, change: TreeChange, master: str | None = None) -> StagedTree:
        """Stage the next version: of this epoch, or, with a new master, of the next."""
        self._versions[tree] += 1
        root = self.current[tree]
        with self.open(tree) as base:
            staged = stage(
                VAULT,
                base,
                change,
                self.loader(tree),
                tree=tree,
                epoch=root.epoch + (master is not None),
                version=self._versions[tree],
                master=master or root.master,
                custodian=self.custodian,
            )
        self.record(staged)
        return staged

    def record(self, staged: StagedTree) -> None:
        self.roots.append(staged.root)
        self.pages.extend(staged.pages)

    def take(self, staged: StagedTree, dropped: Collection[int] = ()) -> None:
        tree = staged.root.tree
        self.record(staged)
        self.current[tree] = staged.root
        self.current_pages[tree] |= {page.cohort: page for page in staged.pages}
        for cohort in dropped:
            del self.current_pages[tree][cohort]

    def open_cohort(self, number: int) -> None:
        self.take(self.stage(Tree.ACTIVE, TreeChange(opened=(number,))))
        with self.open(Tree.ACTIVE) as tree, tree.page(self.current_pages[Tree.ACTIVE][number]) as page:
            for slot in GIVEN_OUT:
                self.true_keys[number, slot] = raw(page.key(slot))

    def key(self, place: Place, tree: Tree = Tree.ACTIVE) -> Key:
        cohort, slot = place
        with self.open(tree) as opened:
            return opened.record_key(self.current_pages[tree][cohort], slot)

    def hold(self, place: Place) -> None:
        self.held.add(place)
        cohort, slot = place
        with self.key(place) as key:
            self.take(self.stage(Tree.HELD, TreeChange(rewritten={cohort: Rewrite(EVERY_SLOT, {slot: key})})))

    def verdicts(self, tree: Tree, doomed: Iterable[Place]) -> tuple[dict[int, Verdict], list[int]]:
        """For each touched cohort what must be true of it, and the cohorts in which nobody survives."""
        by_cohort: dict[int, set[int]] = {}
        for cohort, slot in doomed:
            by_cohort.setdefault(cohort, set()).add(slot)
        rewritten, dropped = {}, []
        for cohort, slots in by_cohort.items():
            live = set(slots_of(self.current_pages[tree][cohort].live)) & set(GIVEN_OUT)
            if live - slots:
                rewritten[cohort] = Verdict(bits(slots), bits(live - slots))
            else:
                dropped.append(cohort)
        return rewritten, dropped

    def stage_destruction(self, tree: Tree, doomed: Iterable[Place], master: str) -> StagedTree:
        rewritten, dropped = self.verdicts(tree, doomed)
        keep = {
            cohort: Rewrite(bits({*slots_of(verdict.survivors), INDEX_SLOT})) for cohort, verdict in rewritten.items()
        }
        return self.stage(tree, TreeChange(rewritten=keep, dropped=dropped), master)

    def check(self, doomed: Iterable[Place], staged: StagedTree) -> GraphReport:
        tree = staged.root.tree
        rewritten, dropped = self.verdicts(tree, doomed)
        with self.open(tree) as old:
            return check_graph(
                VAULT,
                old,
                self.current[tree].master,
                self.loader(tree),
                staged.root,
                {page.cohort: page for page in staged.pages}.__getitem__,
                rewritten=rewritten,
                dropped=dropped,
                custodian=self.custodian,
            )

    def destroy(self, tree: Tree, doomed: set[Place]) -> Evidence:
        """Steps 2 to 6 of a destruction."""
        old = self.current[tree]
        staged = self.stage_destruction(tree, doomed, self.new_master(tree))
        self.check(doomed, staged)
        _, dropped = self.verdicts(tree, doomed)
        self.take(staged, dropped)
        if tree is Tree.ACTIVE:
            self.gone |= doomed
        else:
            self.held -= doomed
        return destroy_master(VAULT, Standing(self.custodian, old), Standing(self.custodian, staged.root))

    def reachable(self, custodian: FileCustodian) -> set[bytes]:
        """Every key that trial opening of every blob ever written gives, with unlimited use of a custodian."""
        keys: set[bytes] = set()
        for root in self.roots:
            try:
                opened = OpenTree.open(VAULT, root, custodian)
            except (MasterGoneError, SealBrokenError):
                continue
            with opened:
                keys |= {raw(opened.root_page.key(slot)) for slot in slots_of(opened.root_page.bitmap)}
                keys.add(bytes(opened.root_key.reveal()))
        # Page keys found anywhere are tried on every page ever sealed, whatever tree or cohort they stood for.
        for page in self.pages:
            name = PageName(VAULT, page.tree, page.cohort, page.version)
            for candidate in list(keys):
                try:
                    with Key(bytearray(candidate)) as key, KeyPage.open(name, key, page.sealed) as seen:
                        keys |= {raw(seen.key(slot)) for slot in slots_of(seen.bitmap) if slot in GIVEN_OUT}
                except SealBrokenError:
                    continue
        return keys
