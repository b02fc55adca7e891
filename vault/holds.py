"""Holds on named records: placed in one step and in force on commit; released through the one function.

Placing first commits the hold, which protects at once, and then copies the records' keys into the held
tree. A copy that was cut off is made good by the next start or by `recover`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from keystore import EVERY_SLOT, OpenTree, Rewrite, Tree, TreeChange

from .catalogue import Transaction, keys
from .catalogue.destructions import Destruction, held_slots
from .catalogue.schema import hold_records, holds, record_states, records
from .condemning import Progress
from .context import Vault, note
from .destruction import carry_out
from .errors import NotFoundError, VaultError
from .frozen_lists import freeze_release
from .ids import HoldId, is_id, new_id
from .keyring import grow, open_tree
from .ledger import publish

__all__ = ["HoldLine", "NothingToHoldError", "Placed", "copy_held_keys", "list_holds", "place_hold", "release_hold"]

RECORDS_MAX: Final = 100_000
"""Records one hold can name."""
_DOCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9./:-]{0,59}")


class NothingToHoldError(NotFoundError):
    """None of the records can be held; each has its answer all the same."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__("None of these records can be held: each is unknown or destroyed.")
        self.answers = answers


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of each record id: `held`, `unknown`, or the id of the destruction that was faster."""

    hold_id: HoldId
    answers: dict[str, str]
    repeated: bool


@dataclass(frozen=True, slots=True)
class HoldLine:
    """A hold as it is listed."""

    id: HoldId
    docket: str
    placed_at: datetime
    released_at: datetime | None
    records: int


def place_hold(vault: Vault, record_ids: Collection[str], docket: str) -> Placed:
    """Protect records from every destruction, from now on. The same docket again adds to the same hold.

    Unknown and destroyed ids are answered one by one and do not stop the others.

    Raises:
        VaultError: the docket has other characters than letters, digits and `. / : -`, or too many records.
        NothingToHoldError: none of the records can be held; no hold was placed.
    """
    if not _DOCKET.fullmatch(docket):
        message = "A docket has 1 to 60 letters, digits and the signs . / : - (no names: it is kept in the clear)."
        raise VaultError(message)
    if len(record_ids) > RECORDS_MAX:
        message = f"One hold names at most {RECORDS_MAX} records."
        raise VaultError(message)
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        living, answers = _sort_out(tx, record_ids)
        if not living:
            raise NothingToHoldError(answers)
        known = tx.execute(
            sa.select(holds.c.id).where(holds.c.docket == docket, holds.c.released_at.is_(None))
        ).scalar()
        hold_id = HoldId(known or new_id())
        if known is None:
            tx.execute(sa.insert(holds).values(id=hold_id, docket=docket, placed_at=now))
        already = set(
            tx.execute(sa.select(hold_records.c.record_id).where(hold_records.c.hold_id == hold_id)).scalars()
        )
        added = [
            {"hold_id": hold_id, "record_id": record_id, "cohort_id": cohort}
            for record_id, cohort in living.items()
            if record_id not in already
        ]
        if added:
            tx.execute(sa.insert(hold_records), added)
            ids = [one["record_id"] for one in added]
            note(tx, now, "hold placed", hold_id, {"docket": docket, "records": ids})
    publish(vault)
    copy_held_keys(vault)
    return Placed(hold_id, answers, repeated=not added)


def _sort_out(tx: Transaction, record_ids: Iterable[str]) -> tuple[dict[str, int], dict[str, str]]:
    living: dict[str, int] = {}
    answers: dict[str, str] = {}
    for record_id in dict.fromkeys(record_ids):
        row = None
        if is_id(record_id):
            row = tx.execute(
                sa.select(record_states.c.cohort_id, record_states.c.destruction_id).where(
                    record_states.c.id == record_id
                )
            ).one_or_none()
        if row is None:
            answers[record_id] = "unknown"
        elif row.destruction_id is not None:
            answers[record_id] = f"destroyed by {row.destruction_id}"
        else:
            answers[record_id] = "held"
            living[record_id] = row.cohort_id
    return living, answers


def copy_held_keys(vault: Vault) -> int:
    """Copy the keys of held records into the held tree, where they are not there yet; return how many."""
    with vault.catalogue.read() as tx:
        if not _missing_copies(tx):
            return 0
    copied = 0

    def plan(tx: Transaction, _: OpenTree) -> TreeChange:
        nonlocal copied
        missing = _missing_copies(tx)
        copied = sum(len(slots) for slots in missing.values())
        rewrites: dict[int, Rewrite] = {}
        with open_tree(vault, tx, Tree.ACTIVE) as active:
            for cohort, slots in missing.items():
                with active.page(keys.load_page(tx, Tree.ACTIVE, cohort)) as page:
                    rewrites[cohort] = Rewrite(EVERY_SLOT, {slot: page.key(slot) for slot in slots})
        return TreeChange(rewritten=rewrites)

    def commit(tx: Transaction) -> None:
        note(tx, vault.clock.now(), "held keys copied", "held", {"keys": copied})

    grow(vault, Tree.HELD, plan, commit)
    return copied


def _missing_copies(tx: Transaction) -> dict[int, list[int]]:
    """Slots of held records whose key is in the active tree and not in the held one."""
    wanted: dict[int, int] = {}
    for cohort, slot in held_slots(tx):
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


def release_hold(vault: Vault, hold_id: str, authority: str, progress: Progress = lambda _: None) -> Destruction:
    """Release a hold: the held copies that no other hold protects die with the held tree's old master.

    Until that is condemned the hold protects. Records fall under their old due dates again.

    Raises:
        NotFoundError: there is no such hold in force.
        DestructionRefusedError, BusyError: see `carry_out`; the hold stays in force.
    """
    with vault.catalogue.read() as tx:
        hold = tx.execute(sa.select(holds).where(holds.c.id == hold_id)).one_or_none()
        if hold is None or hold.released_at is not None:
            message = "There is no such hold in force; `shredvault hold list` shows them."
            raise NotFoundError(message)
        listed = [
            (row.id, row.cohort_id, row.slot)
            for row in tx.execute(
                sa.select(records.c.id, records.c.cohort_id, records.c.slot)
                .join(hold_records, hold_records.c.record_id == records.c.id)
                .where(hold_records.c.hold_id == hold_id)
                .order_by(records.c.id)
            )
        ]
    destruction_id = freeze_release(vault, HoldId(hold_id), authority, listed)
    return carry_out(vault, destruction_id, progress)


def list_holds(vault: Vault, *, all_of_them: bool = False) -> list[HoldLine]:
    """Holds in force, or all, oldest first."""
    counts = (
        sa.select(hold_records.c.hold_id, sa.func.count().label("records")).group_by(hold_records.c.hold_id).subquery()
    )
    query = sa.select(holds, counts.c.records).join(counts, counts.c.hold_id == holds.c.id)
    if not all_of_them:
        query = query.where(holds.c.released_at.is_(None))
    with vault.catalogue.read() as tx:
        rows = tx.execute(query.order_by(holds.c.placed_at))
        return [HoldLine(HoldId(r.id), r.docket, r.placed_at, r.released_at, r.records) for r in rows]
