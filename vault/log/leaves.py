"""Entries of the journal, and the leaves they are in the Merkle tree.

A leaf shows number, instant, event and subject of its entry, and commits to the rest: SHA-256 over a salt that nobody
guesses (`vault.log.vouching`) and the facts in canonical JSON. Who is shown a leaf learns no fact and can test no
guess; who is shown salt and facts as well can check that they are the entry's, and no others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from vault import canonical

__all__ = ["SALT_BYTES", "Entry", "commitment", "plain_facts"]

SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the journal. Entry `id` is the leaf with index `id` - 1."""

    id: int
    at: datetime
    event: str
    subject: str
    facts: dict[str, Any]
    salt: bytes = field(repr=False)

    def leaf(self) -> bytes:
        """The leaf: canonical JSON, with a commitment in the place of the facts."""
        return canonical.encode(
            {
                "at": self.at.isoformat(),
                "commitment": commitment(self.salt, self.facts).hex(),
                "event": self.event,
                "id": self.id,
                "subject": self.subject,
            }
        )


def plain_facts(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """The facts as a database gives them back: what is hashed must be what is stored."""
    return dict(json.loads(canonical.encode(dict(facts or {}))))


def commitment(salt: bytes, facts: Mapping[str, Any]) -> bytes:
    """SHA-256 over the salt and the facts in canonical JSON."""
    return hashlib.sha256(salt + canonical.encode(facts)).digest()
