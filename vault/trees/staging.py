"""Step 3 of a destruction: what the next tree keeps and drops, staged, mirrored, read back and checked.

Nothing here destroys or switches anything; a staging that is given up is only litter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from keystore import (
    COHORT_BITMAP_BYTES,
    INDEX_SLOT,
    Custodian,
    GraphReport,
    KeyGraphError,
    OpenTree,
    PageLoader,
    Rewrite,
    SealBrokenError,
    StagedTree,
    Tree,
    TreeChange,
    Verdict,
    check_graph,
    slots_of,
    stage,
)
from vault.catalogue import Transaction, keys
from vault.catalogue.schema import cohorts
from vault.context import Vault
from vault.errors import BusyError
from vault.wording import number_of

from . import mirror
from .keyring import open_root, page_loader

__all__ = ["Plan", "Staging", "plan_tree", "read_staged", "revisions_of", "stage_and_check"]

_INDEX_BIT = 1 << INDEX_SLOT


@dataclass(frozen=True, slots=True)
class Plan:
    """For each touched cohort, bitmaps (as integers) of the slots that lose and that keep their keys."""

    condemned: Mapping[int, int]
    survivors: Mapping[int, int]
    keyless: Mapping[int, int]
    """Slots that were given out and have no key (any more): destroyed before, or an incident. Nobody dies by it."""
    revisions: Mapping[int, int]
    """What the cohorts' change counters said when the plan was made."""

    @property
    def dropped(self) -> list[int]:
        """Cohorts in which nobody survives: their pages are dropped unread."""
        return [cohort for cohort in self.condemned if not self.survivors[cohort]]

    @property
    def rewritten(self) -> list[int]:
        """Cohorts whose pages are rewritten under a fresh key."""
        return [cohort for cohort in self.condemned if self.survivors[cohort]]

    @property
    def condemned_count(self) -> int:
        """How many record keys go."""
        return sum(bits.bit_count() for bits in self.condemned.values())


@dataclass(frozen=True, slots=True)
class Staging:
    """A staged version that passed the key-graph check."""

    plan: Plan
    base_version: int
    base_master: str
    version: int
    report: GraphReport
    pages: int
    mirror_bytes: int
    mirrored_again: int = 0
    """Cohorts of which nobody dies, and whose pages the mirror had lost."""


def revisions_of(tx: Transaction) -> dict[int, int]:
    """The change counters of all cohorts: whatever may matter to a verdict in a cohort moves its counter."""
    return {row.id: row.revision for row in tx.execute(sa.select(cohorts.c.id, cohorts.c.revision))}


def plan_tree(
    tx: Transaction, tree: Tree, listed: Mapping[int, int], spared: Mapping[int, int], *, every: bool = False
) -> Plan:
    """Work out who keeps a key, from the frozen list and those who may not be condemned now.

    With `every`, listed cohorts of which nobody dies are in the plan too: they cannot be carried over as they are.

    Survivors are whatever is not on the list: a slot given out, with a live key, and not condemned. Slots
    never given out are no survivors; cohorts on a list are closed before, so no slot is given out meanwhile.
    """
    live = {
        cohort: int.from_bytes(bitmap, "little")
        for cohort, bitmap in keys.live_bitmaps(tx, tree, listed.keys()).items()
    }
    given_out = {row.id: (1 << row.next_slot) - 1 for row in tx.execute(sa.select(cohorts.c.id, cohorts.c.next_slot))}
    condemned: dict[int, int] = {}
    survivors: dict[int, int] = {}
    keyless: dict[int, int] = {}
    for cohort, slots in listed.items():
        doomed = slots & ~spared.get(cohort, 0) & live.get(cohort, 0)
        if doomed or (every and cohort in live):
            condemned[cohort] = doomed
            survivors[cohort] = live[cohort] & given_out[cohort] & ~doomed & ~_INDEX_BIT
            keyless[cohort] = given_out[cohort] & ~live[cohort] & ~_INDEX_BIT
    return Plan(condemned, survivors, keyless, revisions_of(tx))


def _bitmap(bits: int) -> bytes:
    return bits.to_bytes(COHORT_BITMAP_BYTES, "little")


def stage_and_check(vault: Vault, tree: Tree, plan: Plan, new_master: str) -> Staging:
    """Write the next version beside the current one, mirror it, read the mirror back and check that.

    Cohorts of which nobody dies are carried over, and stay in the packs that have them. Where the bucket has such a
    pack no more, they are rewritten with all their keys: after the old master's death no older pack would help.

    Raises:
        KeyGraphError: the check refused it, or the catalogue lacks pages of the tree.
        BusyError: somebody else changed the tree just now.
        ObjectStoreError, CustodianError, CatalogueError: a service failed.
    """
    with vault.catalogue.write() as tx:
        version = keys.take_version(tx, tree)
    with vault.catalogue.read() as tx:
        base = keys.current_root(tx, tree)
        if base.version > version:
            message = "The key tree is being changed by others; nothing was destroyed. Try again."
            raise BusyError(message)
        custodian = vault.custody.at(keys.custodian_address(tx, new_master))
        carried = keys.current_pages(tx, tree)
        again = _lost_by_mirror(vault, tx, tree, {c: at for c, at in carried.items() if c not in plan.condemned})
        keep = {cohort: plan.survivors[cohort] for cohort in plan.rewritten} | again
        change = TreeChange(
            rewritten={cohort: Rewrite(_bitmap(slots | _INDEX_BIT)) for cohort, slots in keep.items()},
            dropped=plan.dropped,
        )
        with open_root(vault, tx, base) as old:
            _require_every_page(old, carried)
            load = page_loader(tx, tree)
            for cohort in (*plan.condemned, *again):
                carried.pop(cohort, None)
            _require_true_pages(old, load, carried)
            staged = stage(
                vault.vault_id,
                old,
                change,
                load,
                tree=tree,
                epoch=base.epoch + 1,
                version=version,
                master=new_master,
                custodian=custodian,
            )
            size = mirror.write(vault.bucket, vault.vault_id, staged, carried)
            vault.settle()
            verdicts = {c: Verdict(_bitmap(plan.condemned.get(c, 0)), _bitmap(slots)) for c, slots in keep.items()}
            report = _check(vault, tx, old, base.master, staged, verdicts, plan.dropped, custodian)
    with vault.catalogue.write() as tx:
        keys.save_staged(tx, staged.root, staged.pages)
    return Staging(plan, base.version, base.master, version, report, len(staged.pages), size, len(again))


def _lost_by_mirror(vault: Vault, tx: Transaction, tree: Tree, carried: Mapping[int, int]) -> dict[int, int]:
    """Of these cohorts those whose pack is not in the bucket (any more), with their live slots as a bitmap."""
    there = set(vault.bucket.names(f"{mirror.PREFIX}{tree}/"))
    lost = [cohort for cohort, version in carried.items() if mirror.pack_name(tree, version) not in there]
    live = keys.live_bitmaps(tx, tree, lost)
    return {cohort: int.from_bytes(live[cohort], "little") & ~_INDEX_BIT for cohort in lost}


def _require_every_page(old: OpenTree, there: Collection[int]) -> None:
    """A cohort that the catalogue has forgotten would be carried over in the root, and its page in no pack.

    Raises:
        KeyGraphError: there is one.
    """
    if lacking := set(slots_of(old.root_page.bitmap)) - set(there):
        message = (
            f"The catalogue lacks the pages of {number_of(len(lacking), 'cohort')} that the tree has. "
            "`shredvault rebuild` finds them in the bucket."
        )
        raise KeyGraphError(message)


def _require_true_pages(old: OpenTree, load: PageLoader, carried: Collection[int]) -> None:
    """What is carried over must open under the old root, in the version that the new pack will name for it.

    Whoever can write in the catalogue can name another; the pack with the true page would be taken for superseded.

    Raises:
        KeyGraphError: one does not.
    """
    for cohort in carried:
        try:
            old.page(load(cohort)).wipe()
        except SealBrokenError as broken:
            message = (
                f"The page of cohort {cohort} in the catalogue is not the one that the tree has. "
                "`shredvault rebuild` finds that in the bucket."
            )
            raise KeyGraphError(message) from broken


def _check(
    vault: Vault,
    tx: Transaction,
    old: OpenTree,
    old_master: str,
    staged: StagedTree,
    rewritten: Mapping[int, Verdict],
    dropped: Collection[int],
    custodian: Custodian,
) -> GraphReport:
    """Run the key-graph check on what the bucket gives back, not on what was meant to be there."""
    seen = read_staged(vault, staged)
    pages = {page.cohort: page for page in seen.pages}
    return check_graph(
        vault.vault_id,
        old,
        old_master,
        page_loader(tx, staged.root.tree),
        seen.root,
        pages.__getitem__,
        rewritten=rewritten,
        dropped=dropped,
        custodian=custodian,
    )


def read_staged(vault: Vault, staged: StagedTree) -> StagedTree:
    """What the bucket gives back of a staged tree that was mirrored: the same to the byte.

    Raises:
        KeyGraphError: it is damaged, or is not what was written.
        ObjectStoreError: the object store failed.
    """
    try:
        seen = mirror.read_back(vault.bucket, vault.vault_id, staged.root.tree, staged.root.version)
    except SealBrokenError as broken:
        message = "The mirror of the staged tree, as read back, is damaged."
        raise KeyGraphError(message) from broken
    if seen != staged:
        message = "The mirror of the staged tree, as read back, is not what was written."
        raise KeyGraphError(message)
    return seen
