"""What somebody must be told: for `status`, its exit code, the metrics, and whoever keeps something (T5, S3, S6, S7).

Of time and deadlines, of masters that end wrongly or came back, and of what others wrote into the catalogue. A missed
deadline is a failure like a lost record, and both follow from clocks that cannot be trusted; so near a deadline a
suspicion is the loudest alarm of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from keystore import Tree
from vault.catalogue import Transaction, keys
from vault.catalogue.schema import journal
from vault.clocks.clock import civil_date
from vault.context import Vault, current_policy
from vault.destruction.frozen_lists import predicate_at
from vault.destruction.overdue import Overdue, overdue_of
from vault.destruction.returned import DIED_AGAIN, still_returned
from vault.law.policy import Policy, Sunset
from vault.law.retention import Cause, count_early
from vault.law.schedule import end_of, latest_cut_off
from vault.orders.order import spell_instant
from vault.sunset.ending import wrong_end
from vault.sunset.latched import latched_rows, standing_outcome, unbelieved_sunsets
from vault.sunset.latching import forecast_duration
from vault.timekeeping import TimeState, time_state
from vault.wording import number_of

__all__ = ["Alarms", "Deadline", "alarms_of", "spoken_alarms", "spoken_renewal"]

_NEAR: Final = timedelta(days=7)
_RETURNS_TOLD: Final = timedelta(days=30)
"""How long it is told that a destroyed master was found again."""
_NIGHT: Final = timedelta(hours=36)
"""The next nightly sweep has begun in a day, and may take twelve hours."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The sunset of the policy in force."""

    day: date
    ends_at: datetime
    days_left: int
    """Negative when it is over."""
    outcome: str
    """What has latched, or what would if nobody decided anything more."""
    order_id: str | None
    latched_at: datetime | None
    decision_cut_off: date
    latest_cut_off: date
    """The last day that leaves time for the destruction, by the rates that were measured here (S3)."""
    forecast: timedelta


@dataclass(frozen=True, slots=True)
class Alarms:
    """Counts and dates."""

    time: TimeState
    overdue: Overdue
    deadline: Deadline | None
    ends_wrongly: datetime | None = None
    """When the active tree's master ends by itself, though it is decided by now that it must not (S7)."""
    ends_wrongly_in: timedelta | None = None
    """How long that is from now."""
    ended_at: datetime | None = None
    """When the active tree's master was to end by itself; until the sunset is carried out nothing is filed."""
    returned_at: datetime | None = None
    """When a destroyed master was last found at its custodian again and destroyed again, of late."""
    returned: int = 0
    """Destroyed masters that were found at their custodians again, and are there still for all that is known."""
    unbelieved: Sequence[date] = ()
    """Deadlines that somebody wrote into the catalogue as latched."""
    early: int = 0
    """Living records with a due date that no policy gives them."""


def alarms_of(vault: Vault) -> Alarms:
    """Look at the catalogue; the clocks are not asked."""
    now = vault.clock.now()
    with vault.catalogue.read() as tx:
        policy = current_policy(tx)
        deadline = _deadline(tx, policy, policy.sunset, now) if policy.sunset is not None else None
        end = keys.planned_end(tx, keys.current_root(tx, Tree.ACTIVE).master)
        wrongly = wrong_end(tx, now)
        again = sa.select(sa.func.max(journal.c.at)).where(journal.c.event == DIED_AGAIN)
        returned = tx.execute(again.where(journal.c.at > now - _RETURNS_TOLD)).scalar()
        return Alarms(
            time=time_state(tx),
            overdue=overdue_of(tx, now),
            deadline=deadline,
            ends_wrongly=wrongly,
            ends_wrongly_in=wrongly - now if wrongly is not None else None,
            ended_at=end if end is not None and now >= end else None,
            returned_at=returned,
            returned=len(still_returned(tx)),
            unbelieved=unbelieved_sunsets(tx),
            early=count_early(tx, predicate_at(tx, Cause.SWEEP, now)),
        )


def _deadline(tx: Transaction, policy: Policy, sunset: Sunset, now: datetime) -> Deadline:
    ends_at = end_of(sunset.deadline, policy.zone)
    row = next(iter(latched_rows(tx, sunset.deadline)), None)
    latched_at = row.latched_at if row is not None else None
    standing = standing_outcome(tx, policy, sunset)
    forecast = forecast_duration(tx)
    return Deadline(
        day=sunset.deadline,
        ends_at=ends_at,
        days_left=(sunset.deadline - civil_date(now, policy.zone)).days,
        outcome=row.outcome if row is not None else standing.name,
        order_id=row.order_id if row is not None else standing.order_id,
        latched_at=latched_at,
        decision_cut_off=sunset.decision_cut_off,
        latest_cut_off=civil_date(latest_cut_off(ends_at, forecast), policy.zone) - timedelta(days=1),
        forecast=forecast,
    )


def spoken_renewal(alarms: Alarms) -> str | None:
    """Who must replace the active tree's master, and by when; None where it ends as it should."""
    if alarms.ends_wrongly is None or alarms.ends_wrongly_in is None:
        return None
    ends = f"The master key of the active tree ends by itself on {spell_instant(alarms.ends_wrongly)}, and must not"
    if alarms.ends_wrongly_in < _NIGHT:
        return (
            f"RECORDS ARE LOST unless the destroyer runs `shredvault custodian renew` NOW. {ends} any more; the next "
            "nightly sweep may be too late."
        )
    return (
        f"{ends} any more: the destroyer's next `shredvault sweep` replaces it, and `shredvault custodian renew` at "
        "once. If nobody does before that, records are lost."
    )


def _spoken_edits(alarms: Alarms) -> list[str]:
    """What somebody has written into the catalogue beside the vault."""
    said = [
        f"THE CATALOGUE WAS WRITTEN IN: it has the deadline {day} as latched, and the vault did not latch it. Nothing "
        "goes by that row, and that deadline cannot latch beside it. Find out who did it; `shredvault rebuild` makes a "
        "catalogue from the ledger, which does not have that row."
        for day in alarms.unbelieved
    ]
    if alarms.early:
        nearer = number_of(alarms.early, "record", "has", "have")
        said.append(
            f"THE CATALOGUE WAS WRITTEN IN: {nearer} a due date that no policy gives. No sweep goes by it. Find out "
            "who did it; `shredvault rebuild` takes the dates from the manifests in the bucket."
        )
    return said


def _spoken_returns(alarms: Alarms) -> list[str]:
    """Of destroyed masters that came back to their custodians."""
    said = []
    if alarms.returned:
        back = number_of(alarms.returned, "destroyed master key", "is", "are")
        said.append(
            f"{back} at the custodian again, and could not be destroyed again yet: somebody has restored a backup of "
            "it. Whoever has old copies of the bucket can read what died. `shredvault recover` tries again, and says "
            "why."
        )
    if alarms.returned_at is not None:
        said.append(
            f"On {spell_instant(alarms.returned_at)} a master key that had been destroyed was found again at its "
            "custodian, and was destroyed again: somebody had restored a backup of it. Find out who could use it "
            "meanwhile, and destroy that backup."
        )
    return said


def spoken_alarms(alarms: Alarms) -> list[str]:
    """Sentences for whoever watches, the most urgent first."""
    said = []
    deadline = alarms.deadline
    if alarms.time.suspect_since is not None:
        urgent = deadline is not None and deadline.latched_at is None and deadline.days_left <= _NEAR.days
        ahead = f"THE DEADLINE {deadline.day} CANNOT BE KEPT unless this is cleared. " if urgent and deadline else ""
        said.append(
            f"{ahead}The time is suspect, and nothing is destroyed until that is cleared: `shredvault time show`. "
            f"{alarms.time.why}"
        )
    said += _spoken_edits(alarms)
    if (renewal := spoken_renewal(alarms)) is not None:
        said.append(renewal)
    if alarms.ended_at is not None:
        said.append(
            f"The master key of the active tree ended by itself on {spell_instant(alarms.ended_at)}; nothing is filed "
            "or destroyed until `shredvault sweep` has carried out the sunset."
        )
    said += _spoken_returns(alarms)
    if alarms.overdue.past_limit:
        late = number_of(alarms.overdue.past_limit, "record", "is", "are")
        said.append(f"{late} past the last day that the policy allows.")
    if alarms.overdue.past_quarter:
        late = number_of(alarms.overdue.past_quarter, "record")
        said.append(f"{late} should have been destroyed by the end of the quarter: run `shredvault sweep`.")
    if deadline is None or deadline.latched_at is not None:
        return said
    if deadline.days_left < 0:
        said.append(f"The deadline {deadline.day} is over and has not latched: run `shredvault sweep`.")
    elif deadline.decision_cut_off > deadline.latest_cut_off:
        said.append(
            f"Decisions are cut off on {deadline.decision_cut_off}; the destruction is forecast to need that by "
            f"{deadline.latest_cut_off}, or the deadline {deadline.day} may be missed."
        )
    return said
