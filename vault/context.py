"""What every use case works on: one opened vault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from vault.catalogue import Catalogue, Transaction
from vault.catalogue.schema import policies
from vault.clocks.clock import Clock
from vault.clocks.trusted_time import TimeSources
from vault.keys.custody import Custody
from vault.keys.key_uses import KeyUses
from vault.law.policy import Policy
from vault.log import SigningKey
from vault.log.stored import append, size_of
from vault.log.vouching import entry_of
from vault.objects import Bucket

__all__ = ["Vault", "current_policy", "note"]


@dataclass(frozen=True)
class Vault:
    """An opened vault. Shared by threads."""

    vault_id: bytes
    catalogue: Catalogue
    bucket: Bucket
    custody: Custody
    clock: Clock
    lock_file: Path
    """Locked by whoever destroys, releases or recovers."""
    settle: Callable[[], None]
    """Makes durable what the bucket has acknowledged, where the store itself does not."""
    time: TimeSources
    """With what the clock is compared (T5)."""
    signing: SigningKey
    """Signs the checkpoints of the ledger, and certificates."""
    uses: KeyUses = field(default_factory=KeyUses)

    def __post_init__(self) -> None:
        """What is written through this catalogue is vouched for with the vault's key."""
        self.catalogue.vouch(self.signing.tag)


def current_policy(tx: Transaction) -> Policy:
    """The newest version of the policy."""
    newest = sa.select(policies.c.document).order_by(policies.c.version.desc()).limit(1)
    return Policy.decode(tx.execute(newest).scalar_one())


def note(tx: Transaction, at: datetime, event: str, subject: str, facts: Mapping[str, Any] | None = None) -> None:
    """Append to the journal and its Merkle tree, in a writing transaction.

    Facts are counts, ids and times; never anything personal. Event and subject stand in the clear in the entry's leaf.

    There is one writer at a time, so entries are numbered without gaps in the order of their commits.
    """
    append(tx, entry_of(tx, size_of(tx) + 1, at, event, subject, facts))
