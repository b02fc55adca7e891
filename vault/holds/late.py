"""Holds that came after the condemning: what counsel is told of them, until somebody has answered that they know.

It is an entry of the ledger, so it outlives the answer to whoever placed the hold, and the catalogue. The alarm that
follows from it ends with another entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.filed import record_state
from vault.catalogue.schema import destructions, journal
from vault.context import Vault, note
from vault.errors import HoldRefusedError, NotFoundError
from vault.ids import new_id
from vault.law.retention import OF_RECORDS
from vault.ledger.publishing import publish
from vault.wording import number_of

from .answers import HELD, UNKNOWN

__all__ = ["Late", "acknowledge_late", "late_holds", "note_late"]

NAME_CHARACTERS_MAX: Final = 80
_CAME: Final = "hold came too late"
_KNOWN: Final = "late hold acknowledged"


@dataclass(frozen=True, slots=True)
class Late:
    """A hold that named what was condemned by then, or came while a destruction could not be stopped any more."""

    entry: int
    """Its number in the ledger."""
    at: datetime
    hold_id: str | None
    """None: nothing that it named lived, and no hold was placed."""
    docket: str | None
    sealed: bool
    records: int
    """Named records that were condemned or destroyed."""
    destructions: tuple[str, ...]

    @property
    def text(self) -> str:
        """What counsel is told."""
        name = f"Hold {self.hold_id}" if self.hold_id else "A hold that could not be placed"
        name += f", docket {self.docket}," if self.docket else ""
        named = number_of(self.records, "record")
        what = f"for {named} that it names" if self.records else "for what was being destroyed"
        return (
            f"{name} came too late {what}: {', '.join(self.destructions)}. Tell counsel, and then "
            f"`shredvault hold acknowledge {self.entry}`."
        )


def note_late(
    tx: Transaction,
    hold_id: str | None,
    docket: str | None,
    answers: Mapping[str, str],
    now: datetime,
    *,
    by_rule: bool,
) -> None:
    """Journal what a hold came too late for, once for the same hold and records; nothing where it came in time.

    Args:
        tx: the transaction that places or widens it.
        hold_id: None where none was placed.
        docket: None where it is sealed.
        answers: of the records that it names.
        now: the instant of the entry.
        by_rule: it has rules too, which may match what is being destroyed just now.
    """
    died: dict[str, str] = {}
    for record_id, answer in answers.items():
        if answer not in (HELD, UNKNOWN):
            dead = record_state(tx, record_id)
            assert dead is not None
            died[record_id] = dead.destruction_id
    under_way = destructions.c.condemned_at.is_not(None) & destructions.c.completed_at.is_(None)
    of_records = under_way & destructions.c.kind.in_(OF_RECORDS)
    dying = tx.execute(sa.select(destructions.c.id).where(of_records)).scalars().all() if by_rule else ()
    by = sorted({*died.values(), *dying})
    if not by:
        return
    facts = {"hold": hold_id, "docket": docket, "sealed": docket is None, "records": sorted(died), "destructions": by}
    before = tx.execute(sa.select(journal.c.facts).where(journal.c.event == _CAME)).scalars()
    if facts not in list(before):
        note(tx, now, _CAME, hold_id or new_id(), facts)


def late_holds(tx: Transaction, *, for_counsel: bool = False) -> list[Late]:
    """Those of which nobody has answered that they know, oldest first; sealed ones for counsel only (H11)."""
    rows = tx.execute(sa.select(journal).where(journal.c.event.in_([_CAME, _KNOWN])).order_by(journal.c.id))
    found: dict[int, Late] = {}
    for row in rows:
        if row.event == _KNOWN:
            found.pop(int(row.subject), None)
            continue
        facts = row.facts
        by = tuple(facts["destructions"])
        died = len(facts["records"])
        found[row.id] = Late(row.id, row.at, facts["hold"], facts["docket"], facts["sealed"], died, by)
    return [one for one in found.values() if for_counsel or not one.sealed]


def acknowledge_late(vault: Vault, entry: int, who: str) -> None:
    """Write down that counsel knows of a hold that came too late; its alarm ends.

    Raises:
        NotFoundError: there is no such entry that nobody has answered.
        HoldRefusedError: nobody is named, or too long.
    """
    if not (who.isprintable() and 1 <= len(who.strip()) <= len(who) <= NAME_CHARACTERS_MAX):
        message = f"Whoever knows is named in 1 to {NAME_CHARACTERS_MAX} printable characters."
        raise HoldRefusedError(message)
    with vault.catalogue.write() as tx:
        if entry not in {one.entry for one in late_holds(tx, for_counsel=True)}:
            message = "There is no hold that came too late under this number; `shredvault status` shows them."
            raise NotFoundError(message)
        note(tx, vault.clock.now(), _KNOWN, str(entry), {"by": who})
    publish(vault)
