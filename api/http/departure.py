"""How a worker that is replaced takes leave of its callers.

At first it takes nothing new, cuts what concerns condemned records, and lets the rest come to its end. After a while it
cuts that too. To cut is to wake whoever waits for a caller's next byte, or for a caller to take one; the caller is told
to come again, where no answer has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .problems import LEAVING, RefusedError

__all__ = ["Departure"]


class Departure:
    """The leave of one app. For one event loop, except for `leaving`."""

    def __init__(self) -> None:
        self.leaving = False
        """Set when the server stops to listen: answers end their connections from then on."""
        self._condemned: frozenset[str] = frozenset()
        self._all_cut = False
        self._waits: dict[asyncio.Timeout, str | None] = {}

    @asynccontextmanager
    async def patience(self, until: float, record_id: str | None) -> AsyncIterator[None]:
        """Wait for a caller within the block, until that time of the loop's clock at most.

        `record_id` is the record that it is about, if it is about one.

        Raises:
            RefusedError: this worker is leaving, and waits no longer.
            TimeoutError: the time has come.
        """
        self.must_not_be_cut()
        try:
            async with asyncio.timeout_at(until) as wait:
                self._waits[wait] = record_id
                try:
                    yield
                finally:
                    del self._waits[wait]
        except TimeoutError as ended:
            if self._concerns(record_id):
                raise RefusedError(LEAVING) from ended
            raise

    def must_not_be_cut(self) -> None:
        """Refuse when this worker has cut what was under way.

        Raises:
            RefusedError: it has.
        """
        if self._all_cut:
            raise RefusedError(LEAVING)

    def cut_condemned(self, records: frozenset[str]) -> None:
        """Wake those who wait for a caller and are about one of these records."""
        self._condemned |= records
        self._wake()

    def cut(self) -> None:
        """Wake everybody who waits for a caller."""
        self._all_cut = True
        self._wake()

    def _wake(self) -> None:
        now = asyncio.get_running_loop().time()
        for wait, record_id in self._waits.items():
            if self._concerns(record_id):
                wait.reschedule(now)

    def _concerns(self, record_id: str | None) -> bool:
        return self._all_cut or record_id in self._condemned
