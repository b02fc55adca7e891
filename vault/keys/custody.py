"""The custodians of one vault. Each master's custodian is written beside it, so two can be in use during a move.

Only custodians that the home's settings name are opened: whoever can write to the catalogue must not be able
to send keys, or the secrets that an address points to, to a place of his choice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from keystore import Custodian, CustodianError

__all__ = ["Custody"]


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
