"""What every route works with: the vault, and how this process may use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from starlette.requests import Request

from vault.access import Caller, MistypedTokenError, authenticate
from vault.context import Vault
from vault.serving.fences import Node

from .departure import Departure
from .edge import Facts, facts_of
from .limits import Limits
from .metrics import Metrics
from .problems import NOT_SERVING, OVERLOADED, TOKEN_MISSING, RefusedError
from .workers import Workers

__all__ = ["Desk", "Places"]

_T = TypeVar("_T")
_TOKEN_CHARACTERS_MAX: Final = 200


class Places:
    """A number of places; whoever finds none is refused at once, not queued. For one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count

    def __enter__(self) -> None:
        if not self._free:
            raise RefusedError(OVERLOADED)
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


@dataclass(frozen=True, slots=True)
class Desk:
    """Made once for an app."""

    vault: Vault
    node: Node
    limits: Limits
    metrics: Metrics
    workers: Workers
    departure: Departure
    uploads: Places = field(init=False)
    downloads: Places = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "uploads", Places(self.limits.uploads))
        object.__setattr__(self, "downloads", Places(self.limits.downloads))

    def must_serve(self) -> None:
        """Refuse while this process has no lease, or has taken leave.

        Raises:
            RefusedError: the lease has run out, or this worker is being replaced.
        """
        self.departure.must_not_be_cut()
        if not self.node.may_serve:
            raise RefusedError(NOT_SERVING)

    async def serve(self, request: Request, use_case: Callable[[Caller], _T]) -> _T:
        """Tell whose request this is and do a use case for them, both in one thread.

        Raises:
            RefusedError: there is no token, or this process may not serve.
            BadTokenError: the token is mistyped, unknown or revoked.
        """
        token = _bearer(request)
        self.must_serve()
        facts = facts_of(request.scope)
        return await self.workers.run(lambda: use_case(self._caller(token, facts)))

    async def serve_anybody(self, question: Callable[[], _T]) -> _T:
        """Answer a question for which nobody needs a token; it must use no keys.

        Raises:
            RefusedError: this process may not serve.
        """
        self.must_serve()
        return await self.workers.run(question)

    async def identify(self, request: Request) -> Caller:
        """Tell whose request this is.

        Raises:
            As `serve`.
        """
        return await self.serve(request, lambda caller: caller)

    def _caller(self, token: str, facts: Facts) -> Caller:
        caller = authenticate(self.vault, token)
        facts.token_id = caller.token_id
        return caller


def _bearer(request: Request) -> str:
    given = request.headers.getlist("authorization")
    if len(given) != 1:
        raise RefusedError(TOKEN_MISSING)
    scheme, _, token = given[0].strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise RefusedError(TOKEN_MISSING)
    if len(token) > _TOKEN_CHARACTERS_MAX:
        raise MistypedTokenError
    return token
