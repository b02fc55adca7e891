"""Threads for what blocks: the use cases of `vault`.

A thread that has begun is waited for, also by a request that is being cancelled: nobody drops an upload's
buffer or a reading's cipher while a thread still works on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Workers"]

_T = TypeVar("_T")


class Workers:
    """A pool of threads for one app; they start when they are needed."""

    def __init__(self, threads: int, name: str = "vault") -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, job: Callable[[], _T]) -> _T:
        """Do `job` in a thread; when this request is cancelled, wait for its end first."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise

    def close(self) -> None:
        """Wait for the threads, and let them go."""
        self._pool.shutdown(wait=True, cancel_futures=True)
