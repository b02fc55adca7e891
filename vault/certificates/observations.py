"""What must have been observed of a destruction before there is a certificate of it, and the dates of its records.

Nothing here is an intention: each value was read back, counted or refused by somebody, and stands in the catalogue
since. Where one is missing the certificate is refused, and the refusal names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.destructions import Destruction
from vault.catalogue.schema import record_states, records
from vault.clocks.clock import civil_date
from vault.errors import CertificateRefusedError
from vault.law.policy import Policy
from vault.law.retention import OF_RECORDS

__all__ = ["FEWEST", "Dates", "dates_of", "failures", "require_observed", "told"]

FEWEST: Final = 10
"""Of fewer records than this no dates are told: they would be dates of persons."""


@dataclass(frozen=True, slots=True)
class Dates:
    """Civil dates of the destroyed records, in the program's zone; None where no record was complete."""

    filed_first: date | None
    filed_last: date | None
    due_first: date | None
    due_last: date | None


def require_observed(destruction: Destruction) -> None:
    """Make sure that everything that a certificate says was observed.

    Raises:
        CertificateRefusedError: something was not, or it was no destruction of records.
    """
    if destruction.kind not in OF_RECORDS:
        message = f"A {destruction.kind} destroys no record, so there is no certificate of it."
        raise CertificateRefusedError(message)
    if destruction.abandoned_at is not None:
        message = "The destruction was undone; nothing was destroyed that a certificate could be of."
        raise CertificateRefusedError(message)
    missing = [name for name, is_there in _observations(destruction) if not is_there]
    if missing:
        message = f"There can be no certificate: it was not observed {', nor '.join(missing)}."
        raise CertificateRefusedError(message)


def _observations(destruction: Destruction) -> list[tuple[str, bool]]:
    seen = destruction.observed
    evidence = seen.get("old_master", {})
    always = [
        ("that the destruction is complete", destruction.completed_at is not None),
        ("who was condemned", destruction.condemned_at is not None and destruction.condemned is not None),
        ("that every process let go of the old keys", destruction.fenced_at is not None),
    ]
    if not destruction.listed:
        # No key had to die for an empty list.
        return always
    return [
        *always,
        ("that every survivor has its key", bool(seen.get("graph"))),
        ("which processes there were", "nodes_confirmed" in seen),
        ("what the clocks said", bool(seen.get("time_sources"))),
        ("that the custodian has the old master no more", evidence.get("state_read_back") == "absent"),
        ("that the custodian refuses to use it", int(evidence.get("refused_uses", 0)) > 0),
        ("what the custodian's word is worth", bool(seen.get("assurance"))),
        ("which masters there were", destruction.old_master is not None and destruction.new_master is not None),
    ]


def failures(destruction: Destruction) -> int:
    """Records on the list that were neither withdrawn nor destroyed: their keys were missing when it came to them."""
    return int(destruction.observed.get("not_executed", 0))


def dates_of(tx: Transaction, destruction: Destruction, policy: Policy) -> Dates | None:
    """The dates of what was destroyed; None where there were too few records to tell any.

    Raises:
        CertificateRefusedError: records were reclaimed before their dates were read.
    """
    state, gone = record_states.c, sa.case((records.c.reclaimed, 1), else_=0)
    row = tx.execute(
        sa.select(
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(gone), 0),
            sa.func.min(state.completed_at),
            sa.func.max(state.completed_at),
            sa.func.min(state.due_on),
            sa.func.max(state.due_on),
        )
        .select_from(record_states.join(records, records.c.id == state.id))
        .where(state.destruction_id == destruction.id)
    ).one()
    count, reclaimed, filed_first, filed_last, due_first, due_last = row
    if count != destruction.condemned or reclaimed:
        message = "There can be no certificate: records were reclaimed before their dates were read."
        raise CertificateRefusedError(message)
    if count < FEWEST or filed_first is None:
        return None
    zone = policy.zone
    return Dates(civil_date(filed_first, zone), civil_date(filed_last, zone), due_first, due_last)


def told(dates: Dates | None) -> dict[str, Any] | None:
    """Dates for the certificate."""
    if dates is None:
        return None
    return {
        "filed": _range(dates.filed_first, dates.filed_last),
        "due": _range(dates.due_first, dates.due_last),
    }


def _range(first: date | None, last: date | None) -> dict[str, str] | None:
    return None if first is None or last is None else {"first": first.isoformat(), "last": last.isoformat()}
