"""Step 0 of a destruction: what would die, and the freezing of the exact list of what is to die."""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystore import MAX_COHORTS, Tree

from .catalogue import Transaction
from .catalogue.destructions import insert_destruction, unfinished
from .clock import civil_date
from .context import Vault, current_policy, note
from .errors import DestructionRefusedError
from .ids import DestructionId, HoldId, new_id
from .log.merkle import tree_hash
from .retention import CONDEMNABLE, Cause, Predicate, count_verdicts, judge
from .staging import revisions_of

__all__ = [
    "MOVE",
    "Forecast",
    "forecast",
    "freeze",
    "freeze_move",
    "freeze_release",
    "pack_slots",
    "predicate_at",
    "unpack_slots",
]

MOVE: Final = "move"
"""The kind of a destruction in which only a master dies, because another takes its place."""
_BITMAP_BYTES: Final = 128
_ROW: Final = struct.Struct(f">I{_BITMAP_BYTES}s")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a destruction would do if it were frozen now."""

    cause: Cause
    would_die: dict[str, int]
    would_live: dict[str, int]


def predicate_at(tx: Transaction, cause: Cause, now: datetime) -> Predicate:
    """The predicate with its inputs at an instant: the day in the program's time zone, the policy's limits."""
    policy = current_policy(tx)
    return Predicate(cause, civil_date(now, policy.zone), now - timedelta(hours=policy.abandon_after_hours))


def forecast(vault: Vault, cause: Cause) -> Forecast:
    """Say what would die and what would not, and why; change nothing."""
    with vault.catalogue.read() as tx:
        counts = count_verdicts(tx, predicate_at(tx, cause, vault.clock.now()))
    dies = {name: count for name, count in counts.items() if name in CONDEMNABLE}
    return Forecast(cause, dies, {name: count for name, count in counts.items() if name not in dies})


def freeze(vault: Vault, cause: Cause, authority: str) -> DestructionId:
    """Step 0: freeze the exact list of what is to die, by the Merkle root over its record ids.

    Raises:
        DestructionRefusedError: another destruction is unfinished.
    """
    now = vault.clock.now()
    with vault.catalogue.read() as tx:
        judged = judge(tx, predicate_at(tx, cause, now))
        revisions = revisions_of(tx)
    listed = [(record_id, cohort, slot) for record_id, cohort, slot, verdict in judged if verdict in CONDEMNABLE]
    not_listed = Counter(verdict for *_, verdict in judged if verdict not in CONDEMNABLE and verdict != "gone")
    return _freeze(vault, cause, Tree.ACTIVE, authority, listed, revisions, not_listed, now)


def freeze_release(
    vault: Vault, hold_id: HoldId, authority: str, listed: Sequence[tuple[str, int, int]]
) -> DestructionId:
    """Step 0 for the release of a hold: the held copies of these records' keys are to die, not the records."""
    # Revision -1 matches nothing: who else holds these records is asked again in any case.
    revisions = {cohort: -1 for _, cohort, _ in listed}
    return _freeze(vault, "release", Tree.HELD, authority, listed, revisions, {}, vault.clock.now(), hold_id=hold_id)


def freeze_move(vault: Vault, tree: Tree, custodian: str, authority: str) -> DestructionId:
    """Step 0 for another master at `custodian`: no record is to die, only the present master of the tree."""
    return _freeze(vault, MOVE, tree, authority, [], {}, {}, vault.clock.now(), moves_to=custodian)


def _freeze(
    vault: Vault,
    kind: str,
    tree: Tree,
    authority: str,
    listed: Sequence[tuple[str, int, int]],
    revisions: Mapping[int, int],
    not_listed: Mapping[str, int],
    now: datetime,
    *,
    hold_id: HoldId | None = None,
    moves_to: str | None = None,
) -> DestructionId:
    slots: dict[int, int] = {}
    for _, cohort, slot in listed:
        slots[cohort] = slots.get(cohort, 0) | 1 << slot
    root = tree_hash(sorted(record_id.encode() for record_id, _, _ in listed))
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
            "order": None,
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
    rows = b"".join(_ROW.pack(cohort, bits.to_bytes(_BITMAP_BYTES, "little")) for cohort, bits in sorted(slots.items()))
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
