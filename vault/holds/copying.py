"""Copies the keys of held records into the held tree, where a scrub of everything else does not reach them.

Protection never depends on the copy: a hold protects from its commit on. A copy that was cut off, or records that were
filed under a hold's rule since, are made good by the next sweep, start or `recover`.
"""

from __future__ import annotations

from keystore import EVERY_SLOT, OpenTree, Rewrite, Tree, TreeChange
from vault.catalogue import Transaction, keys
from vault.catalogue.holding import held_slots
from vault.context import Vault, note
from vault.trees.ended import ended_at
from vault.trees.keyring import grow, open_tree

__all__ = ["copy_held_keys"]


def copy_held_keys(vault: Vault) -> int:
    """Copy the keys of held records into the held tree, where they are not there yet; return how many."""
    with vault.catalogue.read() as tx:
        if not _missing_copies(vault, tx) or ended_at(vault, tx, Tree.ACTIVE) is not None:
            # What ended at the deadline has nothing to copy any more (S7).
            return 0
    copied = 0

    def plan(tx: Transaction, _: OpenTree) -> TreeChange:
        nonlocal copied
        missing = _missing_copies(vault, tx)
        copied = sum(len(slots) for slots in missing.values())
        rewrites: dict[int, Rewrite] = {}
        with open_tree(vault, tx, Tree.ACTIVE) as active:
            for cohort, slots in missing.items():
                with active.page(keys.load_page(tx, Tree.ACTIVE, cohort)) as page:
                    rewrites[cohort] = Rewrite(EVERY_SLOT, {slot: page.key(slot) for slot in slots})
        return TreeChange(rewritten=rewrites)

    def commit(tx: Transaction) -> None:
        # How many they are would tell of sealed holds (H11).
        note(tx, vault.clock.now(), "held keys copied", "held")

    grow(vault, Tree.HELD, plan, commit)
    return copied


def _missing_copies(vault: Vault, tx: Transaction) -> dict[int, list[int]]:
    """Slots of held records whose key is in the active tree and not in the held one.

    Parts whose time has come are left out: no copy is made that their end, which may be under way, would leave behind.
    """
    wanted: dict[int, int] = {}
    for cohort, slot in held_slots(tx, at=vault.clock.now()):
        wanted[cohort] = wanted.get(cohort, 0) | 1 << slot
    there = keys.live_bitmaps(tx, Tree.HELD, wanted.keys())
    source = keys.live_bitmaps(tx, Tree.ACTIVE, wanted.keys())
    missing: dict[int, list[int]] = {}
    for cohort, bits in wanted.items():
        absent = bits & ~int.from_bytes(there.get(cohort, b""), "little")
        absent &= int.from_bytes(source.get(cohort, b""), "little")
        if absent:
            missing[cohort] = [slot for slot in range(absent.bit_length()) if absent >> slot & 1]
    return missing
