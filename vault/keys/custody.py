"""The custodians of one vault. Each master's custodian is written beside it, so two can be in use during a move.

Only custodians that the home's settings name are opened: whoever can write to the catalogue must not be able
to send keys, or the secrets that an address points to, to a place of his choice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path

from keystore import Ask, Custodian, CustodianError, open_custodian

__all__ = ["Custody", "open_apart"]


class Custody:
    """Opens custodians by their addresses (URIs), each once. Shared by threads."""

    def __init__(self, open_one: Callable[[str], Custodian], named: Callable[[], Collection[str]]) -> None:
        """Use what `named` lists (asked again when an address is new) and `open_one` opens."""
        self._open_one = open_one
        self._named = named
        self._opened: dict[str, Custodian] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, *custodians: Custodian) -> Custody:
        """These custodians and no others, opened by the caller."""
        known = {one.uri: one for one in custodians}
        return cls(known.__getitem__, lambda: known)

    def at(self, uri: str) -> Custodian:
        """The custodian at an address.

        Raises:
            CustodianError: this host's settings do not name it, or it cannot be opened.
        """
        with self._lock:
            if uri not in self._opened:
                if uri not in self._named():
                    message = (
                        f"Master keys of this vault stand at {uri}, which this host's settings do not name; "
                        "`shredvault custodian allow` names it."
                    )
                    raise CustodianError(message)
                self._opened[uri] = self._open_one(uri)
            return self._opened[uri]


def open_apart(uri: str, *data: Path, ask: Ask | None, make: bool = False) -> Custodian:
    """Open a custodian whose keys must lie apart from each of these folders.

    Args:
        uri: which custodian, and where.
        data: the home, and the folder of an embedded object store.
        ask: asks a person for a PIN or token.
        make: make what a new custodian needs; for one that is in use it must be there.

    Raises:
        CustodianError: it cannot be used, or its keys would lie beside what they open.
    """
    *others, last = data
    for folder in others:
        open_custodian(uri, away_from=folder, ask=ask, make=make)
    return open_custodian(uri, away_from=last, ask=ask, make=make)
