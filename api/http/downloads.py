"""The route that gives a document to a reviewer.

The last piece leaves when the whole document has been authenticated to its end, so an answer that is complete by its
Content-Length is a whole document. When something fails on the way the connection ends short of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vault.access import Caller
from vault.records.retrieval import DocumentReading, read_document

from .desk import Desk
from .edge import facts_of
from .openapi import GET
from .problems import CALLER_GONE, RefusedError

__all__ = ["download_routes"]

_SUFFIXES: Final = {"application/pdf": "pdf", "image/jpeg": "jpg", "image/png": "png", "image/tiff": "tiff"}


def download_routes(desk: Desk) -> APIRouter:
    """The route, for one app."""
    routes = APIRouter(tags=["documents"])

    @routes.get("/v1/records/{record_id}/documents/{name:path}", **GET)  # noqa: FAST003  # from the scope: see `openapi`
    async def get_document(request: Request) -> Response:
        record_id, name = str(request.path_params["record_id"]), str(request.path_params["name"])
        facts_of(request.scope).concerns(record_id)
        return _Answer(desk, request, record_id, name)

    return routes


class _Answer(Response):
    """Reads and sends. Holds the first piece back until the reading works, and the last until it has ended well."""

    def __init__(self, desk: Desk, request: Request, record_id: str, name: str) -> None:
        self._desk = desk
        self._request = request
        self._record_id = record_id
        self._name = name
        self._reading: DocumentReading | None = None
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI
        """Send the answer."""
        desk = self._desk
        with desk.downloads:
            try:
                reading = await desk.serve(self._request, self._begin)
                pieces = reading.chunks()
                held, piece = await self._next(pieces), await self._next(pieces)
                await send({"type": "http.response.start", "status": 200, "headers": self._head(reading)})
                while piece is not None:
                    await self._pass_on(send, held or b"", more=True)
                    held, piece = piece, await self._next(pieces)
                await self._pass_on(send, held or b"", more=False)
                desk.metrics.reads.labels("document").inc()
            finally:
                if self._reading is not None:
                    await desk.workers.run(self._reading.close)

    def _begin(self, caller: Caller) -> DocumentReading:
        # Kept here, not only returned: a request that is cancelled meanwhile must close it.
        purpose = self._request.headers.get("purpose")
        self._reading = read_document(self._desk.vault, caller, self._record_id, self._name, purpose)
        return self._reading

    async def _next(self, pieces: Iterator[bytes]) -> bytes | None:
        self._desk.must_serve()
        return await self._desk.workers.run(lambda: next(pieces, None))

    async def _pass_on(self, send: Send, piece: bytes, *, more: bool) -> None:
        """Send a piece; a caller who takes nothing for long is given up."""
        try:
            # A process that was stopped gives out nothing that it opened before.
            self._desk.must_serve()
            until = asyncio.get_running_loop().time() + self._desk.limits.silence_s
            async with self._desk.departure.patience(until, self._record_id):
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        except TimeoutError as slow:
            raise RefusedError(CALLER_GONE) from slow

    def _head(self, reading: DocumentReading) -> list[tuple[bytes, bytes]]:
        plain = f"document.{_SUFFIXES.get(reading.media_type, 'bin')}"
        disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(self._name, safe='')}"
        return [
            (b"content-type", reading.media_type.encode()),
            (b"content-length", str(reading.size).encode()),
            (b"content-disposition", disposition.encode()),
        ]
