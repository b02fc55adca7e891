"""How a worker that is replaced takes leave of its callers.

At first it takes nothing new and lets what is under way come to its end. After a while it cuts what is left: whoever
waits for a caller's next byte, or for a caller to take one, is woken, and the caller is told to come again.
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
        self.is_cut = False
        self._waits: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def patience(self, until: float | None = None) -> AsyncIterator[None]:
        """Wait for a caller within the block, until that time of the loop's clock at most.

        Raises:
            RefusedError: this worker is leaving, and waits no longer.
            TimeoutError: the time has come.
        """
        self.must_not_be_cut()
        try:
            async with asyncio.timeout_at(until) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError as ended:
            if self.is_cut:
                raise RefusedError(LEAVING) from ended
            raise

    def must_not_be_cut(self) -> None:
        """Refuse when this worker has cut what was under way.

        Raises:
            RefusedError: it has.
        """
        if self.is_cut:
            raise RefusedError(LEAVING)

    def cut(self) -> None:
        """Wake everybody who waits for a caller."""
        self.is_cut = True
        now = asyncio.get_running_loop().time()
        for wait in list(self._waits):
            wait.reschedule(now)
