"""Masters that were destroyed and are at their custodians again, as the journal tells of them.

Somebody has restored a backup of the custodian. That such a master was found is journaled before it is destroyed again,
and that it was destroyed only when that was seen; between the two it is an alarm.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.schema import journal

__all__ = ["DIED_AGAIN", "RETURNED", "still_returned"]

RETURNED: Final = "destroyed master found again"
"""The journal's word for a master that was at its custodian after its destruction."""
DIED_AGAIN: Final = "returned master destroyed again"


def still_returned(tx: Transaction) -> set[str]:
    """The names of masters that were found again, and of which nobody has seen since that they are gone."""
    query = sa.select(journal.c.event, journal.c.subject).where(journal.c.event.in_((RETURNED, DIED_AGAIN)))
    last = {row.subject: row.event for row in tx.execute(query.order_by(journal.c.id))}
    return {name for name, event in last.items() if event == RETURNED}
