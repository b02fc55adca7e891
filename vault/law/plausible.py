"""The earliest day on which a record can fall due by any policy, so that a due date is not merely believed.

Due dates stand in the catalogue, where the service writes them. Whoever brought them all nearer would have everything
swept in one night under the standing policy, whose approvers signed months and no dates. A due date counts from
completion, once (T2), by the policy that the record was filed under or by a shorter one that came later (P2); nothing
else makes a record due before that, but a mode in which nothing is kept (P3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa

from vault.catalogue.schema import records

from .policy import Policy, due_on
from .schedule import end_of

__all__ = ["Plausible", "last_completion", "plausible_on"]


@dataclass(frozen=True, slots=True)
class Plausible:
    """Which records can be due on a day."""

    completed_before: tuple[tuple[int, datetime], ...]
    """For each version of the policy: what was filed under it and completed at this instant or later is not due."""
    nothing_kept_from: datetime | None
    """What was completed from then on may be due at any time; None: nothing was."""

    def is_early(self) -> sa.ColumnElement[bool]:
        """Whether a row of `records` cannot be due yet, whatever its due date says."""
        early = sa.or_(
            sa.false(),
            *(
                (records.c.policy_version == version) & (records.c.completed_at >= instant)
                for version, instant in self.completed_before
            ),
        )
        return early if self.nothing_kept_from is None else early & (records.c.completed_at < self.nothing_kept_from)


def plausible_on(today: date, policies: Sequence[Policy], nothing_kept_from: datetime | None) -> Plausible:
    """Which records can be due on a day, by all versions of the policy, oldest first."""
    found: list[tuple[int, datetime]] = []
    for policy in reversed(policies):
        end = end_of(last_completion(today, policy.retention_months), policy.zone)
        found.append((policy.version, max(end, found[-1][1]) if found else end))
    return Plausible(tuple(found), nothing_kept_from)


def last_completion(today: date, months: int) -> date:
    """The last day on which a record may have been completed that is due on `today` after so many months (T3)."""
    year, month0 = divmod(today.year * 12 + today.month - 1 - months, 12)
    # Within the month before: its last days all fall due on the same day where the later month is shorter.
    day = date(year, month0 + 1, 1) + timedelta(days=31)
    while due_on(day, months) > today:
        day -= timedelta(days=1)
    return day
