"""The two families of failure in the key store.

`KeystoreError` is bad data or a custodian that does not do what was asked: the outside world's fault.
`WrongOrderError` is raised when our own code breaks the legal order of calls: a programming error.
"""

from __future__ import annotations

__all__ = [
    "CustodianError",
    "CustodianUnavailableError",
    "KeyGoneError",
    "KeyGraphError",
    "KeystoreError",
    "MasterExistsError",
    "MasterGoneError",
    "SealBrokenError",
    "TreeFullError",
    "WrongOrderError",
]


class KeystoreError(Exception):
    """Something outside our code failed or is hostile."""


class SealBrokenError(KeystoreError):
    """A sealed blob does not open: wrong key, wrong context, truncated or altered. Never says which."""

    def __init__(self) -> None:
        super().__init__("The sealed data does not open.")


class KeyGraphError(KeystoreError):
    """The key-graph check refused what was staged; nothing has been destroyed."""


class TreeFullError(KeystoreError):
    """A tree has no number left for another cohort."""


class CustodianError(KeystoreError):
    """A custodian refused or broke its contract."""


class CustodianUnavailableError(CustodianError):
    """The custodian does not answer now; the call may be repeated."""


class MasterGoneError(CustodianError):
    """The custodian has no such master key (any more)."""


class MasterExistsError(CustodianError):
    """A master key of that name exists; names are used once."""


class WrongOrderError(Exception):
    """Our own code called things in an order the contract forbids."""


class KeyGoneError(WrongOrderError):
    """A key was used after its owner wiped it."""

    def __init__(self) -> None:
        super().__init__("This key has been wiped.")
