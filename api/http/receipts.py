"""Route of receipts: for everybody, so it is the one place where guesses are counted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from vault.errors import CatalogueError, DamagedError, NotFoundError
from vault.receipts.answers import Receipts, receipt_facts
from vault.records.receipt_codes import CODE_CHARACTERS_MAX

from . import problems
from .desk import Desk, Places
from .openapi_parts import PLAIN, RECEIPT, answer, parameter, refusals
from .problems import TOO_MANY, RefusedError

__all__ = ["TokenBucket", "receipt_routes"]

_HASH: Final = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
_RECEIPT: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "read_receipt",
    "summary": "Ask what has become of a record",
    "description": "For whoever holds the receipt, without a token. `state` is `receiving`, `kept`, `destroying` or "
    "`destroyed`. A kept record has the member `until`, the last day; a destroyed one has `on`, `certificate` (null "
    "until it is issued) and `proof`: that the record stood on the frozen list, and that the destruction is in the "
    "ledger. Every code that is not a receipt's gets the same answer.",
    "responses": {
        200: {
            **answer("What has become of it.", {"state": "kept"}),
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["state"],
                        "properties": {
                            "state": {"enum": ["receiving", "kept", "destroying", "destroyed"]},
                            "until": {"type": "string", "format": "date"},
                            "on": {"type": "string", "format": "date"},
                            "certificate": {"type": ["string", "null"]},
                            "proof": {"type": "object"},
                        },
                    },
                    "examples": {
                        "kept": {"value": {"state": "kept", "until": "2028-03-31"}},
                        "destroyed": {
                            "value": {
                                "state": "destroyed",
                                "on": "2028-03-02",
                                "certificate": "6h1n8p4s2d9g0j5k7m3q1r8v4x",
                                "proof": {
                                    "list": {"index": 0, "size": 2, "path": [_HASH], "root": _HASH},
                                    "entry": {"leaf": "{…}", "path": [_HASH], "checkpoint": "shredvault/…"},
                                },
                            }
                        },
                    },
                }
            },
        },
        **refusals(
            problems.REQUEST_UNUSABLE,
            NotFoundError,
            TOO_MANY,
            problems.INTERNAL,
            DamagedError,
            problems.NOT_SERVING,
            problems.OVERLOADED,
            CatalogueError,
        ),
    },
    "openapi_extra": {
        "parameters": [
            parameter("path", "code", "The code on the receipt.", RECEIPT, minLength=1, maxLength=CODE_CHARACTERS_MAX)
        ]
    },
}


class TokenBucket:
    """A limit on how often something happens: `rate` a second, `burst` at once after a quiet time. For one loop."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left = float(burst)
        self._at = clock()

    def take(self) -> None:
        """Let it happen once more.

        Raises:
            RefusedError: not now.
        """
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            raise RefusedError(TOO_MANY)
        self._left -= 1


def receipt_routes(desk: Desk) -> APIRouter:
    """The routes, for one app."""
    routes = APIRouter(tags=["receipts"])
    receipts = Receipts(desk.vault)
    guesses = TokenBucket(desk.limits.receipts_s, desk.limits.receipts_burst)
    places = Places(desk.limits.receipts)

    @routes.get("/v1/receipts/{code}", **_RECEIPT)  # noqa: FAST003  # from the scope, where it is
    async def receipt(request: Request) -> Response:
        code = str(request.path_params["code"])
        guesses.take()
        with places:
            told = await desk.serve_anybody(lambda: receipt_facts(receipts.answer(code)))
        return Response(json.dumps(told).encode(), media_type="application/json")

    return routes
