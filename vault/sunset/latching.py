"""What happens by itself around the deadline: notices, the latch, deferral statements (S4 to S7).

`tick` is idempotent, and called by the running service, by every sweep and at every start. It destroys nothing: what
has latched is destroyed by `carry_out` like everything else, with the cause `sunset`, as often as something is left
that no hold protects. Nothing happens while time is SUSPECT; but from the deadline on nobody reads what would go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from keystore import Tree
from vault.catalogue import Transaction, keys
from vault.catalogue.holding import holds
from vault.catalogue.law import sunsets
from vault.catalogue.schema import cohorts, destructions, records
from vault.clocks.clock import civil_date
from vault.clocks.trusted_time import Suspect
from vault.context import Vault, current_policy, note
from vault.errors import SealedOffError, TimeSuspectError
from vault.holds.copying import copy_held_keys
from vault.law.policy import Policy, Sunset
from vault.law.retention import Cause, Predicate, Verdict, count_spared
from vault.law.schedule import covered, end_of, next_statement, notice_due
from vault.ledger.publishing import publish
from vault.orders import use_order
from vault.orders.order import spell_instant
from vault.timekeeping import observe_time, require_trusted_time
from vault.wording import number_of

from .ending import LAST_COPIES, wrong_end
from .latched import Periods, latched_rows, latched_sunsets, standing_outcome, sunken, sunken_row

__all__ = [
    "LatchedSunset",
    "fill_sunset",
    "forecast_duration",
    "require_not_sealed_off",
    "tick",
]

_LATE: Final = timedelta(hours=1)
_DESTRUCTION_MIN: Final = timedelta(minutes=10)
"""No forecast is shorter."""


@dataclass(slots=True)
class LatchedSunset:
    """A sunset whose outcome has latched, as the ledger tells it (S4)."""

    deadline: str
    latched_at: datetime
    facts: dict[str, Any]
    deferred_at: datetime | None = None
    deferred: int | None = None


def require_not_sealed_off(tx: Transaction, record_id: str, now: datetime) -> None:
    """Refuse to open what is destroyed by a sunset whose deadline is over (S7), latched or not, unless it is held.

    Raises:
        SealedOffError: the record awaits its destruction.
    """
    over = latched_sunsets(tx, now)
    policy = current_policy(tx)
    sunset = policy.sunset
    if sunset is not None and now >= end_of(sunset.deadline, policy.zone) and not latched_rows(tx, sunset.deadline):
        # Whoever should have latched it was dead, or time is SUSPECT.
        outcome, ends_at = standing_outcome(tx, policy, sunset), end_of(sunset.deadline, policy.zone)
        covers = covered(sunset, policy.zone)
        over = (*over, sunken(ends_at, covers, outcome.kept, outcome.kept_until, now))
    if not over:
        return
    predicate = Predicate(
        Cause.SUNSET, civil_date(now, policy.zone), now - timedelta(hours=policy.abandon_after_hours), over
    )
    query = sa.select(predicate.verdict()).select_from(records.join(cohorts, cohorts.c.id == records.c.cohort_id))
    verdict = tx.execute(query.where(records.c.id == record_id)).scalar_one()
    if verdict == Verdict.ORDERED:
        raise SealedOffError


def forecast_duration(tx: Transaction) -> timedelta:
    """S3: how long destroying every record would take, by the slowest rate that was measured here."""
    done = (
        sa.select(destructions.c.frozen_at, destructions.c.completed_at, destructions.c.condemned)
        .where(destructions.c.completed_at.is_not(None), destructions.c.condemned > 0)
        .order_by(destructions.c.completed_at.desc())
        .limit(20)
    )
    each = [(row.completed_at - row.frozen_at) / row.condemned for row in tx.execute(done)]
    living = tx.execute(sa.select(sa.func.count()).select_from(records).where(~records.c.reclaimed)).scalar_one()
    return max(_DESTRUCTION_MIN, max(each, default=timedelta()) * int(living))


# --- what happens by itself ---------------------------------------------------------------------------


def tick(vault: Vault) -> list[str]:
    """Look at the clocks, give notices, latch what has reached its deadline, state what is deferred.

    Returns what happened, in sentences.

    Raises:
        TimeSuspectError: nobody can say what time it is; no default fires (T5).
        CustodianError, ObjectStoreError, CatalogueError, BusyError: a service failed; run it again.
    """
    judged = observe_time(vault)
    if isinstance(judged, Suspect):
        raise TimeSuspectError(judged.why)
    now = judged.now
    with vault.catalogue.read() as tx:
        if current_policy(tx).sunset is None and not tx.execute(sa.select(sunsets.c.deadline)).first():
            return []
    _copy_in_time(vault, now)
    with vault.catalogue.write() as tx:
        require_trusted_time(tx)
        policy = current_policy(tx)
        said = _announce_and_latch(tx, policy, policy.sunset, now) if policy.sunset is not None else []
        for row in latched_rows(tx):
            said += _defer(tx, policy, row, now)
    if said:
        publish(vault)
    return said


def _copy_in_time(vault: Vault, now: datetime) -> None:
    """S7: what is held gets its copy in the held tree before the active tree's master ends at the deadline.

    In the last day; and before, where the master is not to end so any more and nobody has replaced it yet: then a hold
    may capture whatever is filed, and everything may be dead until the deadline is over.
    """
    with vault.catalogue.read() as tx:
        end = keys.planned_end(tx, keys.current_root(tx, Tree.ACTIVE).master)
        wrongly = wrong_end(tx, now) is not None
    if wrongly or (end is not None and end - LAST_COPIES <= now < end):
        copy_held_keys(vault)


def _announce_and_latch(tx: Transaction, policy: Policy, sunset: Sunset, now: datetime) -> list[str]:
    ends_at = end_of(sunset.deadline, policy.zone)
    this = sunsets.c.deadline == sunset.deadline
    row = tx.execute(sa.select(sunsets).where(this)).one_or_none()
    if row is None:
        tx.execute(sa.insert(sunsets).values(deadline=sunset.deadline, ends_at=ends_at))
    elif row.latched_at is not None:
        return []
    if now >= ends_at:
        return [_latch(tx, policy, sunset, ends_at, now)]
    days = notice_due(sunset.deadline, civil_date(now, policy.zone), row.notified if row is not None else None)
    if days is None:
        return []
    # S6.
    outcome = standing_outcome(tx, policy, sunset)
    tx.execute(sa.update(sunsets).where(this).values(notified=days))
    note(tx, now, "sunset notice", sunset.deadline.isoformat(), {"days": days, "outcome": outcome.name})
    left = number_of(days, "day")
    return [f"The deadline is {sunset.deadline}, {left} or less from now; what stands is {outcome.name}."]


def _latch(tx: Transaction, policy: Policy, sunset: Sunset, ends_at: datetime, now: datetime) -> str:
    """S4: what stands at the deadline stays."""
    outcome = standing_outcome(tx, policy, sunset)
    deadline = sunset.deadline.isoformat()
    facts: dict[str, Any] = {
        "ends_at": ends_at.isoformat(),
        "outcome": outcome.name,
        "order": outcome.order_id,
        "covers": _spelt(covered(sunset, policy.zone)),
        "kept": _spelt(outcome.kept),
        "kept_until": outcome.kept_until.isoformat() if outcome.kept_until else None,
    }
    tx.execute(
        sa.update(sunsets).where(sunsets.c.deadline == sunset.deadline).values(latched_at=now, **_columns(facts))
    )
    if outcome.order_id is not None:
        use_order(tx, outcome.order_id, f"sunset {deadline}", now)
    note(tx, now, "sunset latched", deadline, facts)
    # Verdicts have changed in every cohort: no list that was judged before may pass unasked.
    tx.execute(sa.update(cohorts).values(revision=cohorts.c.revision + 1))
    by = f"by order {outcome.order_id}" if outcome.order_id else "by default: nobody had decided"
    missed = (
        f" It was over since {spell_instant(ends_at)}; Shredvault was not running." if now > ends_at + _LATE else ""
    )
    return f"The deadline {deadline} is over; its outcome is {outcome.name}, {by}.{missed}"


def _spelt(periods: Periods) -> list[list[str]]:
    return [[begin.isoformat(), end.isoformat()] for begin, end in periods]


def _columns(facts: dict[str, Any]) -> dict[str, Any]:
    until = facts["kept_until"]
    return {
        "outcome": facts["outcome"],
        "order_id": facts["order"],
        "covers": facts["covers"],
        "kept": facts["kept"],
        "kept_until": datetime.fromisoformat(until) if until else None,
    }


def fill_sunset(tx: Transaction, told: LatchedSunset) -> None:
    """Store a latched sunset from what the journal says of it, in a catalogue that is rebuilt."""
    row = {
        "deadline": date.fromisoformat(told.deadline),
        "ends_at": datetime.fromisoformat(told.facts["ends_at"]),
        "latched_at": told.latched_at,
        "deferred_at": told.deferred_at,
        "deferred": told.deferred,
    }
    tx.execute(sa.insert(sunsets).values(**row, **_columns(told.facts)))


def _defer(tx: Transaction, policy: Policy, row: sa.Row[Any], now: datetime) -> list[str]:
    """S5: say how many records are held past the deadline, monthly until there are none."""
    today = civil_date(now, policy.zone)
    if row.deferred == 0 or (row.deferred_at and today < next_statement(civil_date(row.deferred_at, policy.zone))):
        return []
    over = (sunken_row(row, now),)
    given_up = now - timedelta(hours=policy.abandon_after_hours)
    held = count_spared(tx, Predicate(Cause.SUNSET, today, given_up, over))
    if not held and row.deferred is None:
        # Nothing was ever held past this deadline; there is nothing to state.
        return []
    in_force = list(tx.execute(sa.select(holds.c.id, holds.c.sealed).where(holds.c.released_at.is_(None))))
    # H11: of sealed holds it says that there are some.
    named = sorted(one.id for one in in_force if one.sealed is None)
    if any(one.sealed is not None for one in in_force):
        named.append("sealed")
    facts = {"count": held, "holds": named}
    tx.execute(sa.update(sunsets).where(sunsets.c.deadline == row.deadline).values(deferred_at=now, deferred=held))
    note(tx, now, "deferral statement", row.deadline.isoformat(), facts)
    if not held:
        return [f"No record is held past the deadline {row.deadline} any more; nothing is deferred."]
    return [
        f"{number_of(held, 'record', 'is', 'are')} held past the deadline {row.deadline}; the destruction is deferred."
    ]
