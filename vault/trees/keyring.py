"""Uses the key trees: fetches record keys, and makes the changes that destroy nothing (see `grow`).

No key is kept between calls, so there is nothing to forget when a tree changes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from keystore import (
    Custodian,
    Key,
    MasterExistsError,
    MasterGoneError,
    OpenTree,
    SealBrokenError,
    SealedPage,
    SealedRoot,
    StagedTree,
    Tree,
    TreeChange,
    found,
    stage,
)
from vault.catalogue import Transaction, keys
from vault.catalogue.filed import record_state
from vault.context import Vault
from vault.errors import BusyError, DamagedError, DestroyedError, HomeError
from vault.keys.key_uses import KeyUse, UseCutError
from vault.objects import Bucket, ObjectExists

from . import mirror

__all__ = [
    "custodian_of",
    "fetch_key",
    "found_tree",
    "grow",
    "open_root",
    "open_tree",
    "page_loader",
    "record_key",
]

TRIES: Final = 8
"""How often a change is staged again because somebody else changed the tree first."""


def custodian_of(vault: Vault, tx: Transaction, root: SealedRoot) -> Custodian:
    """The custodian at which a root's master stands."""
    return vault.custody.at(keys.custodian_address(tx, root.master))


def open_root(vault: Vault, tx: Transaction, root: SealedRoot) -> OpenTree:
    """Open a version of a tree; the caller wipes it."""
    return OpenTree.open(vault.vault_id, root, custodian_of(vault, tx, root))


def open_tree(vault: Vault, tx: Transaction, tree: Tree) -> OpenTree:
    """Open the current version of a tree; the caller wipes it."""
    return open_root(vault, tx, keys.current_root(tx, tree))


def page_loader(tx: Transaction, tree: Tree) -> Callable[[int], SealedPage]:
    """Load current pages of one tree by cohort number."""
    return lambda cohort: keys.load_page(tx, tree, cohort)


def record_key(vault: Vault, cohort: int, slot: int) -> Key:
    """Fetch a record key through the active tree, or through the held one where that is all there is.

    Raises:
        KeyError: neither tree has it.
        CustodianError: the custodian does not answer, or no longer has a master it should have.
    """
    for tried in range(1, TRIES + 1):
        try:
            return _through(vault, Tree.ACTIVE, cohort, slot)
        except (KeyError, MasterGoneError) as absent:
            try:
                return _through(vault, Tree.HELD, cohort, slot)
            except (KeyError, MasterGoneError):
                # A master may die between the reading of a root and its use: then there is a newer root.
                if not isinstance(absent, MasterGoneError):
                    raise
                if tried == TRIES:
                    raise absent from None
    raise AssertionError  # the last try returns or raises


def fetch_key(vault: Vault, use: KeyUse, row: sa.Row[Any]) -> None:
    """Give a use the key of a record (a row with `id`, `cohort_id`, `slot`).

    Raises:
        DestroyedError: the record was condemned meanwhile.
        DamagedError: the key is missing though the record lives.
        BusyError: the use was cut, and the record lives; try again.
    """
    try:
        use.take(record_key(vault, row.cohort_id, row.slot))
    except (KeyError, UseCutError) as absent:
        # Between the look at the state and the key's use the record may have been condemned.
        with vault.catalogue.read() as tx:
            state = record_state(tx, row.id)
        if state is not None and state.destruction_id is not None:
            raise DestroyedError(state.destruction_id) from absent
        if isinstance(absent, UseCutError):
            message = "This was interrupted; try again."
            raise BusyError(message) from absent
        message = "The key of this record is missing. This is an incident: call the operator."
        raise DamagedError(message) from absent


def _through(vault: Vault, tree: Tree, cohort: int, slot: int) -> Key:
    with vault.uses.walk():
        with vault.catalogue.read() as tx:
            root, page = keys.current_root(tx, tree), keys.load_page(tx, tree, cohort)
            custodian = custodian_of(vault, tx, root)
        with OpenTree.open(vault.vault_id, root, custodian) as opened:
            # A process may be stopped at any time, and most likely while it waits for the custodian.
            vault.uses.require_lease()
            return opened.record_key(page, slot)


def grow(
    vault: Vault,
    tree: Tree,
    plan: Callable[[Transaction, OpenTree], TreeChange],
    commit: Callable[[Transaction], None],
) -> None:
    """Change a tree under its present master, without destroying anything.

    `plan` says what to change, given a snapshot; the keys it puts in are wiped afterwards. `commit` adds what
    belongs to the same transaction. Both are called again when somebody else changed the tree meanwhile. The
    mirror is written first.

    When there is nothing to change (any more), no version is made: of many that want the same change at once, each
    would otherwise overtake the others for nothing, until some of them had tried too often.

    Raises:
        BusyError: the tree kept changing.
        CustodianError: the custodian does not answer, or does not have the master that it should have.
    """
    for tried in range(1, TRIES + 1):
        try:
            grown = _stage(vault, tree, plan)
        except MasterGoneError:
            # A master may die between the reading of a root and its use: then there is a newer root.
            if tried == TRIES:
                raise
            continue
        if grown is None:
            return
        base_version, staged, carried = grown
        if staged.root.version < base_version:
            # Somebody took a number after this one and was faster. Versions only go up.
            continue
        mirror.write(vault.bucket, vault.vault_id, staged, carried)
        vault.settle()
        with vault.catalogue.write() as tx:
            if keys.switch_if_current(tx, staged, base=base_version):
                commit(tx)
                return
    message = "The key tree is being changed by others; try again."
    raise BusyError(message)


def _stage(
    vault: Vault, tree: Tree, plan: Callable[[Transaction, OpenTree], TreeChange]
) -> tuple[int, StagedTree, dict[int, int]] | None:
    """Stage a change on the current version: (that version, what was staged, the page versions it carries over).

    None when there is nothing to change.
    """
    with vault.catalogue.write() as tx:
        version = keys.take_version(tx, tree)
    with vault.uses.walk(), vault.catalogue.read() as tx:
        base = keys.current_root(tx, tree)
        custodian = custodian_of(vault, tx, base)
        with OpenTree.open(vault.vault_id, base, custodian) as opened:
            change = plan(tx, opened)
            if change == TreeChange():
                return None
            try:
                staged = stage(
                    vault.vault_id,
                    opened,
                    change,
                    page_loader(tx, tree),
                    tree=tree,
                    epoch=base.epoch,
                    version=version,
                    master=base.master,
                    custodian=custodian,
                )
            finally:
                for rewrite in change.rewritten.values():
                    for key in rewrite.put.values():
                        key.wipe()
        carried = keys.current_pages(tx, tree)
    for page in staged.pages:
        carried.pop(page.cohort, None)
    return base.version, staged, carried


def found_tree(
    bucket: Bucket, custodian: Custodian, vault_id: bytes, tree: Tree, ends_at: datetime | None = None
) -> StagedTree:
    """Make the first version of a tree, or take what a founding that was cut off left.

    `ends_at` is when its master is to end by itself, where the custodian can do that (S7).

    Raises:
        HomeError: the bucket holds another vault's keys, or more than a founding leaves.
    """
    if any(name != mirror.pack_name(tree, 1) for name in bucket.names(f"{mirror.PREFIX}{tree}/")):
        message = "The bucket holds the keys of a vault that was in use; its catalogue is not the one in this home."
        raise HomeError(message)
    master = f"{tree}-{vault_id.hex()}"
    with suppress(MasterExistsError):
        custodian.create(master, ends_at)
    first = found(vault_id, tree, version=1, master=master, custodian=custodian)
    try:
        mirror.write(bucket, vault_id, first, {})
    except ObjectExists:
        try:
            return mirror.read_back(bucket, vault_id, tree, 1)
        except SealBrokenError as strange:
            message = "The bucket holds the keys of another vault; choose another bucket."
            raise HomeError(message) from strange
    return first
