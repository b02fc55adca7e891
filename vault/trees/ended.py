"""The active tree after its custodian has ended its master at the deadline (S7), and how a new one is made.

Whatever only the active tree had is gone: at that deadline everything was to go that no hold protects. What is held has
its key in the held tree. The sunset's destruction puts those keys into a new active tree, under a new master, and
records the rest as destroyed, with the same steps and the same evidence as any other. Until then nothing is filed,
released, moved or swept.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime

from keystore import (
    COHORT_BITMAP_BYTES,
    NO_SLOT,
    GraphReport,
    Key,
    KeyGraphError,
    MasterState,
    OpenTree,
    Rewrite,
    SealedPage,
    StagedTree,
    Tree,
    TreeChange,
    slots_of,
    stage,
)
from vault.catalogue import Transaction, keys
from vault.context import Vault

from . import mirror
from .keyring import custodian_of, open_tree
from .staging import Plan, Staging, read_staged

__all__ = ["ended_at", "has_ended", "stage_from_held", "whole_list"]


def ended_at(vault: Vault, tx: Transaction, tree: Tree) -> datetime | None:
    """When the custodian has ended the tree's present master by itself, as it was told; None: it has not.

    Raises:
        CustodianError: the custodian does not answer.
    """
    root = keys.current_root(tx, tree)
    end = keys.planned_end(tx, root.master)
    if end is None or vault.clock.now() < end:
        return None
    return end if custodian_of(vault, tx, root).describe(root.master) is MasterState.ABSENT else None


def has_ended(vault: Vault) -> bool:
    """Whether the active tree's master was ended by its custodian at the deadline.

    Raises:
        CustodianError: the custodian does not answer.
    """
    with vault.catalogue.read() as tx:
        return ended_at(vault, tx, Tree.ACTIVE) is not None


def whole_list(tx: Transaction, listed: Mapping[int, int]) -> dict[int, int]:
    """A frozen list with every other cohort of the active tree too, with nobody of it: none can be carried as it is."""
    return dict.fromkeys(keys.current_pages(tx, Tree.ACTIVE), 0) | dict(listed)


def stage_from_held(vault: Vault, plan: Plan, new_master: str) -> Staging:
    """Write the next version of the active tree beside the ended one, of keys from the held tree; read it back, check.

    A survivor that has no key there has none any more: the report counts those who have.

    Raises:
        KeyGraphError: the check refused it.
        ObjectStoreError, CustodianError, CatalogueError: a service failed.
    """
    with vault.catalogue.write() as tx:
        version = keys.take_version(tx, Tree.ACTIVE)
    with vault.catalogue.read() as tx, ExitStack() as owned:
        base = keys.current_root(tx, Tree.ACTIVE)
        custodian = vault.custody.at(keys.custodian_address(tx, new_master))
        put = _held_keys(vault, tx, plan, owned)
        staged = stage(
            vault.vault_id,
            None,
            TreeChange(rewritten={cohort: Rewrite(NO_SLOT, put[cohort]) for cohort in plan.rewritten}),
            _no_page,
            tree=Tree.ACTIVE,
            epoch=base.epoch + 1,
            version=version,
            master=new_master,
            custodian=custodian,
        )
        size = mirror.write(vault.bucket, vault.vault_id, staged, {})
        vault.settle()
        seen = read_staged(vault, staged)
        with OpenTree.open(vault.vault_id, seen.root, custodian) as opened:
            _check(opened, seen, put)
    report = GraphReport(0, len(put), sum(len(slots) for slots in put.values()))
    with vault.catalogue.write() as tx:
        keys.save_staged(tx, staged.root, staged.pages)
    return Staging(plan, base.version, base.master, version, report, len(staged.pages), size)


def _held_keys(vault: Vault, tx: Transaction, plan: Plan, owned: ExitStack) -> dict[int, dict[int, Key]]:
    """The survivors' keys as the held tree has them, for each cohort that has survivors."""
    there = keys.live_bitmaps(tx, Tree.HELD, plan.rewritten)
    put: dict[int, dict[int, Key]] = {cohort: {} for cohort in plan.rewritten}
    with open_tree(vault, tx, Tree.HELD) as held:
        for cohort, slots in put.items():
            bits = plan.survivors[cohort] & int.from_bytes(there.get(cohort, b""), "little")
            if bits:
                with held.page(keys.load_page(tx, Tree.HELD, cohort)) as page:
                    for slot in slots_of(bits.to_bytes(COHORT_BITMAP_BYTES, "little")):
                        slots[slot] = owned.enter_context(page.key(slot))
    return put


def _no_page(cohort: int) -> SealedPage:
    raise KeyError(cohort)


def _check(opened: OpenTree, seen: StagedTree, put: Mapping[int, Mapping[int, Key]]) -> None:
    """Every survivor has its key in what was read back, and nobody else has one."""
    if set(slots_of(opened.root_page.bitmap)) != set(put):
        message = "The staged root page does not have exactly the cohorts it should."
        raise KeyGraphError(message)
    for sealed in seen.pages:
        with opened.page(sealed) as page:
            if set(slots_of(page.bitmap)) != set(put[sealed.cohort]):
                message = f"The staged page of cohort {sealed.cohort} has not exactly the keys of those who survive."
                raise KeyGraphError(message)
            for slot, key in put[sealed.cohort].items():
                with page.key(slot) as there:
                    if not there.same_as(key):
                        message = f"A survivor of cohort {sealed.cohort} would lose its key."
                        raise KeyGraphError(message)
