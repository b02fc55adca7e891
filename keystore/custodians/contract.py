"""The contract every custodian keeps; `tests/contracts/test_custodians.py` runs it on each of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from keystore.secret import Key

__all__ = ["Assurance", "Custodian", "MasterState"]


@dataclass(frozen=True, slots=True)
class Assurance:
    """What destruction at this custodian is worth, in words that go into destruction records unchanged."""

    kind: str
    """`software`, `hardware` or `service`."""
    takes_effect: str
    can_be_cancelled: bool
    copies: str
    """Where copies of a master may exist in spite of destruction."""


class MasterState(StrEnum):
    """What a custodian says of one name."""

    LIVE = "live"
    ABSENT = "absent"


class Custodian(Protocol):
    """Holds master keys by name. Names match `[a-z0-9-]{1,64}` and are used once, ever."""

    @property
    def uri(self) -> str:
        """Where the keys are, without secrets; recorded beside every master."""

    @property
    def assurance(self) -> Assurance:
        """What destruction here is worth."""

    @property
    def ends_masters(self) -> bool:
        """Whether masters here are destroyed by the custodian itself at an end that they are given."""

    def create(self, name: str, ends_at: datetime | None = None) -> None:
        """Make a fresh AES-256 master key. Durable when this returns.

        Args:
            name: of the master.
            ends_at: no later than this the custodian is to destroy it by itself. Custodians whose masters never end by
                themselves leave it out of account; `expires_at` says what became of it.

        Raises:
            MasterExistsError: the name is taken.
            CustodianError: the custodian refused; no usable master exists under the name.
        """

    def wrap(self, name: str, key: Key, bound_to: bytes) -> bytes:
        """Encrypt a root key under the master, bound to a context.

        Raises:
            MasterGoneError: no such master.
        """

    def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        """Decrypt a root key; the caller wipes it.

        Raises:
            MasterGoneError: no such master (any more).
            SealBrokenError: the wrap is not one of this master for this context.
        """

    def describe(self, name: str) -> MasterState:
        """Ask the custodian itself, never a cache."""

    def expires_at(self, name: str) -> datetime | None:
        """When the custodian destroys this master by itself, unless a new epoch has replaced it; None: never (UTC).

        Raises:
            MasterGoneError: no such master.
        """

    def destroy(self, name: str) -> None:
        """Destroy the master and read its state back. Safe to repeat; an absent name is success.

        Raises:
            CustodianError: the master may still be there.
        """

    def names(self) -> frozenset[str]:
        """All live masters at this custodian."""
