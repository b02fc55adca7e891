"""The tables of holds, and who is held: asked of the view `record_holds`, here and in the rules of the schema alike.

A hold protects by its parts: records that it names, and scopes that match records by the dates and centers of their
filing. A part protects from its commit until `ended_at`; nothing else about a hold weakens it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from .engine import Transaction
from .schema import Instant, metadata, records

__all__ = ["end_parts", "held_slots", "hold_records", "hold_scopes", "holds", "is_held", "record_holds"]

holds = sa.Table(
    "holds",
    metadata,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("kind", sa.String(24), nullable=False),
    # H11: of a sealed hold these three are in the seal, and nowhere else.
    sa.Column("authority", sa.String(200)),
    sa.Column("docket", sa.String(60)),
    sa.Column("reason", sa.String(1000)),
    sa.Column("sealed", sa.LargeBinary),
    # A keyed tag of authority and docket, so that the same sealed hold is known when it is placed again (H2).
    sa.Column("seal_tag", sa.LargeBinary(32)),
    sa.Column("ordered_at", Instant),
    sa.Column("served_at", Instant),
    sa.Column("effective_at", Instant),
    sa.Column("entered_at", Instant, nullable=False),
    sa.Column("review_on", sa.Date, nullable=False),
    # H4: nothing ends on this date; somebody is told.
    sa.Column("ends_on", sa.Date),
    sa.Column("tail_days", sa.Integer, nullable=False),
    sa.Column("tail_reason", sa.String(500)),
    sa.Column("placer", sa.String(80), nullable=False),
    sa.Column("released_at", Instant),
    sa.CheckConstraint(
        "(sealed IS NULL) = (docket IS NOT NULL) AND (sealed IS NULL) = (authority IS NOT NULL) "
        "AND (sealed IS NULL OR reason IS NULL) AND (sealed IS NULL) = (seal_tag IS NULL)",
        name="sealed_or_clear",
    ),
    sa.CheckConstraint("tail_days >= 0", name="tail_days"),
)

hold_records = sa.Table(
    "hold_records",
    metadata,
    sa.Column("hold_id", sa.String(26), sa.ForeignKey("holds.id"), primary_key=True),
    sa.Column("record_id", sa.String(26), sa.ForeignKey("records.id"), primary_key=True),
    sa.Column("cohort_id", sa.Integer, sa.ForeignKey("cohorts.id"), nullable=False),
    # When this part is to end, its tail included (H5), and by which order (H3). It protects until `ended_at`.
    sa.Column("ends_at", Instant),
    sa.Column("ending_order", sa.String(26), sa.ForeignKey("orders.id")),
    sa.Column("ended_at", Instant),
    sa.Index("ix_hold_records_record_id", "record_id"),
    sa.Index("ix_hold_records_cohort_id", "cohort_id"),
)

hold_scopes = sa.Table(
    "hold_scopes",
    metadata,
    sa.Column("hold_id", sa.String(26), sa.ForeignKey("holds.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    # As it was ordered: the first and the last civil date of filing.
    sa.Column("filed_from", sa.Date),
    sa.Column("filed_to", sa.Date),
    # The same as instants: opened or completed at or after, and before. None: no limit.
    sa.Column("since", Instant),
    sa.Column("until", Instant),
    # Label of a center's token. None: every center.
    sa.Column("center", sa.String(80)),
    # None: future captures too. Else only records that were opened by then.
    sa.Column("captured_by", Instant),
    sa.Column("ends_at", Instant),
    sa.Column("ending_order", sa.String(26), sa.ForeignKey("orders.id")),
    sa.Column("ended_at", Instant),
)

record_holds = sa.Table(
    "record_holds",
    sa.MetaData(),
    sa.Column("record_id", sa.String(26)),
    sa.Column("cohort_id", sa.Integer),
    sa.Column("slot", sa.Integer),
    sa.Column("spared", sa.Boolean),
    sa.Column("hold_id", sa.String(26)),
    sa.Column("ends_at", Instant),
)
"""One row for each living record and each part of a hold that protects it."""


def is_held(*, openly: bool = False) -> sa.ColumnElement[bool]:
    """Whether a row of `records` is held; `openly`: by a hold that is not sealed (H11)."""
    query = sa.select(sa.literal(1)).select_from(record_holds).where(record_holds.c.record_id == records.c.id)
    if openly:
        query = query.join(holds, holds.c.id == record_holds.c.hold_id).where(holds.c.sealed.is_(None))
    return sa.exists(query.correlate(records))


def held_slots(
    tx: Transaction, *, but_not: tuple[str, datetime] | None = None, at: datetime | None = None
) -> list[tuple[int, int]]:
    """(cohort, slot) of every record that is held.

    Args:
        tx: the state that is asked.
        but_not: leave out the parts of one hold that were to end by an instant: (hold, instant).
        at: leave out every part that was to end by this instant.
    """
    query: sa.Select[Any] = sa.select(record_holds.c.cohort_id, record_holds.c.slot).distinct()
    goes_on = record_holds.c.ends_at.is_(None)
    if but_not is not None:
        hold_id, by = but_not
        query = query.where((record_holds.c.hold_id != hold_id) | goes_on | (record_holds.c.ends_at > by))
    if at is not None:
        query = query.where(goes_on | (record_holds.c.ends_at > at))
    return [(row.cohort_id, row.slot) for row in tx.execute(query)]


def end_parts(tx: Transaction, hold_id: str, by: datetime, now: datetime) -> bool:
    """End the parts of a hold that were to end by an instant; the hold is released when it has no other.

    Returns whether it is released.
    """
    for parts in (hold_records, hold_scopes):
        ending = (parts.c.hold_id == hold_id) & parts.c.ended_at.is_(None) & (parts.c.ends_at <= by)
        tx.execute(sa.update(parts).where(ending).values(ended_at=now))
    left = (
        sa.select(sa.literal(1)).where(parts.c.hold_id == hold_id, parts.c.ended_at.is_(None)).limit(1)
        for parts in (hold_records, hold_scopes)
    )
    if any(tx.execute(query).scalar() for query in left):
        return False
    tx.execute(sa.update(holds).where(holds.c.id == hold_id).values(released_at=now))
    return True
