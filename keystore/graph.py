"""The key-graph check: run on what was staged *and read back*, before any master dies.

It opens the new tree through the custodian, as a reader would, and refuses unless

1. the new root is wrapped by another master than the old one, under another root key;
2. the new root page has exactly the cohorts it should;
3. every cohort that was not rewritten is carried over with its key unchanged;
4. every rewritten cohort page has a new page key, and no new key is any old one, wherever it stood;
5. in every rewritten page no condemned slot is live, nor any but the survivors' and the index key's;
6. and every survivor's is, with the same record key as before, and the index key is the old one.

Left to the caller: that the condemned set is the authorised one, and that nothing else changed meanwhile.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from .custodians import Custodian
from .errors import KeyGraphError, SealBrokenError
from .page import INDEX_SLOT, slots_of
from .secret import Key
from .tree import OpenTree, PageLoader, SealedRoot

__all__ = ["GraphReport", "Verdict", "check_graph"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What must be true of one rewritten cohort: bitmaps of 128 bytes."""

    condemned: bytes
    survivors: bytes


@dataclass(frozen=True, slots=True)
class GraphReport:
    """What the check looked at."""

    cohorts_carried: int
    pages_opened: int
    survivors_opened: int
    """Record keys found unchanged in the rewritten pages."""


def check_graph(
    vault_id: bytes,
    old: OpenTree,
    old_master: str,
    load_old: PageLoader,
    new_root: SealedRoot,
    load_new: PageLoader,
    *,
    rewritten: Mapping[int, Verdict],
    dropped: Collection[int],
    custodian: Custodian,
) -> GraphReport:
    """Check a staged tree against the one it is to replace.

    Raises:
        KeyGraphError: one of the six conditions does not hold; the message says which, for which cohort.
    """
    if new_root.master == old_master:
        message = "The new root is wrapped by the master that is to be destroyed."
        raise KeyGraphError(message)
    try:
        new = OpenTree.open(vault_id, new_root, custodian)
    except SealBrokenError as broken:
        message = "The staged root, as read back, does not open."
        raise KeyGraphError(message) from broken
    opened = survivors = 0
    with new:
        if new.root_key.same_as(old.root_key):
            message = "The root key is not new."
            raise KeyGraphError(message)
        before = set(slots_of(old.root_page.bitmap))
        after = set(slots_of(new.root_page.bitmap))
        if after != (before - set(dropped)) | set(rewritten):
            message = "The staged root page does not have exactly the cohorts it should."
            raise KeyGraphError(message)
        carried = after - set(rewritten)
        for cohort in carried:
            with old.root_page.key(cohort) as was, new.root_page.key(cohort) as is_now:
                if not was.same_as(is_now):
                    message = f"Cohort {cohort} is not carried over unchanged."
                    raise KeyGraphError(message)
        for cohort, verdict in rewritten.items():
            opened += 1
            survivors += _check_page(old, load_old, new, load_new, cohort, verdict)
        _require_new_keys(old, new, rewritten)
    return GraphReport(len(carried), opened, survivors)


def _require_new_keys(old: OpenTree, new: OpenTree, rewritten: Collection[int]) -> None:
    """Compare all with all through tags under a key of this moment, so that no key becomes an immutable value."""
    with Key.generate() as moment, ExitStack() as owned:

        def tag(key: Key) -> bytes:
            return hmac.digest(moment.reveal(), key.reveal(), "sha256")

        def page_key(tree: OpenTree, cohort: int) -> Key:
            return owned.enter_context(tree.root_page.key(cohort))

        known = {tag(old.root_key), *(tag(page_key(old, cohort)) for cohort in slots_of(old.root_page.bitmap))}
        fresh = [tag(new.root_key), *(tag(page_key(new, cohort)) for cohort in rewritten)]
    if not known.isdisjoint(fresh) or len(set(fresh)) != len(fresh):
        message = "A key of the staged tree is not new."
        raise KeyGraphError(message)


def _check_page(
    old: OpenTree, load_old: PageLoader, new: OpenTree, load_new: PageLoader, cohort: int, verdict: Verdict
) -> int:
    with old.root_page.key(cohort) as was, new.root_page.key(cohort) as is_now:
        if was.same_as(is_now):
            message = f"The page key of cohort {cohort} is not new."
            raise KeyGraphError(message)
    try:
        new_page = new.page(load_new(cohort))
    except SealBrokenError as broken:
        message = f"The staged page of cohort {cohort}, as read back, does not open."
        raise KeyGraphError(message) from broken
    with new_page, old.page(load_old(cohort)) as old_page:
        live = int.from_bytes(new_page.bitmap, "little")
        if live & int.from_bytes(verdict.condemned, "little"):
            message = f"A condemned record of cohort {cohort} still has its key."
            raise KeyGraphError(message)
        index = int.from_bytes(old_page.bitmap, "little") & 1 << INDEX_SLOT
        expected = int.from_bytes(verdict.survivors, "little") | index
        if live & ~expected:
            message = f"A slot of cohort {cohort} has a key that nobody should have."
            raise KeyGraphError(message)
        if not old_page.carries(new_page, expected.to_bytes(len(new_page.bitmap), "little")):
            message = f"A survivor of cohort {cohort} would lose its key."
            raise KeyGraphError(message)
    return int.from_bytes(verdict.survivors, "little").bit_count()
