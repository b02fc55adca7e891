"""Destruction: the one function through which a key can be destroyed, and the order of its steps.

0. authority: the exact list is frozen (`vault.frozen_lists`)
1. journal the intent; close the touched cohorts
2. create the new master
3. stage the next tree, mirror it, read it back, check the key graph (`vault.staging`)
4. ONE transaction: check that nothing which matters has changed, condemn, switch the tree
5. fence: every process has let go of the old tree, or has ended, or is dead past its lease
6. destroy the old master, read back that it is gone, try to use it
7. record what was observed

Up to step 4 a crash leaves a destruction that is undone; from step 4 on, one that is carried to its end.
`recover` does the one or the other. Reclaiming space (step 8) is `vault.reclaim`, and no part of the promise.

This is the only module that imports `keystore.destruction`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from keystore import KeyGraphError, MasterState, Tree
from keystore.destruction import Evidence, destroy_master, discard_unused_master

from . import mirror
from .catalogue import Transaction, keys
from .catalogue.destructions import (
    Destruction,
    condemn,
    held_slots,
    load,
    load_list,
    unfinished,
    update,
)
from .catalogue.schema import cohorts, hold_records, holds
from .context import Vault, note
from .errors import BusyError, DestructionRefusedError
from .fences import wait_for_nodes
from .frozen_lists import predicate_at
from .ids import DestructionId
from .retention import Cause, not_eligible
from .staging import Plan, Staging, plan_tree, revisions_of, stage_and_check

__all__ = ["STEPS", "Progress", "Recovered", "carry_out", "recover_destructions", "require_newest"]

STAGINGS: Final = 8
"""How often a destruction is staged again because holds or filings came in between."""

Progress = Callable[[str], None]
"""Told the name of each step as it begins, one of `STEPS`."""

STEPS: Final = ("intent", "create master", "stage", "condemn", "fence", "destroy master", "record")


@dataclass(frozen=True, slots=True)
class Recovered:
    """What `recover_destructions` found and did."""

    undone: list[DestructionId]
    finished: list[DestructionId]
    masters_discarded: int


# --- steps 1 to 7 -------------------------------------------------------------------------------------


@contextmanager
def _alone(vault: Vault) -> Iterator[None]:
    """One destruction at a time on this vault; the operating system gives the lock up when the process dies."""
    descriptor = os.open(vault.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            message = "Another destruction, release or recovery is running on this vault; wait for it to end."
            raise BusyError(message) from taken
        yield
    finally:
        os.close(descriptor)


def carry_out(vault: Vault, destruction_id: DestructionId, progress: Progress = lambda _: None) -> Destruction:
    """The one function that destroys keys: steps 1 to 7 for a frozen list.

    Returns the destruction as recorded. A refusal before step 4 is undone here; after a failed service the
    destruction stays unfinished, and `recover` undoes it or carries it to its end.

    Raises:
        DestructionRefusedError: the key-graph check, or a catalogue that is not the newest, forbids it; nothing
            was destroyed.
        BusyError: another destruction is running, or the world kept changing; nothing was destroyed.
        CustodianError, ObjectStoreError, CatalogueError: a service failed. `recover` undoes or finishes.
    """
    with _alone(vault):
        require_newest(vault)
        return _carry_out(vault, destruction_id, progress)


def _carry_out(vault: Vault, destruction_id: DestructionId, progress: Progress) -> Destruction:
    with vault.catalogue.read() as tx:
        destruction = load(tx, destruction_id)
    if destruction.condemned_at is None and destruction.abandoned_at is None:
        try:
            _condemn_list(vault, destruction, progress)
        except (KeyGraphError, BusyError) as refusal:
            _abandon(vault, destruction_id)
            _discard_orphans(vault)
            if isinstance(refusal, BusyError):
                raise
            message = f"The destruction was stopped before anything died. {refusal}"
            raise DestructionRefusedError(message) from refusal
    return _finish(vault, destruction_id, progress)


def _condemn_list(vault: Vault, destruction: Destruction, progress: Progress) -> None:
    """Steps 1 to 4."""
    with vault.catalogue.read() as tx:
        listed, frozen_at = load_list(tx, destruction.id)
    if not listed:
        _record_empty(vault, destruction)
        return
    # 1. Intent: the touched cohorts give out no more slots; the new master's name is known before it exists.
    progress("intent")
    now = vault.clock.now()
    master = f"{destruction.tree}-{destruction.id}"
    with vault.catalogue.write() as tx:
        if destruction.tree is Tree.ACTIVE:
            _close_cohorts(tx, listed, now)
        epoch = keys.current_root(tx, destruction.tree).epoch + 1
        keys.plan_master(tx, master, destruction.tree, epoch, vault.custodian.uri, now)
        update(tx, destruction.id, new_master=master)
        note(tx, now, "intent", destruction.id, {"new_master": master})
    # 2. The new master.
    progress("create master")
    vault.custodian.create(master)
    for _ in range(STAGINGS):
        # 3. Stage, mirror, read back, check.
        progress("stage")
        with vault.catalogue.read() as tx:
            now_at = revisions_of(tx)
            changed = {cohort: slots for cohort, slots in listed.items() if now_at[cohort] != frozen_at[cohort]}
            plan = plan_tree(tx, destruction.tree, listed, _spared(tx, vault, destruction, changed))
        staging = stage_and_check(vault, destruction.tree, plan, master)
        # 4. Condemn.
        progress("condemn")
        if _condemn(vault, destruction, listed, staging):
            return
        # Whom this staging spared has its key in a pack under the new master: nobody of those may die now.
        listed = dict(plan.condemned)
    message = "Holds or filings kept changing what is to be destroyed; nothing was destroyed. Try again."
    raise BusyError(message)


def _close_cohorts(tx: Transaction, listed: Mapping[int, int], now: datetime) -> None:
    open_ones = set(tx.execute(sa.select(cohorts.c.id).where(cohorts.c.closed_at.is_(None))).scalars())
    for cohort in sorted(open_ones & set(listed)):
        tx.execute(sa.update(cohorts).where(cohorts.c.id == cohort).values(closed_at=now))


def _spared(tx: Transaction, vault: Vault, destruction: Destruction, among: Mapping[int, int]) -> dict[int, int]:
    """Slots of listed cohorts whose records may not be condemned now (or whose held copy may not go)."""
    spared: dict[int, int] = {}
    if destruction.hold_id is None:
        test = predicate_at(tx, Cause(destruction.kind), vault.clock.now())
        pairs = not_eligible(tx, test, among.keys())
    else:
        pairs = [pair for pair in held_slots(tx, but_not=destruction.hold_id) if pair[0] in among]
        _require_active_copies(tx, among)
    for cohort, slot in pairs:
        spared[cohort] = spared.get(cohort, 0) | 1 << slot
    return spared


def _require_active_copies(tx: Transaction, among: Mapping[int, int]) -> None:
    live = keys.live_bitmaps(tx, Tree.ACTIVE, among.keys())
    for cohort, slots in among.items():
        if slots & ~int.from_bytes(live.get(cohort, b""), "little"):
            message = f"A record of cohort {cohort} has its key in the held tree only; releasing it would lose it."
            raise KeyGraphError(message)


def _condemn(vault: Vault, destruction: Destruction, listed: Mapping[int, int], staging: Staging) -> bool:
    """Step 4, the point of no return. False: the world changed, stage again."""
    now = vault.clock.now()
    plan = staging.plan
    with vault.catalogue.write() as tx:
        changed = {
            cohort: listed[cohort]
            for cohort, revision in revisions_of(tx).items()
            if cohort in listed and revision != plan.revisions[cohort]
        }
        if changed and not _same_verdicts(tx, vault, destruction, changed, plan):
            tx.rollback()
            return False
        if not keys.switch(tx, destruction.tree, base=staging.base_version, to=staging.version, dropped=plan.dropped):
            tx.rollback()
            return False
        if destruction.tree is Tree.ACTIVE:
            _require_no_held_copies(tx, plan)
            condemn(tx, destruction.id, plan.condemned, plan.survivors)
        else:
            _require_whole_hold(tx, destruction)
            tx.execute(sa.update(holds).where(holds.c.id == destruction.hold_id).values(released_at=now))
        update(
            tx,
            destruction.id,
            condemned_at=now,
            condemned=plan.condemned_count,
            withdrawn=destruction.listed - plan.condemned_count if destruction.tree is Tree.ACTIVE else 0,
            old_master=staging.base_master,
            old_version=staging.base_version,
            staged_version=staging.version,
            observed={
                "graph": asdict(staging.report),
                "pages_rewritten": staging.pages,
                "pages_dropped": len(plan.dropped),
                "mirror_bytes": staging.mirror_bytes,
            },
        )
        note(tx, now, "condemned", destruction.id, {"count": plan.condemned_count, "version": staging.version})
    return True


def _require_no_held_copies(tx: Transaction, plan: Plan) -> None:
    """A condemned record's key must be in no other tree: its master lives on."""
    for cohort, live in keys.live_bitmaps(tx, Tree.HELD, plan.condemned.keys()).items():
        if plan.condemned[cohort] & int.from_bytes(live, "little"):
            message = f"A condemned record of cohort {cohort} still has its key in the held tree."
            raise KeyGraphError(message)


def _require_whole_hold(tx: Transaction, destruction: Destruction) -> None:
    """A record that was added to the hold after the list was frozen must not lose it with the others."""
    count = sa.select(sa.func.count()).where(hold_records.c.hold_id == destruction.hold_id)
    if tx.execute(count).scalar_one() != destruction.listed:
        message = "Records were added to the hold while it was being released; it stays in force."
        raise KeyGraphError(message)


def _same_verdicts(
    tx: Transaction, vault: Vault, destruction: Destruction, changed: Mapping[int, int], plan: Plan
) -> bool:
    """Ask the predicate again, for every record of the cohorts in which something happened since the plan."""
    again = plan_tree(tx, destruction.tree, changed, _spared(tx, vault, destruction, changed))
    return all(
        again.condemned.get(cohort) == plan.condemned.get(cohort)
        and again.survivors.get(cohort) == plan.survivors.get(cohort)
        for cohort in changed
    )


def _record_empty(vault: Vault, destruction: Destruction) -> None:
    """Nothing is on the list: no key needs to die, and the record says zero."""
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        update(tx, destruction.id, condemned_at=now, condemned=0, fenced_at=now, completed_at=now)
        note(tx, now, "completed", destruction.id, {"count": 0})


def _finish(vault: Vault, destruction_id: DestructionId, progress: Progress) -> Destruction:
    """Steps 5 to 7; each is skipped when it was done before."""
    with vault.catalogue.read() as tx:
        destruction = load(tx, destruction_id)
    if destruction.abandoned_at is not None:
        message = "This destruction was undone; freeze a new list."
        raise DestructionRefusedError(message)
    if destruction.completed_at is not None:
        return destruction
    assert destruction.staged_version is not None
    if destruction.fenced_at is None:
        # 5. Fence.
        progress("fence")
        fenced = asdict(wait_for_nodes(vault, destruction.tree, destruction.staged_version))
        with vault.catalogue.write() as tx:
            observed = destruction.observed | {f"nodes_{fate}": count for fate, count in fenced.items()}
            update(tx, destruction_id, fenced_at=vault.clock.now(), observed=observed)
            note(tx, vault.clock.now(), "fenced", destruction_id, fenced)
    # 6. Destroy the old master.
    progress("destroy master")
    with vault.catalogue.read() as tx:
        destruction = load(tx, destruction_id)
        assert destruction.old_version is not None
        old_root = keys.load_root(tx, destruction.tree, destruction.old_version)
        next_root = keys.current_root(tx, destruction.tree)
    evidence = destroy_master(vault.custodian, vault.vault_id, old_root, next_root)
    # 7. Record.
    progress("record")
    return _record(vault, destruction, evidence)


def _record(vault: Vault, destruction: Destruction, evidence: Evidence) -> Destruction:
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        keys.master_destroyed(tx, evidence.master, now)
        update(
            tx,
            destruction.id,
            completed_at=now,
            observed=destruction.observed
            | {"old_master": asdict(evidence), "assurance": asdict(vault.custodian.assurance)},
        )
        note(tx, now, "completed", destruction.id, {"master": evidence.master})
        return load(tx, destruction.id)


# --- recovery -----------------------------------------------------------------------------------------


def recover_destructions(vault: Vault, progress: Progress = lambda _: None) -> Recovered:
    """Undo what had not condemned anything, finish what had, and discard masters that stand over nothing.

    Raises:
        BusyError: a destruction is running just now.
        CustodianError, ObjectStoreError, CatalogueError: a service failed; run it again.
    """
    undone: list[DestructionId] = []
    finished: list[DestructionId] = []
    with _alone(vault):
        require_newest(vault)
        with vault.catalogue.read() as tx:
            pending = unfinished(tx)
        for destruction in pending:
            if destruction.condemned_at is None:
                _abandon(vault, destruction.id)
                undone.append(destruction.id)
            else:
                _finish(vault, destruction.id, progress)
                finished.append(destruction.id)
        discarded = _discard_orphans(vault)
    return Recovered(undone, finished, discarded)


def require_newest(vault: Vault) -> None:
    """Refuse to go on with a catalogue that is older than the bucket or the custodian: a restored backup.

    What it takes for leftovers may be what is in use now.

    Raises:
        DestructionRefusedError: there is something that this catalogue cannot know of.
    """
    message = (
        "The catalogue is older than {}: it seems to have been restored from a backup. Nothing was changed; "
        "put the newest catalogue back."
    )
    with vault.catalogue.read() as tx:
        given_out = keys.next_versions(tx)
        roots = [keys.current_root(tx, tree) for tree in Tree]
    for tree, version in given_out.items():
        # Versions are given out before anything of them is written.
        if any(name >= mirror.pack_name(tree, version) for name in vault.bucket.names(f"{mirror.PREFIX}{tree}/")):
            raise DestructionRefusedError(message.format("the bucket"))
    if any(vault.custodian.describe(root.master) is not MasterState.LIVE for root in roots):
        raise DestructionRefusedError(message.format("the custodian's keys, or these are out of reach"))


def _abandon(vault: Vault, destruction_id: DestructionId) -> None:
    """Give up a destruction that has condemned nothing; its master is an orphan from then on."""
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        update(tx, destruction_id, abandoned_at=now)
        note(tx, now, "undone", destruction_id)


def _discard_orphans(vault: Vault) -> int:
    """Destroy masters that were planned and stand over no current root, and the stagings made under them."""
    with vault.catalogue.read() as tx:
        orphans = keys.orphan_masters(tx)
        roots = [keys.current_root(tx, tree) for tree in Tree]
    for name in orphans:
        discard_unused_master(vault.custodian, vault.vault_id, name, roots)
        with vault.catalogue.write() as tx:
            litter = keys.forget_staged(tx, name)
            keys.master_destroyed(tx, name, vault.clock.now())
            note(tx, vault.clock.now(), "unused master discarded", name)
        vault.bucket.delete_every_version(mirror.pack_name(tree, version) for tree, version in litter)
    return len(orphans)
