"""Holds as the ledger tells them, so that a rebuilt catalogue has them before it serves or destroys anything (H12)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.holding import hold_records, hold_scopes, holds

from .scopes import Clause

__all__ = ["EVENTS", "HeldBy", "store_hold", "store_scopes", "tell"]

EVENTS: Final = frozenset(
    {"hold placed", "hold widened", "hold extended", "hold shortened", "hold ending", "hold parts ended"}
)
_INSTANTS: Final = ("ordered_at", "served_at", "effective_at", "entered_at")
_DATES: Final = ("review_on", "ends_on")


@dataclass(slots=True)
class _End:
    """How a part of a hold ends, as a row has it."""

    ends_at: datetime | None = None
    ending_order: str | None = None
    ended_at: datetime | None = None


@dataclass(slots=True)
class HeldBy:
    """A hold as the ledger tells it."""

    row: dict[str, Any]
    records: dict[str, _End] = field(default_factory=dict)
    scopes: dict[int, tuple[Clause, _End]] = field(default_factory=dict)
    released_at: datetime | None = None

    @property
    def named(self) -> set[str]:
        """Records that it names and protects still."""
        return {record for record, end in self.records.items() if end.ended_at is None}

    def end(self, by: datetime, at: datetime) -> None:
        """End the parts that were to end by an instant, as a release that was condemned does."""
        for end in self._ends():
            if end.ended_at is None and end.ends_at is not None and end.ends_at <= by:
                end.ended_at = at
        if all(end.ended_at is not None for end in self._ends()):
            self.released_at = at

    def add(self, facts: dict[str, Any]) -> None:
        """Take in what was placed or widened; what was to end and is named again goes on."""
        self.records.update({record: _End() for record in facts["records"]})
        self.scopes.update({one["number"]: (Clause.decode(one), _End()) for one in facts["scopes"]})

    def mark(self, facts: dict[str, Any]) -> None:
        """Take in that an order lets parts of it end."""
        chosen = [
            *(end for record, end in self.records.items() if facts["records"] is None or record in facts["records"]),
            *(end for one, (_, end) in self.scopes.items() if facts["scopes"] is None or one in facts["scopes"]),
        ]
        for end in chosen:
            if end.ends_at is None:
                end.ends_at, end.ending_order = datetime.fromisoformat(facts["ends_at"]), facts["order"]

    def _ends(self) -> list[_End]:
        return [*self.records.values(), *(end for _, end in self.scopes.values())]


def tell(known: dict[str, HeldBy], event: str, hold_id: str, at: datetime, facts: dict[str, Any]) -> None:
    """Apply an entry of the ledger, one of `EVENTS`."""
    if event == "hold placed":
        known[hold_id] = HeldBy(_row(facts))
    hold = known[hold_id]
    match event:
        case "hold placed" | "hold widened":
            hold.add(facts)
        case "hold extended" | "hold shortened":
            hold.row.update({name: date.fromisoformat(facts[name]) for name in _DATES if name in facts})
            if "tail_days" in facts:
                hold.row.update(tail_days=facts["tail_days"], tail_reason=None)
        case "hold ending":
            hold.mark(facts)
        case "hold parts ended":
            hold.end(datetime.fromisoformat(facts["by"]), at)


def _row(facts: dict[str, Any]) -> dict[str, Any]:
    row = {name: facts[name] for name in facts if name in holds.c}
    row |= {name: datetime.fromisoformat(row[name]) for name in _INSTANTS if row[name] is not None}
    row |= {name: date.fromisoformat(row[name]) for name in _DATES if row[name] is not None}
    return row | {name: base64.b64decode(row[name]) for name in ("sealed", "seal_tag") if row[name] is not None}


def store_hold(tx: Transaction, hold: HeldBy, cohort_of: dict[str, int]) -> None:
    """Write a hold, and the records that it names as far as they live, into an empty catalogue."""
    tx.execute(sa.insert(holds).values(hold.row | {"released_at": hold.released_at}))
    for record, end in hold.records.items():
        if record in cohort_of:
            tx.execute(
                sa.insert(hold_records).values(
                    hold_id=hold.row["id"],
                    record_id=record,
                    cohort_id=cohort_of[record],
                    ends_at=end.ends_at,
                    ending_order=end.ending_order,
                    ended_at=end.ended_at,
                )
            )


def store_scopes(tx: Transaction, hold: HeldBy) -> None:
    """Write the rules of a hold. Only after the dead have been marked: a rule protects whoever is not."""
    for number, (clause, end) in hold.scopes.items():
        values = {name: getattr(clause, name) for name in Clause.__dataclass_fields__}
        tx.execute(
            sa.insert(hold_scopes).values(
                hold_id=hold.row["id"],
                number=number,
                ends_at=end.ends_at,
                ending_order=end.ending_order,
                ended_at=end.ended_at,
                **values,
            )
        )
