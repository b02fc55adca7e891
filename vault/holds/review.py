"""Holds as people look at them: lists, states, and what somebody must do about them (H1, H4).

A sealed hold is in no list but counsel's, and in no alarm but there (H11).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.holding import hold_records, hold_scopes, holds, record_holds
from vault.clocks.clock import civil_date
from vault.context import Vault, current_policy
from vault.errors import NotFoundError
from vault.ids import HoldId

from .answers import HELD, living_and_answers
from .late import late_holds

__all__ = ["HoldLine", "HoldState", "ScopeLine", "answer_for", "attention", "list_holds", "show_hold", "state_of"]


class HoldState(StrEnum):
    """Where a hold stands. All but the last protect."""

    IN_FORCE = "in force"
    REVIEW_DUE = "review due"
    EXPIRED_UNCONFIRMED = "expired-unconfirmed"
    """Its end date has passed, and nobody has released it: it protects, and alarms every day (H4)."""
    ENDING = "ending"
    """Released by an order; it protects until its tail is over (H5)."""
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class ScopeLine:
    """A rule of a hold."""

    number: int
    filed_from: date | None
    filed_to: date | None
    center: str | None
    includes_future: bool
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class HoldLine:
    """A hold as it is listed. Authority, docket and reason of a sealed one are None."""

    id: HoldId
    kind: str
    authority: str | None
    docket: str | None
    reason: str | None
    sealed: bytes | None
    state: HoldState
    ordered_at: datetime | None
    served_at: datetime | None
    effective_at: datetime | None
    entered_at: datetime
    review_on: date
    ends_on: date | None
    tail_days: int
    tail_reason: str | None
    placer: str
    ends_at: datetime | None
    """When its last part ends, where all of them are to end."""
    released_at: datetime | None
    records: int
    """Records that it names and protects."""
    scopes: list[ScopeLine]


def state_of(review_on: date, ends_on: date | None, today: date, *, ending: bool, released: bool) -> HoldState:
    """Where a hold stands on a civil date. Pure."""
    if released:
        return HoldState.RELEASED
    if ending:
        return HoldState.ENDING
    if ends_on is not None and today > ends_on:
        return HoldState.EXPIRED_UNCONFIRMED
    return HoldState.REVIEW_DUE if today >= review_on else HoldState.IN_FORCE


def list_holds(vault: Vault, *, all_of_them: bool = False, for_counsel: bool = False) -> list[HoldLine]:
    """Holds that protect, or all, oldest first; sealed ones for counsel only."""
    query = sa.select(holds)
    if not all_of_them:
        query = query.where(holds.c.released_at.is_(None))
    if not for_counsel:
        query = query.where(holds.c.sealed.is_(None))
    with vault.catalogue.read() as tx:
        today = civil_date(vault.clock.now(), current_policy(tx).zone)
        rows = tx.execute(query.order_by(holds.c.entered_at, holds.c.id)).all()
        return [_line(tx, row, today) for row in rows]


def show_hold(vault: Vault, hold_id: str, *, for_counsel: bool = False) -> tuple[HoldLine, int]:
    """One hold, and how many living records it protects.

    Raises:
        NotFoundError: there is none, or it is sealed and this is not for counsel.
    """
    query = sa.select(holds).where(holds.c.id == hold_id)
    if not for_counsel:
        query = query.where(holds.c.sealed.is_(None))
    with vault.catalogue.read() as tx:
        row = tx.execute(query).one_or_none()
        if row is None:
            message = "There is no such hold; `shredvault hold list --all` shows them."
            raise NotFoundError(message)
        count = sa.select(sa.func.count(sa.distinct(record_holds.c.record_id)))
        matched = tx.execute(count.where(record_holds.c.hold_id == hold_id)).scalar_one()
        today = civil_date(vault.clock.now(), current_policy(tx).zone)
        return _line(tx, row, today), matched


def attention(vault: Vault, *, for_counsel: bool = False) -> list[str]:
    """What somebody must do about holds, in sentences. Said every day until it is done (H4)."""
    found = []
    for hold in list_holds(vault, for_counsel=for_counsel):
        name = f"Hold {hold.id}, docket {hold.docket}," if hold.docket else f"Sealed hold {hold.id}"
        if hold.state is HoldState.EXPIRED_UNCONFIRMED:
            found.append(
                f"{name} was to end on {hold.ends_on}; it protects until it is extended, or released by an order."
            )
        elif hold.state is HoldState.REVIEW_DUE:
            found.append(f"{name} was to be reviewed by {hold.review_on}: `shredvault hold extend`.")
    with vault.catalogue.read() as tx:
        found += [late.text for late in late_holds(tx, for_counsel=for_counsel)]
    return found


def answer_for(vault: Vault, record_ids: Iterable[str]) -> dict[str, str]:
    """What there is to say of each record id: held, in the vault, unknown, or destroyed and by what (H7).

    A record that only a sealed hold protects is `in the vault` like one that nothing protects (H11).
    """
    with vault.catalogue.read() as tx:
        _, answers = living_and_answers(tx, record_ids)
        openly = (
            sa.select(sa.literal(1))
            .select_from(record_holds)
            .join(holds, holds.c.id == record_holds.c.hold_id)
            .where(record_holds.c.record_id == sa.bindparam("record"), holds.c.sealed.is_(None))
            .limit(1)
        )
        return {
            one: "in the vault" if answer == HELD and not tx.execute(openly, {"record": one}).scalar() else answer
            for one, answer in answers.items()
        }


def _line(tx: Transaction, row: sa.Row[Any], today: date) -> HoldLine:
    protects = (hold_records.c.hold_id == row.id) & hold_records.c.ended_at.is_(None)
    named = tx.execute(
        sa.select(sa.func.count(), sa.func.count(hold_records.c.ends_at), sa.func.max(hold_records.c.ends_at)).where(
            protects
        )
    ).one()
    scopes = [
        ScopeLine(one.number, one.filed_from, one.filed_to, one.center, one.captured_by is None, one.ends_at)
        for one in tx.execute(
            sa.select(hold_scopes)
            .where(hold_scopes.c.hold_id == row.id, hold_scopes.c.ended_at.is_(None))
            .order_by(hold_scopes.c.number)
        )
    ]
    ends = [scope.ends_at for scope in scopes] + [named[2]] * (named[0] > 0)
    ending = bool(ends) and named[0] == named[1] and all(ends)
    released = row.released_at is not None
    fields = {name: value for name, value in row._asdict().items() if name not in ("id", "seal_tag")}
    return HoldLine(
        id=HoldId(row.id),
        state=state_of(row.review_on, row.ends_on, today, ending=ending, released=released),
        ends_at=max(at for at in ends if at is not None) if ending else None,
        records=named[0],
        scopes=scopes,
        **fields,
    )
