"""What there is to say of record ids, one by one, so that none is dropped unnoticed (H7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.schema import destructions, gone_records, record_states
from vault.clocks.clock import civil_date
from vault.context import current_policy
from vault.ids import is_id

__all__ = ["HELD", "UNKNOWN", "living_and_answers"]

HELD: Final = "held"
UNKNOWN: Final = "unknown"
_STATE: Final = sa.union_all(
    sa.select(record_states.c.cohort_id, record_states.c.destruction_id, destructions.c.condemned_at)
    .select_from(record_states)
    .outerjoin(destructions, destructions.c.id == record_states.c.destruction_id)
    .where(record_states.c.id == sa.bindparam("record")),
    sa.select(sa.null(), gone_records.c.destruction_id, destructions.c.condemned_at)
    .select_from(gone_records.join(destructions, destructions.c.id == gone_records.c.destruction_id))
    .where(gone_records.c.id == sa.bindparam("record")),
)


def living_and_answers(tx: Transaction, record_ids: Iterable[str]) -> tuple[dict[str, int], dict[str, str]]:
    """The cohorts of the living among some records, and an answer for each id.

    The answer is `held` for the living, else `unknown`, or the civil date and the destruction by which it died.
    """
    zone = current_policy(tx).zone
    living: dict[str, int] = {}
    answers: dict[str, str] = {}
    for record_id in dict.fromkeys(record_ids):
        row = tx.execute(_STATE, {"record": record_id}).one_or_none() if is_id(record_id) else None
        if row is None:
            answers[record_id] = UNKNOWN
        elif row.destruction_id is not None:
            day = civil_date(row.condemned_at, zone).isoformat()
            answers[record_id] = f"destroyed on {day} by {row.destruction_id}"
        else:
            answers[record_id] = HELD
            living[record_id] = row.cohort_id
    return living, answers
