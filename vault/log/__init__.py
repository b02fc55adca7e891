"""The format of the Merkle log over the journal: leaves, proofs, checkpoints, signatures (docs/spec/ledger.md)."""

from __future__ import annotations

from .leaves import Entry
from .notes import Checkpoint, VerifierKey
from .signing import SIGNING_FILE, SigningKey

__all__ = ["SIGNING_FILE", "Checkpoint", "Entry", "SigningKey", "VerifierKey"]
