"""Step 0 of a destruction: what would die, and the freezing of the exact list of what is to die."""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from keystore import COHORT_BITMAP_BYTES, MAX_COHORTS, Tree
from vault.catalogue import Transaction
from vault.catalogue.destructions import insert_destruction, unfinished
from vault.clocks.clock import civil_date
from vault.context import Vault, current_policy, note
from vault.errors import DestructionRefusedError, OrderRefusedError
from vault.ids import DestructionId, HoldId, OrderId, new_id
from vault.law.plausible import Plausible, plausible_on
from vault.law.retention import CONDEMNABLE, Cause, Predicate, Verdict, count_verdicts, judge, judge_named
from vault.orders.accepting import load_order, require_order, verify_again
from vault.orders.actions import Action
from vault.orders.adopting import approvals_of, policy_of, verify_lineage, verify_standing
from vault.orders.lists import require_list, root_of
from vault.sunset.latched import authority_of, latched_sunsets, verify_latched
from vault.sunset.no_retain import nothing_kept_from, versions_of
from vault.trees.ended import ended_at, has_ended
from vault.trees.staging import revisions_of

__all__ = [
    "Forecast",
    "KeysOnly",
    "forecast",
    "forecast_ordered",
    "freeze_move",
    "freeze_ordered",
    "freeze_release",
    "freeze_sunset",
    "freeze_sweep",
    "pack_slots",
    "predicate_at",
    "unpack_slots",
]

_ROW: Final = struct.Struct(f">I{COHORT_BITMAP_BYTES}s")


class KeysOnly(StrEnum):
    """Kinds of destructions in which no record dies. The others are those of `Cause`."""

    RELEASE = "release"
    """Copies of keys in the held tree die with the parts of a hold."""
    MOVE = "move"
    """Only a master dies, because another takes its place."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a destruction would do if it were frozen now."""

    cause: Cause
    would_die: dict[str, int]
    would_live: dict[str, int]
    blind: bool = False
    """As if there were no sealed holds: at most so many would die."""


def predicate_at(
    tx: Transaction, cause: Cause, now: datetime, *, ended: bool = False, blind: bool = False
) -> Predicate:
    """The predicate with its inputs at an instant: the day in the program's time zone, the policy's limits.

    `ended`: the active tree's master was ended at the deadline (`vault.trees.ended`). `blind`: as if there were no
    sealed holds.
    """
    policy = current_policy(tx)
    given_up = now - timedelta(hours=policy.abandon_after_hours)
    # S4: only what has latched, as this transaction sees it.
    sunken = latched_sunsets(tx, now) if cause in (Cause.SUNSET, Cause.SWEEP) else ()
    today = civil_date(now, policy.zone)
    plausible = _plausible_on(tx, today) if cause is Cause.SWEEP else None
    return Predicate(cause, today, given_up, sunken, ended, blind, plausible)


def _plausible_on(tx: Transaction, today: date) -> Plausible:
    versions = versions_of(tx)
    return plausible_on(today, [policy for _, policy in versions], nothing_kept_from(tx, versions))


def forecast(vault: Vault, cause: Cause) -> Forecast:
    """Say what would die and what would not, and why; change nothing."""
    # H11: where everything goes, whoever is not eligible is held under seal; that is not told beforehand.
    blind = cause in (Cause.SCRUB, Cause.DESTROY)
    with vault.catalogue.read() as tx:
        counts = count_verdicts(tx, predicate_at(tx, cause, vault.clock.now(), blind=blind))
    dies = {name: count for name, count in counts.items() if name in CONDEMNABLE}
    return Forecast(cause, dies, {name: count for name, count in counts.items() if name not in dies}, blind)


def forecast_ordered(vault: Vault, order_id: str, action: Action) -> Forecast:
    """Say what would become of the list of an order if it were carried out now; change nothing.

    Raises:
        NotFoundError: there is no such order.
        OrderRefusedError: it gives no authority for `action` now, or its list is void.
    """
    now, cause = vault.clock.now(), Cause(action)
    with vault.catalogue.read() as tx:
        accepted = require_order(tx, order_id, action, now)
        _, listed = require_list(tx, accepted.order, now)
        judged = judge_named(tx, predicate_at(tx, cause, now, blind=True), [one[0] for one in listed])
    counts = Counter(verdict for _, _, verdict in judged.values())
    dies = {name: count for name, count in counts.items() if name in CONDEMNABLE}
    return Forecast(cause, dies, {name: count for name, count in counts.items() if name not in dies}, blind=True)


def freeze_sweep(vault: Vault) -> DestructionId:
    """Step 0 of a sweep, under the standing authority of the policy: freeze the exact list of what is to die.

    Raises:
        NotApprovedError: the policy lacks approvals.
        OrderRefusedError: an approval of the policy does not verify any more.
        DestructionRefusedError: another destruction is unfinished.
    """
    policy = verify_standing(vault)
    with vault.catalogue.read() as tx:
        approvers = ", ".join(one.person for one in approvals_of(tx, policy.version))
    return _freeze_judged(vault, Cause.SWEEP, f"standing policy version {policy.version}, approved by {approvers}")


def freeze_sunset(vault: Vault) -> DestructionId:
    """Step 0 after the deadline of a sunset: its outcome has latched, which needs nobody's order any more (S4).

    Raises:
        NotApprovedError, OrderRefusedError: the policy lacks approvals, or one does not verify any more.
        DestructionRefusedError: no sunset has latched, or another destruction is unfinished.
    """
    verify_standing(vault)
    with vault.catalogue.read() as tx:
        found = authority_of(tx, vault.clock.now())
        if found is None:
            message = "No sunset has latched that destroys anything; nothing was destroyed."
            if ended_at(vault, tx, Tree.ACTIVE) is not None:
                message += (
                    " But the master key of the active tree has ended with the deadline, against what was decided: "
                    "what no hold protects is lost, an incident. `shredvault rebuild --leave-lost` goes on without it."
                )
            raise DestructionRefusedError(message)
        verify_latched(tx)
        text, decision = found.text, load_order(tx, found.order_id) if found.order_id else None
        under = policy_of(tx, decision.policy_version) if decision else None
    if decision is not None and under is not None:
        # Whoever can write in the catalogue cannot sign.
        verify_again(decision, under)
        text = f"{text}, approved by {', '.join(one.person for one in decision.approvals)}"
    order_id = decision.id if decision is not None else None
    return _freeze_judged(vault, Cause.SUNSET, text, order_id=order_id, ended=has_ended(vault))


def _freeze_judged(
    vault: Vault, cause: Cause, authority: str, *, order_id: OrderId | None = None, ended: bool = False
) -> DestructionId:
    """Freeze whatever the predicate lets die now."""
    now = vault.clock.now()
    with vault.catalogue.read() as tx:
        judged = judge(tx, predicate_at(tx, cause, now, ended=ended))
        revisions = revisions_of(tx)
    listed = [(record_id, cohort, slot) for record_id, cohort, slot, verdict in judged if verdict in CONDEMNABLE]
    silent = {*CONDEMNABLE, Verdict.GONE}
    if cause is Cause.SWEEP:
        # H11: of those who are due, these are the ones that sealed holds keep; a certificate would count them.
        silent.add(Verdict.NOT_ELIGIBLE)
    not_listed = Counter(verdict for *_, verdict in judged if verdict not in silent)
    return _freeze(vault, cause, Tree.ACTIVE, authority, listed, revisions, not_listed, now, order_id=order_id)


def freeze_ordered(vault: Vault, order_id: str) -> DestructionId:
    """Step 0 of a destruction under an order: the list that its signers saw, and not a record more.

    The list's root is computed again, and the signatures are verified again: whoever can write in the catalogue cannot
    sign. Who is held by now, or gone, is withdrawn when the rest is condemned; who was filed since is not on it.

    Raises:
        NotFoundError: there is no such order.
        OrderRefusedError: it gives no authority now, or its list is void.
        DestructionRefusedError: another destruction is unfinished.
    """
    now = vault.clock.now()
    with vault.catalogue.read() as tx:
        accepted = load_order(tx, order_id)
        if accepted.action not in (Action.SCRUB, Action.DESTROY):
            message = f"The order is one to {accepted.action}; it destroys no records."
            raise OrderRefusedError(message)
        require_order(tx, order_id, accepted.action, now)
        stored, listed = require_list(tx, accepted.order, now)
    verify_again(accepted, verify_lineage(vault))
    # Revision -1 matches nothing: every cohort is judged again when the tree is staged.
    revisions = {cohort: -1 for _, cohort, _ in listed}
    return _freeze(
        vault,
        Cause(accepted.action),
        Tree.ACTIVE,
        accepted.authority,
        listed,
        revisions,
        stored.not_listed,
        now,
        order_id=accepted.id,
    )


def freeze_release(
    vault: Vault, hold_id: HoldId, authority: str, listed: Sequence[tuple[str, int, int]], now: datetime
) -> DestructionId:
    """Step 0 for the end of a hold's parts: the held copies of these records' keys are to die, not the records.

    The parts that end are those that were to end by `now`.
    """
    # Revision -1 matches nothing: who else holds these records is asked again in any case.
    revisions = {cohort: -1 for _, cohort, _ in listed}
    return _freeze(vault, KeysOnly.RELEASE, Tree.HELD, authority, listed, revisions, {}, now, hold_id=hold_id)


def freeze_move(vault: Vault, tree: Tree, custodian: str, authority: str) -> DestructionId:
    """Step 0 for another master at `custodian`: no record is to die, only the present master of the tree."""
    return _freeze(vault, KeysOnly.MOVE, tree, authority, [], {}, {}, vault.clock.now(), moves_to=custodian)


def _freeze(
    vault: Vault,
    kind: Cause | KeysOnly,
    tree: Tree,
    authority: str,
    listed: Sequence[tuple[str, int, int]],
    revisions: Mapping[int, int],
    not_listed: Mapping[str, int],
    now: datetime,
    *,
    order_id: OrderId | None = None,
    hold_id: HoldId | None = None,
    moves_to: str | None = None,
) -> DestructionId:
    slots: dict[int, int] = {}
    for _, cohort, slot in listed:
        slots[cohort] = slots.get(cohort, 0) | 1 << slot
    root = root_of(record_id for record_id, _, _ in listed)
    destruction_id = DestructionId(new_id())
    with vault.catalogue.write() as tx:
        policy_version = current_policy(tx).version
        pending = unfinished(tx)
        if pending:
            message = f"Destruction {pending[0].id} is unfinished; run `shredvault recover` first."
            raise DestructionRefusedError(message)
        facts = {
            "kind": kind,
            "tree": tree,
            "authority": authority,
            "order": order_id,
            "policy": policy_version,
            "hold": hold_id,
            "listed": len(listed),
            "list_root": root.hex(),
            "not_listed": dict(not_listed),
            "slots": pack_slots(slots),
        }
        insert_destruction(
            tx,
            slots,
            revisions,
            id=destruction_id,
            kind=kind,
            tree=tree,
            authority=authority,
            order_id=order_id,
            policy_version=policy_version,
            hold_id=hold_id,
            moves_to=moves_to,
            list_root=root,
            listed=len(listed),
            not_listed=dict(not_listed),
            observed={},
            frozen_at=now,
        )
        note(tx, now, "list frozen", destruction_id, facts)
    return destruction_id


def pack_slots(slots: Mapping[int, int]) -> str:
    """Bitmaps of slots by cohort, for the ledger: 4 bytes of cohort and 128 of bitmap each, deflated, in base64."""
    rows = b"".join(
        _ROW.pack(cohort, bits.to_bytes(COHORT_BITMAP_BYTES, "little")) for cohort, bits in sorted(slots.items())
    )
    return base64.b64encode(zlib.compress(rows)).decode("ascii")


def unpack_slots(text: str) -> dict[int, int]:
    """What `pack_slots` packed.

    Raises:
        ValueError: it did not.
    """
    try:
        rows = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), MAX_COHORTS * _ROW.size)
        return {cohort: int.from_bytes(bits, "little") for cohort, bits in _ROW.iter_unpack(rows)}
    except (zlib.error, struct.error) as broken:
        message = "these are no packed slots"
        raise ValueError(message) from broken
