"""Queries about key trees, pages and masters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from keystore import SealedPage, SealedRoot, StagedTree, Tree

from .engine import Transaction
from .schema import destructions, masters, roots, sealed_pages, tree_pages, trees

__all__ = [
    "current_pages",
    "current_root",
    "custodian_address",
    "destroyed_masters",
    "forget_staged",
    "forget_superseded",
    "give_up_orphans",
    "live_bitmaps",
    "load_page",
    "load_root",
    "master_destroyed",
    "next_versions",
    "orphan_masters",
    "page_bytes",
    "plan_master",
    "planned_end",
    "save_staged",
    "switch",
    "switch_if_current",
    "take_version",
]

_BATCH = 500


_CURRENT_ROOT = (
    sa.select(roots)
    .join(trees, (trees.c.tree == roots.c.tree) & (trees.c.version == roots.c.version))
    .where(trees.c.tree == sa.bindparam("tree"))
)
_CURRENT_PAGE = (
    sa.select(sealed_pages)
    .join(
        tree_pages,
        (tree_pages.c.tree == sealed_pages.c.tree)
        & (tree_pages.c.cohort_id == sealed_pages.c.cohort_id)
        & (tree_pages.c.version == sealed_pages.c.version),
    )
    .where(tree_pages.c.tree == sa.bindparam("tree"), tree_pages.c.cohort_id == sa.bindparam("cohort"))
)


_DROP = sa.delete(tree_pages).where(
    tree_pages.c.tree == sa.bindparam("tree"), tree_pages.c.cohort_id == sa.bindparam("cohort")
)


def current_root(tx: Transaction, tree: Tree) -> SealedRoot:
    """The root readers use now."""
    return _root(tree, tx.execute(_CURRENT_ROOT, {"tree": tree}).one())


def custodian_address(tx: Transaction, master: str) -> str:
    """Where a master stands, or is planned to; the master must be known."""
    return str(tx.execute(sa.select(masters.c.custodian).where(masters.c.name == master)).scalar_one())


def load_root(tx: Transaction, tree: Tree, version: int) -> SealedRoot:
    """One version of a tree's root, staged ones included."""
    return _root(tree, tx.execute(sa.select(roots).where(roots.c.tree == tree, roots.c.version == version)).one())


def _root(tree: Tree, row: sa.Row[Any]) -> SealedRoot:
    return SealedRoot(tree, row.epoch, row.version, row.master, row.wrapped_key, row.sealed_page)


def load_page(tx: Transaction, tree: Tree, cohort: int) -> SealedPage:
    """A cohort's current page.

    Raises:
        KeyError: there is none.
    """
    row = tx.execute(_CURRENT_PAGE, {"tree": tree, "cohort": cohort}).one_or_none()
    if row is None:
        raise KeyError(cohort)
    return SealedPage(tree, row.cohort_id, row.version, row.live, row.sealed)


def current_pages(tx: Transaction, tree: Tree) -> dict[int, int]:
    """Cohort number to current page version."""
    rows = tx.execute(sa.select(tree_pages.c.cohort_id, tree_pages.c.version).where(tree_pages.c.tree == tree))
    return {row.cohort_id: row.version for row in rows}


def live_bitmaps(tx: Transaction, tree: Tree, cohorts: Collection[int]) -> dict[int, bytes]:
    """Liveness bitmaps (128 bytes) of the current pages of some cohorts; absent where a cohort has no page."""
    found: dict[int, bytes] = {}
    for batch in _batches(cohorts):
        rows = tx.execute(
            sa.select(sealed_pages.c.cohort_id, sealed_pages.c.live)
            .join(
                tree_pages,
                (tree_pages.c.tree == sealed_pages.c.tree)
                & (tree_pages.c.cohort_id == sealed_pages.c.cohort_id)
                & (tree_pages.c.version == sealed_pages.c.version),
            )
            .where(sealed_pages.c.tree == tree, sealed_pages.c.cohort_id.in_(batch))
        )
        found.update((row.cohort_id, row.live) for row in rows)
    return found


def take_version(tx: Transaction, tree: Tree) -> int:
    """Give out a version number, once ever."""
    version = tx.execute(
        sa.update(trees)
        .where(trees.c.tree == tree)
        .values(next_version=trees.c.next_version + 1)
        .returning(trees.c.next_version - 1)
    ).scalar_one()
    return int(version)


def next_versions(tx: Transaction) -> dict[Tree, int]:
    """The version each tree will give out next; no lower one will ever be."""
    return {Tree(row.tree): row.next_version for row in tx.execute(sa.select(trees.c.tree, trees.c.next_version))}


def save_staged(tx: Transaction, root: SealedRoot, pages: Iterable[SealedPage]) -> None:
    """Keep a staged version; nothing uses it before `switch`."""
    tx.execute(
        sa.insert(roots),
        {
            "tree": root.tree,
            "version": root.version,
            "epoch": root.epoch,
            "master": root.master,
            "wrapped_key": root.wrapped_key,
            "sealed_page": root.sealed_page,
        },
    )
    rows = [
        {
            "tree": page.tree,
            "cohort_id": page.cohort,
            "version": page.version,
            "live": page.live,
            "sealed": page.sealed,
        }
        for page in pages
    ]
    if rows:
        tx.execute(sa.insert(sealed_pages), rows)


def switch(tx: Transaction, tree: Tree, *, base: int, to: int, dropped: Collection[int]) -> bool:
    """Make a staged version current if `base` still is; False when somebody else was faster.

    Versions only go up, or a fence could not tell who has seen which: a version whose number was taken before
    that of `base` comes too late.
    """
    if to <= base:
        return False
    done = tx.execute(sa.update(trees).where(trees.c.tree == tree, trees.c.version == base).values(version=to))
    if done.rowcount != 1:
        return False
    staged = sa.select(sealed_pages.c.cohort_id).where(sealed_pages.c.tree == tree, sealed_pages.c.version == to)
    tx.execute(sa.delete(tree_pages).where(tree_pages.c.tree == tree, tree_pages.c.cohort_id.in_(staged)))
    tx.execute(
        sa.insert(tree_pages).from_select(
            ["tree", "cohort_id", "version"],
            sa.select(sealed_pages.c.tree, sealed_pages.c.cohort_id, sealed_pages.c.version).where(
                sealed_pages.c.tree == tree, sealed_pages.c.version == to
            ),
        )
    )
    if dropped:
        # One short statement many times: inside the condemning transaction it is faster than long lists.
        tx.execute(_DROP, [{"tree": tree, "cohort": cohort} for cohort in dropped])
    return True


def switch_if_current(tx: Transaction, staged: StagedTree, *, base: int) -> bool:
    """Save a staged version and make it current at once; False, and nothing saved, when `base` is not current."""
    tree = staged.root.tree
    current = tx.execute(sa.select(trees.c.version).where(trees.c.tree == tree)).scalar_one()
    if current != base or staged.root.version <= base:
        return False
    save_staged(tx, staged.root, staged.pages)
    return switch(tx, tree, base=base, to=staged.root.version, dropped=())


def forget_superseded(tx: Transaction, tree: Tree) -> None:
    """Remove roots and pages that no reader uses any more. No destruction: their master is dead already."""
    current = tx.execute(sa.select(trees.c.version).where(trees.c.tree == tree)).scalar_one()
    dead = sa.select(masters.c.name).where(masters.c.destroyed_at.is_not(None))
    tx.execute(sa.delete(roots).where(roots.c.tree == tree, roots.c.version < current, roots.c.master.in_(dead)))
    oldest = tx.execute(sa.select(sa.func.min(roots.c.version)).where(roots.c.tree == tree)).scalar_one()
    used = sa.exists(
        sa.select(sa.literal(1)).where(
            tree_pages.c.tree == sealed_pages.c.tree,
            tree_pages.c.cohort_id == sealed_pages.c.cohort_id,
            tree_pages.c.version == sealed_pages.c.version,
        )
    )
    tx.execute(sa.delete(sealed_pages).where(sealed_pages.c.tree == tree, sealed_pages.c.version < oldest, ~used))


def forget_staged(tx: Transaction, master: str) -> list[tuple[Tree, int]]:
    """Remove every root and page staged under a master that never became current; return (tree, version)."""
    gone = [
        (Tree(row.tree), row.version)
        for row in tx.execute(sa.delete(roots).where(roots.c.master == master).returning(roots.c.tree, roots.c.version))
    ]
    for tree, version in gone:
        tx.execute(sa.delete(sealed_pages).where(sealed_pages.c.tree == tree, sealed_pages.c.version == version))
    return gone


def plan_master(
    tx: Transaction,
    name: str,
    tree: Tree,
    epoch: int,
    custodian: str,
    ends_at: datetime | None = None,
) -> None:
    """Write down a master's name before it is made, so that it can always be found and destroyed.

    `ends_at` is the end that its custodian is told (S7).
    """
    values = {"tree": tree, "epoch": epoch, "custodian": custodian, "ends_at": ends_at}
    tx.execute(sa.insert(masters).values(name=name, **values))


def planned_end(tx: Transaction, master: str) -> datetime | None:
    """At which deadline its custodian was told to end a master by itself (S7); None: it was told none."""
    end: datetime | None = tx.execute(sa.select(masters.c.ends_at).where(masters.c.name == master)).scalar_one()
    return end


def master_destroyed(tx: Transaction, name: str, now: datetime) -> None:
    """Note that a master is gone; only the first time counts."""
    tx.execute(
        sa.update(masters).where(masters.c.name == name, masters.c.destroyed_at.is_(None)).values(destroyed_at=now)
    )


def destroyed_masters(tx: Transaction) -> dict[str, set[str]]:
    """The names of masters that were destroyed, by their custodians' addresses."""
    rows = tx.execute(sa.select(masters.c.name, masters.c.custodian).where(masters.c.destroyed_at.is_not(None)))
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.custodian, set()).add(row.name)
    return found


def count_masters_at(tx: Transaction, custodian: str) -> int:
    """How many masters were planned at a custodian's address and are not known to be destroyed."""
    there = sa.select(sa.func.count()).where(masters.c.custodian == custodian, masters.c.destroyed_at.is_(None))
    return int(tx.execute(there).scalar_one())


def orphan_masters(tx: Transaction) -> list[tuple[str, str]]:
    """Masters that were planned, not destroyed, and stand over no current root: (name, custodian's address).

    The old master of a destruction that is not complete is none of them: it dies with that destruction.
    """
    current = sa.select(roots.c.master).join(
        trees, (trees.c.tree == roots.c.tree) & (trees.c.version == roots.c.version)
    )
    dying = sa.select(destructions.c.old_master).where(
        destructions.c.old_master.is_not(None), destructions.c.completed_at.is_(None)
    )
    rows = tx.execute(
        sa.select(masters.c.name, masters.c.custodian).where(
            masters.c.destroyed_at.is_(None), masters.c.name.not_in(current), masters.c.name.not_in(dying)
        )
    )
    return [(row.name, row.custodian) for row in rows]


def give_up_orphans(tx: Transaction, now: datetime) -> list[tuple[str, str]]:
    """Say that nothing more may be built on the orphan masters; return their names and custodians' addresses.

    From then on no tree can go to a root under one of them, whoever staged it and believes to be alone.
    """
    orphans = orphan_masters(tx)
    for name, _ in orphans:
        tx.execute(
            sa.update(masters).where(masters.c.name == name, masters.c.given_up_at.is_(None)).values(given_up_at=now)
        )
    return orphans


def page_bytes(tx: Transaction, tree: Tree) -> int:
    """Bytes of the current root and pages of a tree, bitmaps included."""
    root = current_root(tx, tree)
    pages = tx.execute(
        sa.select(
            sa.func.coalesce(
                sa.func.sum(sa.func.length(sealed_pages.c.sealed) + sa.func.length(sealed_pages.c.live)), 0
            )
        )
        .join(
            tree_pages,
            (tree_pages.c.tree == sealed_pages.c.tree)
            & (tree_pages.c.cohort_id == sealed_pages.c.cohort_id)
            & (tree_pages.c.version == sealed_pages.c.version),
        )
        .where(sealed_pages.c.tree == tree)
    ).scalar_one()
    return int(pages) + len(root.sealed_page) + len(root.wrapped_key)


def _batches(numbers: Collection[int]) -> Iterator[list[int]]:
    ordered = sorted(numbers)
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]
