"""What the routes share: the vault, the node, the threads for blocking work, and who is calling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

import structlog
from fastapi import Request

from vault.access import Caller, authenticate
from vault.context import Vault
from vault.fences import Node

from .frame import Metrics
from .problems import NOT_AUTHENTICATED, NOT_SERVING, ProblemError

__all__ = ["THREADS", "Service"]

THREADS: Final = 40
"""Blocking calls at once; further ones wait."""

P = ParamSpec("P")
T = TypeVar("T")


class Service:
    """One running application."""

    def __init__(self, vault: Vault, node: Node, metrics: Metrics) -> None:
        self.vault = vault
        self.node = node
        self.metrics = metrics
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="vault")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))

    def close(self) -> None:
        """Wait for blocking work, and end the threads."""
        self._threads.shutdown()

    def caller(self, request: Request) -> Caller:
        """Who is calling; before one byte of the body is accepted. Blocks.

        Raises:
            ProblemError: no lease, or no token.
            BadTokenError: the token is mistyped, unknown or revoked.
        """
        if not self.node.may_serve:
            raise ProblemError(NOT_SERVING, "This node has lost its lease; it serves again when it has renewed it.")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ProblemError(NOT_AUTHENTICATED, "Send an access token: `Authorization: Bearer svt_…`.")
        return authenticate(self.vault, token.strip())

    @staticmethod
    def log_caller(caller: Caller, record_id: str | None = None) -> None:
        """Put the caller's token id, and the record's id, into this request's log line."""
        structlog.contextvars.bind_contextvars(token_id=caller.token_id)
        if record_id is not None:
            structlog.contextvars.bind_contextvars(record_id=record_id)
