"""Filing: opening a record, and completing it. Documents come in between (`vault.records.uploads`).

Order kept: what the bucket must have is there before the catalogue says so, and the catalogue is durable
before the caller hears of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from keystore import COHORT_SLOTS, MasterGoneError, OpenTree, Tree, TreeChange
from vault.access import Caller, Role
from vault.catalogue import Transaction, keys
from vault.catalogue.filed import documents_of, record_state
from vault.catalogue.schema import cohorts, record_states, records
from vault.context import Vault, current_policy
from vault.errors import (
    BusyError,
    DestroyedError,
    IdempotencyConflictError,
    NotFoundError,
    RecordIncompleteError,
)
from vault.ids import RecordId, is_id, new_id
from vault.keys.key_uses import UseCutError
from vault.law.policy import Policy
from vault.sunset.ending import NOTHING_OPENED
from vault.sunset.no_retain import completed_in_mode, due_of
from vault.timekeeping import never_back, note_filing
from vault.trees.keyring import TRIES, custodian_of, fetch_key, grow

from .manifests import Filed, Manifest, manifest_name
from .receipt_codes import code_of
from .sheets import Sheet, body_tag

__all__ = ["Completed", "Opened", "complete_record", "open_record", "own_record"]

COHORT_SPAN: Final = timedelta(days=6)


@dataclass(frozen=True, slots=True)
class Opened:
    """An open record."""

    record_id: RecordId
    repeated: bool
    """Whether this answers a repetition of an earlier request."""

    @property
    def receipt(self) -> str:
        """The code for the applicant."""
        return code_of(self.record_id)


@dataclass(frozen=True, slots=True)
class Completed:
    """A complete record: its retention clock runs."""

    record_id: RecordId
    completed_at: datetime
    due_on: date
    documents: int


def open_record(
    vault: Vault, caller: Caller, *, idempotency_key: str, applicant: Mapping[str, Any], body: bytes
) -> Opened:
    """Open a record, or answer a repeated request with what the first one made.

    Args:
        vault: the vault.
        caller: a center.
        idempotency_key: chosen by the center; one per record.
        applicant: the fields for the sealed sheet.
        body: the request as it came, to tell a repetition from another request under the same key.

    Raises:
        ForbiddenError: the caller is no center.
        IdempotencyConflictError: the key was used with another body.
        DestroyedError: the record of this key has been destroyed.
        BusyError: try again.
        CustodianError: the custodian does not answer, or has not the master that is in use.
    """
    caller.require(Role.CENTER)
    key_hash = hashlib.sha256(f"{caller.token_id}:{idempotency_key}".encode()).digest()
    digest = hashlib.sha256(body).digest()
    for _ in range(TRIES):
        with vault.catalogue.read() as tx:
            known = tx.execute(sa.select(records.c.id).where(records.c.idempotency_hash == key_hash)).scalar()
            policy = current_policy(tx)
            now = never_back(tx, vault.clock.now())
            due = due_of(tx, policy, now)
            cohort = _open_cohort(tx, due)
            key_ends = keys.planned_end(tx, keys.current_root(tx, Tree.ACTIVE).master)
        if known is not None:
            return _repeated(vault, RecordId(known), digest)
        if key_ends is not None and now >= key_ends - NOTHING_OPENED:
            # S7: a hold might cover the record, and the copy of its key come too late.
            message = "No record is opened from shortly before the deadline until the sunset is carried out; try then."
            raise BusyError(message)
        if cohort is None:
            _new_cohort(vault, due)
        with vault.uses.walk():
            opened = _take_slot(vault, caller, policy, now, due, dict(applicant), key_hash, digest)
        if opened is not None:
            return opened
    message = "Records are being opened by many at once; try again."
    raise BusyError(message)


def _take_slot(
    vault: Vault,
    caller: Caller,
    policy: Policy,
    now: datetime,
    due: date,
    applicant: dict[str, Any],
    key_hash: bytes,
    digest: bytes,
) -> Opened | None:
    """Put a record into the open cohort of its date; None when the cohort or the key was taken meanwhile."""
    with vault.catalogue.read() as tx:
        cohort = _open_cohort(tx, due)
        if cohort is None:
            return None
        root, page = keys.current_root(tx, Tree.ACTIVE), keys.load_page(tx, Tree.ACTIVE, cohort)
        custodian = custodian_of(vault, tx, root)
    record_id = RecordId(new_id())
    try:
        tree = OpenTree.open(vault.vault_id, root, custodian)
    except MasterGoneError:
        with vault.catalogue.read() as tx:
            if keys.current_root(tx, Tree.ACTIVE).master == root.master:
                # No destruction has put another in its place: it was destroyed outside, or this is another custodian.
                raise
        return None
    with tree, tree.page(page) as cohort_page, vault.catalogue.write() as tx:
        slot = tx.execute(
            sa.update(cohorts)
            .where(cohorts.c.id == cohort, cohorts.c.closed_at.is_(None), cohorts.c.next_slot < COHORT_SLOTS)
            .values(next_slot=cohorts.c.next_slot + 1)
            .returning(cohorts.c.next_slot - 1)
        ).scalar()
        taken = tx.execute(sa.select(records.c.id).where(records.c.idempotency_hash == key_hash)).scalar()
        if slot is None or taken is not None:
            tx.rollback()
            return None
        with cohort_page.key(slot) as key:
            sheet = Sheet(applicant).seal(key, vault.vault_id, record_id)
            tag = body_tag(key, record_id, digest)
        tx.execute(
            sa.insert(records).values(
                id=record_id,
                cohort_id=cohort,
                slot=slot,
                policy_version=policy.version,
                opened_at=now,
                opened_by=caller.token_id,
                idempotency_hash=key_hash,
                body_tag=tag,
                sheet=sheet,
            )
        )
    return Opened(record_id, repeated=False)


def _open_cohort(tx: Transaction, due: date) -> int | None:
    """The cohort that takes a record due on `due`: one with room that was opened in the week before.

    So cohorts fill up, which keeps the keystore small; a sweep rewrites the one page that straddles its day.
    """
    return tx.execute(
        sa.select(cohorts.c.id)
        .where(
            cohorts.c.due_on.between(due - COHORT_SPAN, due),
            cohorts.c.closed_at.is_(None),
            cohorts.c.next_slot < COHORT_SLOTS,
        )
        .order_by(cohorts.c.id)
        .limit(1)
    ).scalar()


def _new_cohort(vault: Vault, due: date) -> None:
    """Open a cohort for a due date, unless somebody did meanwhile. All its record keys are made here."""
    number = 0

    def plan(tx: Transaction, _: OpenTree) -> TreeChange:
        nonlocal number
        if _open_cohort(tx, due) is not None:
            return TreeChange()
        number = tx.execute(sa.select(sa.func.coalesce(sa.func.max(cohorts.c.id), 0) + 1)).scalar_one()
        return TreeChange(opened=(number,))

    def commit(tx: Transaction) -> None:
        tx.execute(sa.insert(cohorts).values(id=number, due_on=due, opened_at=vault.clock.now()))

    grow(vault, Tree.ACTIVE, plan, commit)


def _repeated(vault: Vault, record_id: RecordId, digest: bytes) -> Opened:
    with vault.catalogue.read() as tx:
        row = tx.execute(sa.select(record_states).where(record_states.c.id == record_id)).one()
    if row.destruction_id is not None:
        raise DestroyedError(row.destruction_id)
    use = vault.uses.begin(record_id)
    try:
        fetch_key(vault, use, row)
        with use.key() as key:
            if body_tag(key, record_id, digest) != row.body_tag:
                message = "This Idempotency-Key was used before, with another body."
                raise IdempotencyConflictError(message)
    except UseCutError as cut:
        message = "The record is being destroyed."
        raise BusyError(message) from cut
    finally:
        use.end()
    return Opened(record_id, repeated=True)


def own_record(tx: Transaction, caller: Caller, record_id: str) -> sa.Row[Any]:
    """The state of a record that this center opened.

    Raises:
        ForbiddenError: the caller is no center.
        NotFoundError: no such record, or another center's.
        DestroyedError: condemned, destroyed or abandoned.
    """
    caller.require(Role.CENTER)
    row = record_state(tx, record_id) if is_id(record_id) else None
    if row is not None and row.destruction_id is not None and row.opened_by in (None, caller.token_id):
        raise DestroyedError(row.destruction_id)
    if row is None or row.opened_by != caller.token_id:
        message = (
            "There is no such record for this token. One that was not complete when the vault was brought back from "
            "a backup is lost: open it again, and file its documents again."
        )
        raise NotFoundError(message)
    return row


def complete_record(vault: Vault, caller: Caller, record_id: str) -> Completed:
    """Start the retention clock. Safe to repeat: the first completion counts.

    Raises:
        NotFoundError: no such record, or another center's.
        DestroyedError: condemned, destroyed or abandoned.
        RecordIncompleteError: it has no document.
        BusyError: documents kept arriving; try again.
    """
    overtaken = False
    for _ in range(TRIES):
        with vault.catalogue.read() as tx:
            row = own_record(tx, caller, record_id)
            policy = current_policy(tx)
            now = completed_in_mode(tx, policy, never_back(tx, vault.clock.now()))
            due = due_of(tx, policy, now)
            filed = documents_of(tx, row.id)
        if row.completed_at is not None:
            if overtaken:
                # Ours may have been written over the manifest of the completion that counts.
                _put_manifest(vault, row, filed, row.completed_at, row.due_on)
            return Completed(row.id, row.completed_at, row.due_on, len(filed))
        if not filed:
            message = "The record has no document yet."
            raise RecordIncompleteError(message)
        _put_manifest(vault, row, filed, now, due)
        vault.settle()
        with vault.catalogue.write() as tx:
            state = own_record(tx, caller, record_id)
            if state.completed_at is None and [d.id for d in documents_of(tx, row.id)] == [d.id for d in filed]:
                tx.execute(sa.update(records).where(records.c.id == row.id).values(completed_at=now, due_on=due))
                note_filing(tx, row.id, now)
                return Completed(row.id, now, due, len(filed))
        overtaken = True
    message = "The record is being changed by somebody else; try again."
    raise BusyError(message)


def _put_manifest(vault: Vault, row: sa.Row[Any], filed: list[sa.Row[Any]], completed: datetime, due: date) -> None:
    """Store what a rebuilt catalogue needs to know of a record."""
    with vault.catalogue.read() as tx:
        idempotency_hash = tx.execute(sa.select(records.c.idempotency_hash).where(records.c.id == row.id)).scalar_one()
    if idempotency_hash is None:
        # Reclaimed a moment ago.
        raise DestroyedError(row.destruction_id or "unknown")
    manifest = Manifest(
        row.id,
        row.cohort_id,
        row.slot,
        row.policy_version,
        row.opened_at,
        completed,
        due,
        row.opened_by,
        idempotency_hash,
        row.body_tag,
        row.sheet,
        [Filed(d.id, d.object_name, d.slip) for d in filed],
    )
    use = vault.uses.begin(row.id)
    try:
        fetch_key(vault, use, row)
        with use.key() as key:
            blob = manifest.encode(key, vault.vault_id)
    except UseCutError as cut:
        message = "The record is being destroyed."
        raise BusyError(message) from cut
    finally:
        use.end()
    vault.bucket.put(manifest_name(row.id), blob)
