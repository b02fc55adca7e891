"""Destruction: the one function through which a key can be destroyed, and the order of its steps.

0. authority: the exact list is frozen (`vault.destruction.frozen_lists`)
1. journal the intent; close the touched cohorts
2. create the new master
3. stage the next tree, mirror it, read it back, check the key graph (`vault.trees.staging`)
4. ONE transaction: check that nothing which matters has changed, condemn, switch the tree
5. fence: every process has let go of the old tree, or has ended, or is dead past its lease
6. destroy the old master, read back that it is gone, try to use it
7. record what was observed

Up to step 4 a crash leaves a destruction that is undone; from step 4 on, one that is carried to its end.
`recover` does the one or the other. Reclaiming space (step 8) is `reclaim`, beside this, and no part of the promise.

This is the only module that imports `keystore.destruction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from keystore import CustodianError, KeyGraphError, MasterState, SealedRoot, Tree
from keystore.destruction import Evidence, Standing, destroy_master, discard_unused_master
from vault.catalogue import Transaction, keys
from vault.catalogue.destructions import Destruction, load, unfinished, update
from vault.context import Vault, note
from vault.errors import (
    BusyError,
    DestructionRefusedError,
    MasterMissingError,
    OldCatalogueError,
    OrderRefusedError,
    RuleBrokenError,
    TimeSuspectError,
)
from vault.ids import DestructionId
from vault.law.retention import Cause
from vault.ledger.publishing import publish, require_published
from vault.serving.fences import wait_for_nodes
from vault.serving.servings import require_every_record
from vault.trees import mirror
from vault.trees.ended import ended_at, has_ended
from vault.trees.keyring import custodian_of

from .authority import claim_authority
from .condemning import Progress, condemn_list
from .exclusion import alone
from .frozen_lists import KeysOnly
from .returned import DIED_AGAIN, RETURNED, still_returned

__all__ = [
    "Recovered",
    "Returned",
    "carry_out",
    "destroy_returned",
    "recover_destructions",
    "require_newest",
    "require_newest_keys",
]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What `recover_destructions` found and did."""

    undone: list[DestructionId]
    finished: list[DestructionId]
    masters_discarded: int


@dataclass(frozen=True, slots=True)
class Returned:
    """Masters that were destroyed and were at their custodians all the same."""

    destroyed: list[str]
    left: dict[str, str]
    """Those that could not be destroyed again, with what the custodian said."""


# --- steps 1 to 7 -------------------------------------------------------------------------------------


def carry_out(vault: Vault, destruction_id: DestructionId, progress: Progress = lambda _: None) -> Destruction:
    """The one function that destroys keys: steps 1 to 7 for a frozen list.

    Returns the destruction as recorded. A refusal before step 4 is undone here; after a failed service the
    destruction stays unfinished, and `recover` undoes it or carries it to its end.

    Raises:
        DestructionRefusedError: the key-graph check, or a catalogue that is not the newest, or time that is SUSPECT
            forbids it; nothing was destroyed.
        OrderRefusedError: the policy changed, or the order gives no authority any more; nothing was destroyed.
        BusyError: another destruction is running, or the world kept changing; nothing was destroyed.
        CustodianError, ObjectStoreError, CatalogueError: a service failed. `recover` undoes or finishes.
    """
    with alone(vault):
        require_newest(vault)
        _destroy_returned(vault)
        return _carry_out(vault, destruction_id, progress)


def _carry_out(vault: Vault, destruction_id: DestructionId, progress: Progress) -> Destruction:
    with vault.catalogue.read() as tx:
        destruction = load(tx, destruction_id)
    if destruction.condemned_at is None and destruction.abandoned_at is None:
        ended = _require_open_tree(vault, destruction)
        if not destruction.listed and destruction.kind != KeysOnly.MOVE and not ended:
            try:
                _record_empty(vault, destruction)
            except OrderRefusedError:
                _abandon(vault, destruction_id)
                raise
            return _finish(vault, destruction_id, progress)
        try:
            condemn_list(vault, destruction, progress)
        except (KeyGraphError, BusyError, OrderRefusedError, TimeSuspectError) as refusal:
            _abandon(vault, destruction_id)
            _discard_orphans(vault)
            if not isinstance(refusal, KeyGraphError):
                raise
            message = f"The destruction was stopped before anything died. {refusal}"
            raise DestructionRefusedError(message) from refusal
        except RuleBrokenError as refusal:
            _require_not_undone(vault, destruction, refusal)
            raise
    return _finish(vault, destruction_id, progress)


def _require_open_tree(vault: Vault, destruction: Destruction) -> bool:
    """Whether the custodian has ended the active tree's master at the deadline; then only the sunset is carried out.

    Raises:
        DestructionRefusedError: so it is, and this is something else.
    """
    ended = has_ended(vault)
    if ended and destruction.kind != Cause.SUNSET:
        _abandon(vault, destruction.id)
        message = (
            "The master key of the active tree ended with the deadline of the sunset, as was ordered. First the "
            "sunset is carried out: `shredvault sweep`."
        )
        raise DestructionRefusedError(message)
    return ended


def _require_not_undone(vault: Vault, destruction: Destruction, refusal: RuleBrokenError) -> None:
    """Somebody may have undone this destruction as it ran, when its lock was lost with a connection.

    They could not destroy a master that was made only after they had looked: so it is done here.
    """
    with vault.catalogue.read() as tx:
        undone = load(tx, destruction.id)
    if undone.abandoned_at is None:
        return
    _discard_orphans(vault)
    if undone.new_master is not None:
        with vault.catalogue.read() as tx:
            custodian = vault.custody.at(keys.custodian_address(tx, undone.new_master))
            current = _open_roots(vault, tx)
        discard_unused_master(custodian, vault.vault_id, undone.new_master, current)
    message = "Somebody else has undone this destruction while it ran; nothing was destroyed. Start it again."
    raise DestructionRefusedError(message) from refusal


def _record_empty(vault: Vault, destruction: Destruction) -> None:
    """Nothing is on the list: no key needs to die, and the record says zero."""
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        claim_authority(tx, destruction, now)
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
    if destruction.staged_version is None:
        return _finish_taken_over(vault, destruction)
    if destruction.fenced_at is None:
        # 5. Fence.
        progress("fence")
        fenced = asdict(wait_for_nodes(vault, destruction.tree, destruction.staged_version))
        with vault.catalogue.write() as tx:
            observed = destruction.observed | {f"nodes_{fate}": count for fate, count in fenced.items()}
            update(tx, destruction_id, fenced_at=vault.clock.now(), observed=observed)
            note(tx, vault.clock.now(), "fenced", destruction_id, fenced)
    # 6. Destroy the old master. The ledger in the bucket must name the condemned before: the catalogue may be lost.
    progress("destroy master")
    publish(vault)
    with vault.catalogue.read() as tx:
        destruction = load(tx, destruction_id)
        assert destruction.old_version is not None
        last = _standing(vault, tx, keys.load_root(tx, destruction.tree, destruction.old_version))
        following = _standing(vault, tx, keys.current_root(tx, destruction.tree))
    evidence = destroy_master(vault.vault_id, last, following)
    # 7. Record.
    progress("record")
    recorded = _record(vault, destruction, evidence, asdict(last.custodian.assurance))
    publish(vault)
    return recorded


def _finish_taken_over(vault: Vault, destruction: Destruction) -> Destruction:
    """A rebuild took this destruction over from the ledger: whoever was condemned is in neither tree.

    Every master of before is an orphan now, and the keys of the condemned die with them.
    """
    _discard_orphans(vault)
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        update(tx, destruction.id, completed_at=now)
        note(tx, now, "completed", destruction.id, {"taken_over": True})
    publish(vault)
    with vault.catalogue.read() as tx:
        return load(tx, destruction.id)


def _standing(vault: Vault, tx: Transaction, root: SealedRoot) -> Standing:
    return Standing(custodian_of(vault, tx, root), root)


def _open_roots(vault: Vault, tx: Transaction) -> list[Standing]:
    """The current roots, but for one whose master has ended at the deadline, as its custodian was told (S7)."""
    return [_standing(vault, tx, keys.current_root(tx, tree)) for tree in Tree if ended_at(vault, tx, tree) is None]


def _record(vault: Vault, destruction: Destruction, evidence: Evidence, assurance: dict[str, object]) -> Destruction:
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        keys.master_destroyed(tx, evidence.master, now)
        update(
            tx,
            destruction.id,
            completed_at=now,
            observed=destruction.observed | {"old_master": asdict(evidence), "assurance": assurance},
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
    with alone(vault):
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


def destroy_returned(vault: Vault) -> Returned:
    """Destroy masters again that were destroyed and are at their custodians all the same.

    Somebody has restored a backup of the custodian. While such a master is there, every old copy of the bucket opens
    what died with it. Each destruction begins with this too, and goes on where one cannot be destroyed: to destroy
    nothing else would bring nobody nearer to it.

    Raises:
        BusyError, OldCatalogueError, DestructionRefusedError: as of `recover_destructions`.
        CustodianError, ObjectStoreError, CatalogueError: a service failed; run it again.
    """
    with alone(vault):
        require_newest(vault)
        return _destroy_returned(vault)


def _destroy_returned(vault: Vault) -> Returned:
    with vault.catalogue.read() as tx:
        destroyed, current, known = keys.destroyed_masters(tx), _open_roots(vault, tx), still_returned(tx)
    in_use = {one.custodian.uri for one in current}
    done = Returned([], {})
    for address, names in sorted(destroyed.items()):
        try:
            custodian = vault.custody.at(address)
            # One that was known may be gone by now, and nobody has written that down.
            found = sorted(names & (custodian.names() | known))
        except CustodianError:
            if address in in_use:
                raise
            # The vault has moved away from it; it may be gone with everything on it.
            continue
        for name in found:
            if name not in known:
                with vault.catalogue.write() as tx:
                    note(tx, vault.clock.now(), RETURNED, name, {"custodian": address})
            try:
                discard_unused_master(custodian, vault.vault_id, name, current)
            except CustodianError as refused:
                done.left[name] = str(refused)
                continue
            with vault.catalogue.write() as tx:
                note(tx, vault.clock.now(), DIED_AGAIN, name)
            done.destroyed.append(name)
    if done.destroyed or done.left:
        publish(vault)
    return done


def require_newest(vault: Vault) -> None:
    """Refuse to go on with a catalogue that is older than the bucket or the custodian: a restored backup.

    What it takes for leftovers may be what is in use now.

    Raises:
        OldCatalogueError: there is something that this catalogue cannot know of.
        DestructionRefusedError: completions were cut off when a service died; `serve` makes them good.
    """
    require_newest_keys(vault)
    require_every_record(vault)


def require_newest_keys(vault: Vault) -> None:
    """As `require_newest`, by ledger, packs and masters; lost filings do not show in them.

    Raises:
        OldCatalogueError: there is something that this catalogue cannot know of.
        MasterMissingError: the custodian answers, and has not the master that is in use.
        CustodianError: it cannot be opened, or does not answer.
    """
    require_published(vault)
    before: object = None
    while True:
        with vault.catalogue.read() as tx:
            given_out = keys.next_versions(tx)
            standing = _open_roots(vault, tx)
        old = _has_later_packs(vault, given_out)
        gone = [one for one in standing if one.custodian.describe(one.root.master) is not MasterState.LIVE]
        if not old and not gone:
            return
        # Whoever changes a tree meanwhile has said so here before he wrote a pack or destroyed a master.
        seen = given_out, [one.root.master for one in standing]
        if seen == before:
            break
        before = seen
    if old:
        raise OldCatalogueError
    raise MasterMissingError(gone[0].root.master, gone[0].custodian.uri)


def _has_later_packs(vault: Vault, given_out: Mapping[Tree, int]) -> bool:
    """Versions are given out before anything of them is written."""
    return any(
        True
        for tree, version in given_out.items()
        for _ in vault.bucket.names(f"{mirror.PREFIX}{tree}/", after=mirror.pack_name(tree, version - 1))
    )


def _abandon(vault: Vault, destruction_id: DestructionId) -> None:
    """Give up a destruction that has condemned nothing; its master is an orphan from then on."""
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        update(tx, destruction_id, abandoned_at=now)
        note(tx, now, "undone", destruction_id)


def _discard_orphans(vault: Vault) -> int:
    """Destroy masters that were planned and stand over no current root, and the stagings made under them."""
    with vault.catalogue.read() as tx:
        if not keys.orphan_masters(tx):
            return 0
    with vault.catalogue.write() as tx:
        # Whoever lost the lock and works on, unknowingly, can build nothing on them from here on.
        orphans = keys.give_up_orphans(tx, vault.clock.now())
        current = _open_roots(vault, tx)
    for name, address in orphans:
        discard_unused_master(vault.custody.at(address), vault.vault_id, name, current)
        with vault.catalogue.write() as tx:
            litter = keys.forget_staged(tx, name)
            keys.master_destroyed(tx, name, vault.clock.now())
            note(tx, vault.clock.now(), "unused master discarded", name)
        # What a lock retains goes with the next reclaim: it is older than the current version then.
        vault.bucket.delete_unlocked(mirror.pack_name(tree, version) for tree, version in litter)
    # Else a rebuild would look for them, at a custodian that may be forgotten and gone by then.
    publish(vault)
    return len(orphans)
