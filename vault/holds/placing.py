"""Placing, widening and extending holds: one authorised person, in force on commit (H2).

The hold is committed first and protects at once; then the keys of what it matches are copied into the held tree. The
same authority and docket again adds to the same hold. Whatever would weaken one is in `vault.destruction.releasing`.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

import sqlalchemy as sa

from keystore import context
from vault.catalogue import Transaction
from vault.catalogue.holding import hold_records, hold_scopes, holds, record_holds
from vault.catalogue.schema import access_tokens
from vault.clocks.clock import civil_date
from vault.context import Vault, current_policy, note
from vault.errors import BusyError, CustodianError, HoldRefusedError, NotFoundError
from vault.ids import HoldId, new_id
from vault.law.policy import Policy
from vault.ledger.publishing import publish
from vault.timekeeping import never_back

from .answers import living_and_answers
from .copying import copy_held_keys
from .late import note_late
from .scopes import Clause, Scope
from .sealed import Confidence, seal
from .terms import Terms, checked_review, tail_of

__all__ = ["NothingToHoldError", "Placed", "extend_hold", "open_hold", "place_hold", "widen_hold"]

PLACER_CHARACTERS_MAX: Final = 80
_FOR_EVER: Final[dict[str, Any]] = {"ends_at": None, "ending_order": None, "ended_at": None}


class NothingToHoldError(NotFoundError):
    """None of the records can be held; each has its answer all the same."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__("None of these records can be held: each is unknown or destroyed.")
        self.answers = answers


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a hold that was placed or widened."""

    hold_id: HoldId
    answers: dict[str, str]
    """Of each record id that was named: `held`, `unknown`, or when and by what it was destroyed (H7)."""
    matched: int
    """Records that the whole hold protects now."""
    repeated: bool
    """Whether all of it was in force before."""
    keys_copied: bool
    """False when the held tree could not be changed now. The hold is in force all the same (H2)."""


def place_hold(vault: Vault, terms: Terms, scope: Scope, placer: str) -> Placed:
    """Protect what the scope matches from every destruction, from now on. Idempotent by (authority, docket).

    Placed again it protects what both say, and after its release for the longer of both tails.

    Sealed ones too: the vault compares a tag of both, and learns nothing of those that are sealed already.
    What it comes too late for is told in the ledger and as an alarm, also where no hold is placed (`late`).

    Raises:
        HoldRefusedError: the terms cannot be, or the policy has no key of counsel's to seal to.
        NothingToHoldError: only records were named, and none of them can be held; no hold was placed.
    """
    now = vault.clock.now()
    docket = None if terms.sealed else terms.docket
    with _too_late_noted(vault, docket, now), vault.catalogue.write() as tx:
        policy = current_policy(tx)
        known = _known_sealed(vault, tx, terms) if terms.sealed else _known(tx, terms)
        if known is None:
            row = _row(vault, policy, terms, placer, now)
            tx.execute(sa.insert(holds).values(row))
            placed = _add(tx, policy, row["id"], scope, now)
            note(tx, now, "hold placed", row["id"], _spelt(row) | placed.facts)
        else:
            placed = _add(tx, policy, known, scope, now)
            _note_widened(tx, known, placed, placer, now)
            _lengthen_tail(tx, policy, known, terms, placer, now)
        note_late(tx, placed.hold_id, docket, placed.answers, now, by_rule=scope.has_rule)
    return _placed(vault, placed)


def _lengthen_tail(tx: Transaction, policy: Policy, hold_id: HoldId, terms: Terms, placer: str, now: datetime) -> None:
    """The same case with a longer tail, or on a ground that has one: what protects longer counts (H2, H5)."""
    tail = tail_of(terms.kind, terms.tail_days, terms.tail_reason, policy.hold_tail_days)
    here = holds.c.id == hold_id
    if tail > tx.execute(sa.select(holds.c.tail_days).where(here)).scalar_one():
        tx.execute(sa.update(holds).where(here).values(tail_days=tail, tail_reason=None))
        note(tx, now, "hold extended", hold_id, {"tail_days": tail, "placer": _checked_placer(placer)})


@contextmanager
def _too_late_noted(vault: Vault, docket: str | None, now: datetime) -> Iterator[None]:
    """Where nothing that was named lives, no hold is placed; that it came too late is written down all the same."""
    try:
        yield
    except NothingToHoldError as nothing:
        with vault.catalogue.write() as tx:
            note_late(tx, None, docket, nothing.answers, now, by_rule=False)
        publish(vault)
        raise


def widen_hold(vault: Vault, hold_id: str, scope: Scope, placer: str) -> Placed:
    """Let a hold protect more.

    Raises:
        NotFoundError: there is no such hold in force.
        HoldRefusedError: the scope cannot be.
        NothingToHoldError: only records were named, and none of them can be held.
    """
    now = vault.clock.now()
    with vault.catalogue.read() as tx:
        docket = open_hold(tx, hold_id).docket
    with _too_late_noted(vault, docket, now), vault.catalogue.write() as tx:
        open_hold(tx, hold_id)
        placed = _add(tx, current_policy(tx), HoldId(hold_id), scope, now)
        _note_widened(tx, HoldId(hold_id), placed, placer, now)
        note_late(tx, hold_id, docket, placed.answers, now, by_rule=scope.has_rule)
    return _placed(vault, placed)


def extend_hold(
    vault: Vault, hold_id: str, placer: str, *, review_on: date | None = None, ends_on: date | None = None
) -> None:
    """Put off the end of a hold, or set the day of its next review, which may also come earlier.

    Raises:
        NotFoundError: there is no such hold in force.
        HoldRefusedError: neither date is named; the review is past or too far ahead; or the end would come earlier
            than now (H3: that takes an order).
    """
    if review_on is None and ends_on is None:
        message = "Name the date of the next review, a later end, or both."
        raise HoldRefusedError(message)
    now = vault.clock.now()
    with vault.catalogue.write() as tx:
        hold = open_hold(tx, hold_id)
        changed: dict[str, Any] = {}
        if review_on is not None:
            changed["review_on"] = checked_review(review_on, civil_date(now, current_policy(tx).zone))
        if ends_on is not None:
            if hold.ends_on is None or ends_on < hold.ends_on:
                message = "The hold would end earlier than it does now; that takes an order that two people signed."
                raise HoldRefusedError(message)
            changed["ends_on"] = ends_on
        tx.execute(sa.update(holds).where(holds.c.id == hold_id).values(changed))
        facts = {name: day.isoformat() for name, day in changed.items()}
        note(tx, now, "hold extended", hold_id, {**facts, "placer": _checked_placer(placer)})
    publish(vault)


def open_hold(tx: Transaction, hold_id: str) -> sa.Row[Any]:
    """A hold that is not released.

    Raises:
        NotFoundError: there is none.
    """
    row = tx.execute(sa.select(holds).where(holds.c.id == hold_id, holds.c.released_at.is_(None))).one_or_none()
    if row is None:
        message = "There is no such hold in force; `shredvault hold list` shows them."
        raise NotFoundError(message)
    return row


@dataclass(frozen=True, slots=True)
class _Added:
    hold_id: HoldId
    answers: dict[str, str]
    records: list[str]
    clauses: list[tuple[int, Clause]]

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "scopes": [{"number": number, **clause.encode()} for number, clause in self.clauses],
        }


def _known(tx: Transaction, terms: Terms) -> HoldId | None:
    same = (holds.c.authority == terms.authority) & (holds.c.docket == terms.docket) & holds.c.released_at.is_(None)
    found = tx.execute(sa.select(holds.c.id).where(same).order_by(holds.c.entered_at).limit(1)).scalar()
    return None if found is None else HoldId(found)


def _known_sealed(vault: Vault, tx: Transaction, terms: Terms) -> HoldId | None:
    query = sa.select(holds.c.id, holds.c.seal_tag).where(holds.c.sealed.is_not(None), holds.c.released_at.is_(None))
    for row in tx.execute(query.order_by(holds.c.entered_at)):
        if hmac.compare_digest(row.seal_tag, _seal_tag(vault, row.id, terms)):
            return HoldId(row.id)
    return None


def _seal_tag(vault: Vault, hold_id: str, terms: Terms) -> bytes:
    """Bound to the hold, so that no two tags can be compared with each other, but only a guess with one of them."""
    said = context("shredvault/sealed-hold/v1", hold_id.encode(), terms.authority.encode(), terms.docket.encode())
    return vault.signing.tag("shredvault/sealed-hold/v1", said)


def _row(vault: Vault, policy: Policy, terms: Terms, placer: str, now: datetime) -> dict[str, Any]:
    hold_id = HoldId(new_id())
    sealed = None
    if terms.sealed:
        # H11: what is sealed stands nowhere else, and the vault cannot open it.
        if policy.counsel_seal is None:
            message = "The policy has no key of counsel's to seal to; `shredvault hold keygen` makes one."
            raise HoldRefusedError(message)
        confidence = Confidence(terms.authority, terms.docket, terms.reason)
        sealed = seal(policy.counsel_seal, vault.vault_id, hold_id, confidence)
    return {
        "id": hold_id,
        "kind": terms.kind,
        "authority": None if sealed else terms.authority,
        "docket": None if sealed else terms.docket,
        "reason": None if sealed else terms.reason,
        "sealed": sealed,
        "seal_tag": _seal_tag(vault, hold_id, terms) if sealed else None,
        "ordered_at": terms.ordered_at,
        "served_at": terms.served_at,
        "effective_at": terms.effective_at,
        "entered_at": now,
        "review_on": checked_review(terms.review_on, civil_date(now, policy.zone)),
        "ends_on": terms.ends_on,
        "tail_days": tail_of(terms.kind, terms.tail_days, terms.tail_reason, policy.hold_tail_days),
        "tail_reason": terms.tail_reason,
        "placer": _checked_placer(placer),
    }


def _checked_placer(placer: str) -> str:
    if not (placer.isprintable() and 1 <= len(placer.strip()) <= len(placer) <= PLACER_CHARACTERS_MAX):
        message = f"Whoever places a hold is named in 1 to {PLACER_CHARACTERS_MAX} printable characters."
        raise HoldRefusedError(message)
    return placer


def _spelt(row: dict[str, Any]) -> dict[str, Any]:
    """The row for the ledger, from which a rebuild makes it again (H12)."""
    spelt: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, bytes):
            spelt[name] = base64.b64encode(value).decode()
        else:
            spelt[name] = value.isoformat() if isinstance(value, date) else value
    return spelt


def _add(tx: Transaction, policy: Policy, hold_id: HoldId, scope: Scope, now: datetime) -> _Added:
    """Add what a hold does not have yet. What was to end, and is named again, goes on."""
    living, answers = living_and_answers(tx, scope.record_ids)
    if not living and not scope.has_rule:
        raise NothingToHoldError(answers)
    _require_centers(tx, scope.centers)
    here = hold_records.c.hold_id == hold_id
    going_on = here & hold_records.c.ends_at.is_(None)
    already = set(tx.execute(sa.select(hold_records.c.record_id).where(going_on)).scalars())
    ending = set(tx.execute(sa.select(hold_records.c.record_id).where(here, ~going_on)).scalars())
    added = [record_id for record_id in living if record_id not in already]
    fresh = [
        {"hold_id": hold_id, "record_id": record_id, "cohort_id": living[record_id]}
        for record_id in added
        if record_id not in ending
    ]
    if fresh:
        tx.execute(sa.insert(hold_records), fresh)
    again = [{"r": record_id} for record_id in added if record_id in ending]
    if again:
        tx.execute(
            sa.update(hold_records).where(here, hold_records.c.record_id == sa.bindparam("r")).values(_FOR_EVER), again
        )
    return _Added(hold_id, answers, added, _add_clauses(tx, hold_id, scope.clauses(policy.zone, never_back(tx, now))))


def _add_clauses(tx: Transaction, hold_id: HoldId, clauses: Iterable[Clause]) -> list[tuple[int, Clause]]:
    rows = tx.execute(sa.select(hold_scopes).where(hold_scopes.c.hold_id == hold_id)).all()
    there = {
        Clause(row.filed_from, row.filed_to, row.since, row.until, row.center, row.captured_by)
        for row in rows
        if row.ends_at is None
    }
    # A rule without future captures is the same rule when it was placed before at another instant, but matches more.
    new = [clause for clause in clauses if not {clause, replace(clause, captured_by=None)} & there]
    numbered = list(enumerate(new, start=max((row.number for row in rows), default=0) + 1))
    for number, clause in numbered:
        values = {name: getattr(clause, name) for name in Clause.__dataclass_fields__}
        tx.execute(sa.insert(hold_scopes).values(hold_id=hold_id, number=number, **values))
    return numbered


def _require_centers(tx: Transaction, centers: Iterable[str]) -> None:
    """A misspelt center would match nothing, and nobody would notice (H7)."""
    known = set(tx.execute(sa.select(access_tokens.c.label).where(access_tokens.c.role == "center")).scalars())
    if not known.issuperset(centers):
        message = "A center is not known by that label; `shredvault access list` shows them. No hold was placed."
        raise HoldRefusedError(message)


def _note_widened(tx: Transaction, hold_id: HoldId, added: _Added, placer: str, now: datetime) -> None:
    if added.records or added.clauses:
        note(tx, now, "hold widened", hold_id, {**added.facts, "placer": _checked_placer(placer)})


def _placed(vault: Vault, added: _Added) -> Placed:
    publish(vault)
    try:
        copy_held_keys(vault)
    except (CustodianError, BusyError):
        # The hold is in force all the same. The next sweep, start or `recover` makes the copies.
        copied = False
    else:
        copied = True
    with vault.catalogue.read() as tx:
        count = sa.select(sa.func.count(sa.distinct(record_holds.c.record_id)))
        matched = tx.execute(count.where(record_holds.c.hold_id == added.hold_id)).scalar_one()
    return Placed(
        added.hold_id, added.answers, matched, repeated=not (added.records or added.clauses), keys_copied=copied
    )
