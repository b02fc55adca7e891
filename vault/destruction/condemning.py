"""Steps 1 to 4 of a destruction, up to the point of no return: intent, new master, staging, condemning.

Up to the end of step 4 a crash leaves a destruction that is undone; from there on, one that is carried to its
end. Nothing here can destroy a key (`vault.destruction.carrying_out` does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from keystore import Custodian, KeyGraphError, Tree
from vault.catalogue import Transaction, keys
from vault.catalogue.destructions import Destruction, condemn, listed_ids, load_list, update
from vault.catalogue.holding import end_parts, held_slots
from vault.catalogue.schema import cohorts
from vault.clocks.trusted_time import Trusted
from vault.context import Vault, note
from vault.errors import BusyError
from vault.law.retention import Cause, not_eligible
from vault.ledger.publishing import publish
from vault.log.merkle import tree_hash
from vault.sunset.ending import end_for_active_master
from vault.timekeeping import observe_time, require_trusted_time
from vault.trees.ended import ended_at, stage_from_held, whole_list
from vault.trees.staging import Plan, Staging, plan_tree, revisions_of, stage_and_check

from .authority import claim_authority
from .frozen_lists import KeysOnly, pack_slots, predicate_at
from .listed_ids import pack_places, place_of, store_list

__all__ = ["STEPS", "Progress", "condemn_list"]

STAGINGS: Final = 8
"""How often a destruction is staged again because holds or filings came in between."""

Progress = Callable[[str], None]
"""Told the name of each step as it begins, one of `STEPS`."""

STEPS: Final = ("intent", "create master", "stage", "condemn", "fence", "destroy master", "record")


@dataclass(frozen=True, slots=True)
class _Listing:
    """A destruction with its frozen list, and by what it is judged again."""

    destruction: Destruction
    slots: Mapping[int, int]
    revisions: Mapping[int, int]
    """Of the cohorts, when the list was frozen."""
    ended_at: datetime | None
    """When the custodian ended the master of the tree at the deadline (S7); None: it did not."""

    @property
    def is_active(self) -> bool:
        """Whether records die, and not copies in the held tree."""
        return self.destruction.tree is Tree.ACTIVE


@dataclass(frozen=True, slots=True)
class _Tally:
    """Who of the list, and of the survivors, does not go the way that was approved."""

    withdrawn: Mapping[int, int]
    """Slots on the list that are not condemned, by cohort."""
    unaccounted: int
    """Of these, approved and spared by no verdict: their keys are missing."""
    lost: int
    """Survivors whose key was not there to be carried over."""


def condemn_list(vault: Vault, destruction: Destruction, progress: Progress) -> None:
    """Steps 1 to 4: when this returns, the destruction has its condemned and must be carried to its end.

    Raises:
        KeyGraphError: the check of what was staged refused it.
        OrderRefusedError: the authority for it is gone.
        BusyError: the world kept changing.
        TimeSuspectError: nobody can say what time it is (T5).
        CustodianError, ObjectStoreError, CatalogueError: a service failed.
    """
    with vault.catalogue.read() as tx:
        end = ended_at(vault, tx, Tree.ACTIVE) if destruction.kind == Cause.SUNSET else None
        listing = _Listing(destruction, *load_list(tx, destruction.id), end)
        # S7: what the custodian has ended at the deadline opens no more, and no cohort can be carried over from it.
        listed: Mapping[int, int] = listing.slots if end is None else whole_list(tx, listing.slots)
    excused: dict[int, int] = {}
    # 1. Intent: the touched cohorts give out no more slots; the new master's name is known before it exists.
    progress("intent")
    custodian, master, ends_at = _intend(vault, listing, listed)
    # 2. The new master.
    progress("create master")
    publish(vault)
    custodian.create(master, ends_at)
    ids = _store_ids(vault, listing)
    for _ in range(STAGINGS):
        # 3. Stage, mirror, read back, check.
        progress("stage")
        with vault.catalogue.read() as tx:
            now_at = revisions_of(tx)
            changed = {
                cohort: slots for cohort, slots in listed.items() if now_at[cohort] != listing.revisions.get(cohort)
            }
            spared = _spared(tx, vault, listing, changed)
            plan = plan_tree(tx, destruction.tree, listed, spared, every=end is not None)
        for cohort, slots in spared.items():
            excused[cohort] = excused.get(cohort, 0) | slots
        if end is None:
            staging = stage_and_check(vault, destruction.tree, plan, master)
        else:
            staging = stage_from_held(vault, plan, master)
        # 4. Condemn.
        progress("condemn")
        if _condemn(vault, listing, staging, listed, excused, ids):
            return
        # Whom this staging spared has its key in a pack under the new master: nobody of those may die now.
        listed = dict(plan.condemned)
    message = "Holds or filings kept changing what is to be destroyed; nothing was destroyed. Try again."
    raise BusyError(message)


def _intend(vault: Vault, listing: _Listing, listed: Mapping[int, int]) -> tuple[Custodian, str, datetime | None]:
    """Step 1. Returns at which custodian the new master is to be made, its name, and when it is to end by itself."""
    destruction, now = listing.destruction, vault.clock.now()
    master = f"{destruction.tree}-{destruction.id}"
    with vault.catalogue.write() as tx:
        if listing.is_active:
            _close_cohorts(tx, listed, now)
        root = keys.current_root(tx, destruction.tree)
        address = destruction.moves_to or keys.custodian_address(tx, root.master)
        custodian = vault.custody.at(address)
        to_end = listing.is_active and custodian.ends_masters
        ends_at = end_for_active_master(tx, now) if to_end else None
        keys.plan_master(tx, master, destruction.tree, root.epoch + 1, address, ends_at)
        update(tx, destruction.id, new_master=master)
        facts = {"new_master": master, "custodian": address, "ends_at": ends_at and ends_at.isoformat()}
        note(tx, now, "intent", destruction.id, facts)
    return custodian, master, ends_at


def _store_ids(vault: Vault, listing: _Listing) -> bytes:
    """Put the ids on the list into the bucket, for whoever asks after a rebuild; returns them in order.

    In one piece: to let go of a city's ids one by one would take longer than its destruction.
    """
    destruction = listing.destruction
    if not listing.is_active or not destruction.listed:
        return b""
    with vault.catalogue.read() as tx:
        ids = listed_ids(tx, listing.slots)
    if tree_hash(ids) != destruction.list_root:
        message = "The records of the frozen list are not those that its root was made of."
        raise KeyGraphError(message)
    store_list(vault.bucket, vault.vault_id, destruction.id, ids)
    vault.settle()
    return b"".join(ids)


def _close_cohorts(tx: Transaction, listed: Mapping[int, int], now: datetime) -> None:
    open_ones = set(tx.execute(sa.select(cohorts.c.id).where(cohorts.c.closed_at.is_(None))).scalars())
    for cohort in sorted(open_ones & set(listed)):
        tx.execute(sa.update(cohorts).where(cohorts.c.id == cohort).values(closed_at=now))


def _spared(tx: Transaction, vault: Vault, listing: _Listing, among: Mapping[int, int]) -> dict[int, int]:
    """Slots of listed cohorts whose records may not be condemned now (or whose held copy may not go)."""
    destruction, spared = listing.destruction, dict[int, int]()
    if destruction.kind == KeysOnly.MOVE:
        return spared
    if destruction.hold_id is None:
        test = predicate_at(tx, Cause(destruction.kind), vault.clock.now(), ended=listing.ended_at is not None)
        pairs = not_eligible(tx, test, among.keys())
    else:
        ending = (destruction.hold_id, destruction.frozen_at)
        pairs = [pair for pair in held_slots(tx, but_not=ending) if pair[0] in among]
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


def _condemn(
    vault: Vault,
    listing: _Listing,
    staging: Staging,
    listed: Mapping[int, int],
    excused: Mapping[int, int],
    ids: bytes,
) -> bool:
    """Step 4, the point of no return. False: the world changed, stage again.

    Of `listing`, earlier stagings have left `listed`; `excused` are those whom the predicate spared.
    """
    destruction, plan = listing.destruction, staging.plan
    judged = observe_time(vault)
    clocks = {name: at.isoformat() for name, at in judged.readings.items()} if isinstance(judged, Trusted) else {}
    now = vault.clock.now()
    tally = _tally(listing, staging, excused)
    with vault.catalogue.write() as tx:
        if destruction.kind != KeysOnly.MOVE:
            # A move loses nobody, and one that waits may let a master run out.
            require_trusted_time(tx)
        changed = {
            cohort: listed[cohort]
            for cohort, revision in revisions_of(tx).items()
            if cohort in listed and revision != plan.revisions[cohort]
        }
        if changed and not _same_verdicts(tx, vault, listing, changed, plan):
            tx.rollback()
            return False
        if not keys.switch(tx, destruction.tree, base=staging.base_version, to=staging.version, dropped=plan.dropped):
            tx.rollback()
            return False
        claim_authority(tx, destruction, now)
        if listing.is_active:
            _require_no_held_copies(tx, plan)
            condemn(tx, destruction.id, plan.condemned, plan.survivors, plan.keyless)
        elif destruction.hold_id is not None:
            end_parts(tx, destruction.hold_id, destruction.frozen_at, now)
        update(
            tx,
            destruction.id,
            condemned_at=now,
            condemned=plan.condemned_count,
            withdrawn=destruction.listed - plan.condemned_count if listing.is_active else 0,
            old_master=staging.base_master,
            old_version=staging.base_version,
            staged_version=staging.version,
            observed=_observed(listing, staging, tally) | {"time_sources": clocks},
        )
        _note_incidents(tx, now, listing, staging, tally)
        facts = {"count": plan.condemned_count, "version": staging.version, "withdrawn": pack_slots(tally.withdrawn)}
        if ids and tally.withdrawn:
            # Whoever reads the list without the catalogue must not take them for destroyed.
            places = (place_of(ids, one) for one in listed_ids(tx, tally.withdrawn))
            facts["withdrawn_places"] = pack_places(places, destruction.listed)
        note(tx, now, "condemned", destruction.id, facts)
    return True


def _tally(listing: _Listing, staging: Staging, excused: Mapping[int, int]) -> _Tally:
    plan = staging.plan
    withdrawn = {
        cohort: left for cohort, slots in listing.slots.items() if (left := slots & ~plan.condemned.get(cohort, 0))
    }
    unaccounted = sum(
        (left & ~excused.get(cohort, 0)).bit_count() for cohort, left in withdrawn.items() if listing.is_active
    )
    lost = sum(bits.bit_count() for bits in plan.survivors.values()) - staging.report.survivors_opened
    return _Tally(withdrawn, unaccounted, lost)


def _observed(listing: _Listing, staging: Staging, tally: _Tally) -> dict[str, object]:
    """What the destruction's record says of these steps."""
    observed: dict[str, object] = {
        "graph": asdict(staging.report),
        "pages_rewritten": staging.pages,
        "pages_dropped": len(staging.plan.dropped),
        "mirror_bytes": staging.mirror_bytes,
    }
    if tally.unaccounted:
        observed["not_executed"] = tally.unaccounted
    if listing.ended_at is not None:
        observed |= {"ended_by_custodian_at": listing.ended_at.isoformat(), "survivors_lost": tally.lost}
    return observed


def _note_incidents(tx: Transaction, now: datetime, listing: _Listing, staging: Staging, tally: _Tally) -> None:
    if staging.mirrored_again:
        # Somebody has deleted packs. Nobody is lost by it.
        note(tx, now, "pages mirrored again", listing.destruction.id, {"cohorts": staging.mirrored_again})
    if listing.ended_at is not None and tally.lost:
        # They were to live, and had no copy when the master ended. No destruction.
        note(tx, now, "survivors without a key", listing.destruction.id, {"count": tally.lost})
    if tally.unaccounted:
        note(tx, now, "approved and not executed", listing.destruction.id, {"count": tally.unaccounted})


def _require_no_held_copies(tx: Transaction, plan: Plan) -> None:
    """A condemned record's key must be in no other tree: its master lives on."""
    for cohort, live in keys.live_bitmaps(tx, Tree.HELD, plan.condemned.keys()).items():
        if plan.condemned[cohort] & int.from_bytes(live, "little"):
            message = f"A condemned record of cohort {cohort} still has its key in the held tree."
            raise KeyGraphError(message)


def _same_verdicts(
    tx: Transaction,
    vault: Vault,
    listing: _Listing,
    changed: Mapping[int, int],
    plan: Plan,
) -> bool:
    """Ask the predicate again, for every record of the cohorts in which something happened since the plan."""
    spared = _spared(tx, vault, listing, changed)
    again = plan_tree(tx, listing.destruction.tree, changed, spared, every=listing.ended_at is not None)
    return all(
        again.condemned.get(cohort) == plan.condemned.get(cohort)
        and again.survivors.get(cohort) == plan.survivors.get(cohort)
        for cohort in changed
    )
