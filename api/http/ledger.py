"""Routes of the ledger: its newest checkpoint, the leaf of an entry, and proofs. Hashes, and no facts.

For every token but a center's: who only files has no need to see when something was held or ordered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from vault.access import Caller, Role
from vault.errors import NotFoundError
from vault.ledger.showing import consistency, inclusion, latest_checkpoint, leaf_of

from .desk import Desk
from .openapi_ledger import CHECKPOINT, CONSISTENCY, ENTRY, INCLUSION
from .problems import NUMBERS_NEEDED, RefusedError
from .records import json_response

__all__ = ["ledger_routes"]

_T = TypeVar("_T")
_READERS: Final = tuple(role for role in Role if role is not Role.CENTER)
_NUMBER: Final = re.compile(r"[0-9]{1,15}")


def ledger_routes(desk: Desk) -> APIRouter:
    """The routes, for one app."""
    routes = APIRouter(tags=["ledger"])

    @routes.get("/v1/ledger/checkpoint", **CHECKPOINT)
    async def checkpoint(request: Request) -> Response:
        signed = await desk.serve(request, _reading(lambda: latest_checkpoint(desk.vault)))
        return Response(signed.encode(), media_type="text/plain")

    @routes.get("/v1/ledger/entries/{number}", **ENTRY)  # noqa: FAST003  # from the scope: see `openapi`
    async def entry(request: Request) -> Response:
        text = str(request.path_params["number"])

        def show() -> bytes:
            if _NUMBER.fullmatch(text) is None:
                raise NotFoundError("The ledger has no entry of this number.")
            return leaf_of(desk.vault, int(text))

        return Response(await desk.serve(request, _reading(show)), media_type="application/json")

    @routes.get("/v1/ledger/proofs/inclusion", **INCLUSION)
    async def prove_inclusion(request: Request) -> Response:
        def show() -> dict[str, Any]:
            leaf, size = _number(request, "leaf"), _number(request, "size")
            return {"leaf": leaf, "size": size, "path": [one.hex() for one in inclusion(desk.vault, leaf, size)]}

        return json_response(await desk.serve(request, _reading(show)))

    @routes.get("/v1/ledger/proofs/consistency", **CONSISTENCY)
    async def prove_consistency(request: Request) -> Response:
        def show() -> dict[str, Any]:
            old, new = _number(request, "from"), _number(request, "to")
            return {"from": old, "to": new, "path": [one.hex() for one in consistency(desk.vault, old, new)]}

        return json_response(await desk.serve(request, _reading(show)))

    return routes


def _reading(show: Callable[[], _T]) -> Callable[[Caller], _T]:
    def use_case(caller: Caller) -> _T:
        caller.require(*_READERS)
        return show()

    return use_case


def _number(request: Request, name: str) -> int:
    given = request.query_params.getlist(name)
    if len(given) != 1 or _NUMBER.fullmatch(given[0]) is None:
        raise RefusedError(NUMBERS_NEEDED)
    return int(given[0])
