"""What whoever holds a receipt is told, without a token, and nothing else to anybody (docs/spec/receipt.md).

In order: (1) the code is checked before the catalogue is asked, and is answered like an unknown one when it is wrong;
(2) the state is told in words that are the same whether a record is held or not (H11); (3) of a destroyed record
also when, by what, and what shows it: hashes, no facts.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.destructions import Destruction, load
from vault.catalogue.filed import record_state
from vault.catalogue.law import certificates
from vault.clocks.clock import civil_date
from vault.context import Vault, current_policy
from vault.destruction.overdue import last_day
from vault.errors import NotFoundError
from vault.ids import RecordId
from vault.ledger.showing import entry_number, prove_published
from vault.objects import ObjectStoreError
from vault.records.receipt_codes import no_such_receipt, record_of
from vault.sunset.latched import kept_until

from .list_proofs import ListTrees

__all__ = ["Destroyed", "Kept", "ReceiptAnswer", "Receipts", "Underway", "receipt_facts"]

_COMPLETED: Final = "completed"
"""The ledger's event at the end of a destruction."""


@dataclass(frozen=True, slots=True)
class Underway:
    """The record is being received, or its destruction is being carried to its end."""

    state: str
    """`receiving` or `destroying`."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The record is kept."""

    state: str
    until: date
    """The last day on which the policy lets it be there."""


@dataclass(frozen=True, slots=True)
class Destroyed:
    """The record is destroyed."""

    state: str
    on: date
    certificate: str | None
    """None until it is issued."""
    proof: dict[str, Any]
    """`list` and `entry`, as JSON values; None where it cannot be given."""


ReceiptAnswer = Underway | Kept | Destroyed


class Receipts:
    """Answers to receipts of one vault. Shared by threads; keeps the lists that it has built again for its proofs."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._trees = ListTrees()

    def answer(self, code: str) -> ReceiptAnswer:
        """Say what has become of the record of a receipt.

        Raises:
            NotFoundError: there is no such receipt.
            LedgerBrokenError, DamagedError: what is stored of its destruction is not what was frozen.
            CatalogueError: the database cannot be used now.
        """
        # (1) Without the catalogue.
        record_id = record_of(code)
        now = self._vault.clock.now()
        with self._vault.catalogue.read() as tx:
            row = record_state(tx, record_id)
            if row is None:
                raise no_such_receipt()
            # (2) Held or not.
            if row.destruction_id is None:
                return Underway("receiving") if row.completed_at is None else _kept(tx, row, now)
            destruction = load(tx, row.destruction_id)
            if destruction.completed_at is None:
                return Underway("destroying")
            # (3) Destroyed.
            on = civil_date(destruction.completed_at, current_policy(tx).zone)
            certificate = tx.execute(sa.select(certificates.c.id).where(certificates.c.id == destruction.id)).scalar()
            return Destroyed("destroyed", on, certificate, self._proof(tx, record_id, destruction))

    def _proof(self, tx: Transaction, record_id: RecordId, destruction: Destruction) -> dict[str, Any]:
        listed = None
        with suppress(ObjectStoreError):
            # After a rebuild the list is read from the bucket; the answer does not wait for that.
            tree = self._trees.get(self._vault, tx, destruction)
            listed = None if tree is None else tree.prove(record_id, destruction.list_root)
        entry = None
        number = entry_number(tx, _COMPLETED, destruction.id)
        with suppress(NotFoundError):
            entry = None if number is None else prove_published(self._vault, tx, number).closed()
        return {"list": None if listed is None else listed.extract(), "entry": entry}


def receipt_facts(answer: ReceiptAnswer) -> dict[str, Any]:
    """An answer as JSON values."""
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in asdict(answer).items()}


def _kept(tx: Transaction, row: sa.Row[Any], now: datetime) -> Kept:
    """By the rules that make a record overdue; and later where a sunset's decision, which is public, keeps it on."""
    policy = current_policy(tx)
    kept = kept_until(tx, row.id, now)
    due = row.due_on if kept is None else max(row.due_on, civil_date(kept, policy.zone))
    return Kept("kept", last_day(due, policy.gone_by))
