"""The route that takes a document: authorised before one byte of it, sealed as it comes, stored when it is whole.

The event loop seals (a chunk of 64 KiB takes less time than handing it to a thread); what waits for the catalogue
or the bucket is done in a thread: once before the body, once after it, and once for each 7 MiB between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from vault.access import Caller
from vault.errors import BadDocumentError, DocumentTooLargeError
from vault.records.uploads import NAME_CHARACTERS_MAX, Filed, Upload, begin_upload

from .bodies import chunks, declared_length
from .desk import Desk
from .edge import facts_of
from .openapi import PUT
from .problems import FORM_SENT, NAME_UNUSABLE, RefusedError, kind_of

__all__ = ["upload_routes"]

CHUNK_BYTES_MAX: Final = 1024 * 1024
_NOT_UTF8: Final = "\ufffd"
_FORMS: Final = ("multipart/", "application/x-www-form-urlencoded")


def upload_routes(desk: Desk) -> APIRouter:
    """The route, for one app."""
    routes = APIRouter(tags=["documents"])

    @routes.put("/v1/records/{record_id}/documents/{name:path}", **PUT)  # noqa: FAST003  # from the scope: see `openapi`
    async def put_document(request: Request) -> Response:
        record_id = str(request.path_params["record_id"])
        facts_of(request.scope).concerns(record_id)
        with desk.uploads:
            filed = await _Reception(desk, request, record_id, str(request.path_params["name"])).take()
        # Every part of this answer is ours: nothing in it needs escaping.
        body = f'{{"document_id":"{filed.document_id}","media_type":"{filed.media_type}","size":{filed.size}}}'
        return Response(body.encode(), 200 if filed.repeated else 201, media_type="application/json")

    return routes


class _Reception:
    """One document being taken in."""

    def __init__(self, desk: Desk, request: Request, record_id: str, name: str) -> None:
        self._desk = desk
        self._request = request
        self._record_id = record_id
        self._name = name
        self._upload: Upload | None = None

    async def take(self) -> Filed:
        """Authorise, receive, store. Whatever ends it early, nothing of it counts."""
        desk = self._desk
        desk.metrics.in_flight.inc()
        try:
            upload = await desk.serve(self._request, self._begin)
            async for chunk in chunks(self._request, desk.limits, desk.departure):
                desk.must_serve()
                for piece in _pieces(chunk):
                    if upload.part_is_full:
                        await desk.workers.run(upload.send_part)
                    upload.add(piece)
            desk.must_serve()
            return await desk.workers.run(upload.finish)
        except BaseException as error:
            if self._upload is not None:
                desk.metrics.aborted.labels(_reason(error)).inc()
                await desk.workers.run(self._upload.abort)
            raise
        finally:
            desk.metrics.in_flight.dec()

    def _begin(self, caller: Caller) -> Upload:
        # Kept here, not only returned: a request that is cancelled meanwhile must abort it.
        if _NOT_UTF8 in self._name:
            raise RefusedError(NAME_UNUSABLE, "The document's name must be UTF-8, percent-encoded.")
        declared = self._request.headers.get("content-type")
        if declared and declared.lower().startswith(_FORMS):
            raise RefusedError(FORM_SENT)
        try:
            self._upload = begin_upload(
                self._desk.vault,
                caller,
                self._record_id,
                self._name,
                declared_size=declared_length(self._request),
                declared_type=declared,
            )
        except DocumentTooLargeError:
            raise
        except BadDocumentError as unusable:
            detail = f"A name has 1 to {NAME_CHARACTERS_MAX} printable characters and no slash."
            raise RefusedError(NAME_UNUSABLE, detail) from unusable
        return self._upload


def _pieces(chunk: bytes) -> Iterator[bytes]:
    """What `Upload.add` takes at a time; a server may hand over more."""
    if len(chunk) <= CHUNK_BYTES_MAX:
        yield chunk
        return
    for start in range(0, len(chunk), CHUNK_BYTES_MAX):
        yield chunk[start : start + CHUNK_BYTES_MAX]


def _reason(error: BaseException) -> str:
    return kind_of(error).slug if isinstance(error, Exception) else "shutdown"
