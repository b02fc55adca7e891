"""What is said of a hold: its kind, whose order it is, its times, and the limits of all that (H1). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from vault.clocks.clock import in_reach
from vault.errors import HoldRefusedError

__all__ = ["REVIEW_DAYS_MAX", "Kind", "Terms", "checked_review", "tail_of"]

REVIEW_DAYS_MAX: Final = 90
"""A hold is looked at again after so many days at the latest (H1)."""
TAIL_DAYS_MAX: Final = 3650
AUTHORITY_CHARACTERS_MAX: Final = 200
REASON_CHARACTERS_MAX: Final = 1000
TAIL_REASON_CHARACTERS_MAX: Final = 500
_DOCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9./:-]{0,59}")


class Kind(StrEnum):
    """On what ground a hold stands."""

    COURT_ORDER = "court-order"
    JUDICIAL_SUBPOENA = "judicial-subpoena"
    FRAUD_CASE = "fraud-case"
    AUDIT = "audit"
    FOIL_PENDING = "foil-pending"
    ANTICIPATED_LITIGATION = "anticipated-litigation"
    STATUTE = "statute"
    SUBJECT_REQUEST = "subject-request"
    EMERGENCY = "emergency"


_LEGAL_ACTION: Final = (Kind.COURT_ORDER, Kind.JUDICIAL_SUBPOENA, Kind.ANTICIPATED_LITIGATION)
LEGAL_ACTION_TAIL_DAYS: Final = 365


@dataclass(frozen=True, slots=True)
class Terms:
    """What a hold says of itself. Instants have their zone set; dates are civil dates of the program."""

    kind: Kind
    authority: str
    """Who ordered it: a court, an office. No names of applicants."""
    docket: str
    reason: str | None = None
    ordered_at: datetime | None = None
    served_at: datetime | None = None
    effective_at: datetime | None = None
    review_on: date | None = None
    """None: as late as it may be."""
    ends_on: date | None = None
    tail_days: int | None = None
    """None: as the policy has it for the kind."""
    tail_reason: str | None = None
    sealed: bool = False

    def __post_init__(self) -> None:
        if not _DOCKET.fullmatch(self.docket):
            message = "A docket has 1 to 60 letters, digits and the signs . / : - (no names: it is kept in the clear)."
            raise HoldRefusedError(message)
        texts = (
            ("authority", self.authority, AUTHORITY_CHARACTERS_MAX),
            ("reason", self.reason, REASON_CHARACTERS_MAX),
            ("reason for the tail", self.tail_reason, TAIL_REASON_CHARACTERS_MAX),
        )
        for name, text, limit in texts:
            if text is not None and not (text.isprintable() and 1 <= len(text.strip()) <= len(text) <= limit):
                message = f"The {name} of a hold has 1 to {limit} printable characters."
                raise HoldRefusedError(message)
        if self.tail_days is not None and not 0 <= self.tail_days <= TAIL_DAYS_MAX:
            message = f"The tail of a hold lasts 0 to {TAIL_DAYS_MAX} days."
            raise HoldRefusedError(message)
        days = (self.ordered_at, self.served_at, self.effective_at, self.review_on, self.ends_on)
        if not all(in_reach(day) for day in days if day is not None):
            message = "The dates of a hold go from 1970 to 8999; leave the end out where there is none."
            raise HoldRefusedError(message)
        if any(at is not None and at.tzinfo is None for at in (self.ordered_at, self.served_at, self.effective_at)):
            message = "The times of a hold need their zone, as in 2016-12-07T14:30:00-05:00."
            raise HoldRefusedError(message)


def tail_of(kind: Kind, chosen: int | None, reason: str | None, policy: Mapping[str, int]) -> int:
    """How many days a hold protects after it was released (H5): as chosen, or as the policy has it for the kind.

    Raises:
        HoldRefusedError: no tail was chosen where there is one by default, and no reason is given.
    """
    usual = policy.get(kind, LEGAL_ACTION_TAIL_DAYS if kind in _LEGAL_ACTION else 0)
    if chosen is None:
        return usual
    if chosen == 0 and usual and reason is None:
        message = f"A {kind} has a tail of {usual} days; one of 0 must give its reason."
        raise HoldRefusedError(message)
    return chosen


def checked_review(review_on: date | None, today: date) -> date:
    """The day of review, 90 days ahead where none is named (H1).

    Raises:
        HoldRefusedError: it is past, or too far ahead.
    """
    last = today + timedelta(days=REVIEW_DAYS_MAX)
    if review_on is None:
        return last
    if not today <= review_on <= last:
        message = f"A hold is reviewed within {REVIEW_DAYS_MAX} days, on {last.isoformat()} at the latest."
        raise HoldRefusedError(message)
    return review_on
