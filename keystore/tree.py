"""Key trees: reading a path from the master to a record key, and staging the next version of a tree.

```
custodian ── master
   └ wraps ── root key
        └ seals ── root page: one key per cohort
             └ each seals ── cohort page: one key per record
```

Nothing here destroys anything. `stage` draws a new root key for every version and a new page key for every
page it rewrites, so a page key seals one version of one page, ever. Where the bytes are kept is the
caller's business: it hands in sealed blobs and gets sealed blobs back (docs/spec/key-tree.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, Self

from .custodians import Custodian
from .errors import SealBrokenError, TreeFullError, WrongOrderError
from .page import (
    COHORT_BITMAP_BYTES,
    COHORT_SLOTS,
    MAX_COHORTS,
    ROOT_PAGE,
    KeyPage,
    PageName,
    Tree,
    slots_of,
    slots_to_bitmap,
)
from .sealing import context
from .secret import Key

__all__ = [
    "EVERY_SLOT",
    "NO_SLOT",
    "OpenTree",
    "PageLoader",
    "Rewrite",
    "SealedPage",
    "SealedRoot",
    "StagedTree",
    "TreeChange",
    "found",
    "root_context",
    "stage",
]

EVERY_SLOT: Final = b"\xff" * COHORT_BITMAP_BYTES
NO_SLOT: Final = bytes(COHORT_BITMAP_BYTES)
_ROOT_STEP: Final = 1024


@dataclass(frozen=True, slots=True)
class SealedPage:
    """A cohort page as it is stored. `live` repeats the sealed bitmap in the clear (128 bytes)."""

    tree: Tree
    cohort: int
    version: int
    live: bytes
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedRoot:
    """A root as it is stored: the wrapped root key and the root page it seals."""

    tree: Tree
    epoch: int
    version: int
    master: str
    wrapped_key: bytes = field(repr=False)
    sealed_page: bytes = field(repr=False)


PageLoader = Callable[[int], SealedPage]
"""Gives the current sealed page of a cohort number."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A cohort page's next version: the slots to keep (bitmap of 128 bytes) and keys to put in."""

    keep: bytes
    put: Mapping[int, Key] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TreeChange:
    """What the next version of a tree does; cohorts not named are carried over as they are."""

    opened: Collection[int] = ()
    rewritten: Mapping[int, Rewrite] = field(default_factory=dict)
    dropped: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class StagedTree:
    """The next version of a tree, sealed; nothing refers to it yet."""

    root: SealedRoot
    pages: tuple[SealedPage, ...]


def root_context(vault_id: bytes, tree: Tree, epoch: int, version: int) -> bytes:
    """What the wrap of a root key is bound to: vault, tree, epoch, version."""
    return context(
        "shredvault/root-key/v1",
        vault_id,
        tree.encode("ascii"),
        epoch.to_bytes(8, "big"),
        version.to_bytes(8, "big"),
    )


class OpenTree:
    """One version of a tree with its root page open. Wipe it when done (or use it as a context manager)."""

    def __init__(self, vault_id: bytes, tree: Tree, root_key: Key, root_page: KeyPage) -> None:
        """Take ownership of the key and the page."""
        self._vault_id = vault_id
        self._tree = tree
        self.root_key = root_key
        self.root_page = root_page

    @classmethod
    def open(cls, vault_id: bytes, root: SealedRoot, custodian: Custodian) -> Self:
        """Unwrap the root key at the custodian and open the root page.

        Raises:
            MasterGoneError: the master has been destroyed.
            SealBrokenError: the stored root does not belong to this vault, tree, epoch or version.
        """
        bound_to = root_context(vault_id, root.tree, root.epoch, root.version)
        root_key = custodian.unwrap(root.master, root.wrapped_key, bound_to)
        try:
            page = KeyPage.open(PageName(vault_id, root.tree, ROOT_PAGE, root.version), root_key, root.sealed_page)
        except SealBrokenError:
            root_key.wipe()
            raise
        return cls(vault_id, root.tree, root_key, page)

    def has(self, cohort: int) -> bool:
        """Whether the cohort is in this tree."""
        return self.root_page.is_live(cohort)

    def page(self, sealed: SealedPage) -> KeyPage:
        """Open a cohort page; the caller wipes it.

        Raises:
            SealBrokenError: the blob is not the version this root knows.
            KeyError: the cohort is not in this tree.
        """
        name = PageName(self._vault_id, self._tree, sealed.cohort, sealed.version)
        with self.root_page.key(sealed.cohort) as page_key:
            page = KeyPage.open(name, page_key, sealed.sealed)
        if page.bitmap != sealed.live:
            page.wipe()
            raise SealBrokenError
        return page

    def record_key(self, sealed: SealedPage, slot: int) -> Key:
        """Copy out one record key; the caller wipes it.

        Raises:
            KeyError: the slot is empty, or the cohort not in this tree.
        """
        with self.page(sealed) as page:
            return page.key(slot)

    def wipe(self) -> None:
        """End this tree's keys in memory."""
        self.root_key.wipe()
        self.root_page.wipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()


def stage(
    vault_id: bytes,
    base: OpenTree | None,
    change: TreeChange,
    load: PageLoader,
    *,
    tree: Tree,
    epoch: int,
    version: int,
    master: str,
    custodian: Custodian,
) -> StagedTree:
    """Seal the next version of a tree under fresh keys.

    Args:
        vault_id: 16 bytes.
        base: the version it grows out of; None for the first.
        change: what differs. A rewritten cohort that `base` does not have starts empty.
        load: gives the sealed pages of `base` that are rewritten.
        tree: which tree.
        epoch: counts masters of this tree.
        version: greater than any version ever staged in this tree, taken or not.
        master: name of the (existing) master that wraps the new root key.
        custodian: holds the master.

    Raises:
        TreeFullError: a cohort number is past the root page's limit.
        SealBrokenError: a page of `base` does not open.
    """
    touched = {*change.opened, *change.rewritten}
    if touched & set(change.dropped) or set(change.opened) & set(change.rewritten):
        message = "a cohort is opened, rewritten or dropped, one of the three"
        raise WrongOrderError(message)
    pages: list[SealedPage] = []
    with ExitStack() as owned:
        page_keys: dict[int, Key] = {}
        for cohort in sorted(touched):
            page_key = page_keys[cohort] = owned.enter_context(Key.generate())
            with _next_page(base, change, cohort, load) as page:
                sealed = page.seal(PageName(vault_id, tree, cohort, version), page_key)
                pages.append(SealedPage(tree, cohort, version, page.bitmap, bytes(sealed)))
        old_root = base.root_page if base else owned.enter_context(KeyPage.empty(1, _ROOT_STEP))
        carried = set(slots_of(old_root.bitmap)) - set(change.dropped) - touched
        top = max((*carried, *touched), default=0)
        if top > MAX_COHORTS:
            message = f"A tree numbers at most {MAX_COHORTS} cohorts."
            raise TreeFullError(message)
        capacity = (top // _ROOT_STEP + 1) * _ROOT_STEP
        root_key = owned.enter_context(Key.generate())
        keep = slots_to_bitmap(carried, capacity)
        new_root = owned.enter_context(old_root.rewritten(keep, page_keys, capacity))
        sealed_root = new_root.seal(PageName(vault_id, tree, ROOT_PAGE, version), root_key)
        wrapped = custodian.wrap(master, root_key, root_context(vault_id, tree, epoch, version))
    root = SealedRoot(tree, epoch, version, master, wrapped, bytes(sealed_root))
    return StagedTree(root, tuple(pages))


def _next_page(base: OpenTree | None, change: TreeChange, cohort: int, load: PageLoader) -> KeyPage:
    if cohort in change.opened:
        if base and base.has(cohort):
            message = "a cohort is opened once"
            raise WrongOrderError(message)
        return KeyPage.fresh_cohort()
    rewrite = change.rewritten[cohort]
    if base and base.has(cohort):
        with base.page(load(cohort)) as old:
            return old.rewritten(rewrite.keep, rewrite.put)
    with KeyPage.empty(0, COHORT_SLOTS) as nothing:
        return nothing.rewritten(rewrite.keep, rewrite.put)


def found(vault_id: bytes, tree: Tree, *, version: int, master: str, custodian: Custodian) -> StagedTree:
    """Stage the first, empty version of a tree in epoch 1."""
    return stage(
        vault_id,
        None,
        TreeChange(),
        _no_pages,
        tree=tree,
        epoch=1,
        version=version,
        master=master,
        custodian=custodian,
    )


def _no_pages(cohort: int) -> SealedPage:
    raise KeyError(cohort)
