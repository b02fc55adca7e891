"""Routes of reviewers: read a record, read a document. Every read has a purpose and is on record first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Header, Request
from starlette.responses import Response, StreamingResponse

from vault.retrieval import DocumentReading, Purpose, RecordView, read_document, read_record

from .logs import log
from .schemas import ProblemAnswer, RecordAnswer
from .service import Service

__all__ = ["reading_routes"]

_PURPOSE: Final = Header(description="Why: one of " + ", ".join(Purpose) + ".", examples=["application-review"])
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ProblemAnswer, "description": text}
    for status, text in {
        400: "No purpose",
        401: "No valid access token",
        403: "Not a reviewer's token",
        404: "Unknown",
        410: "The record was destroyed",
        503: "Try again",
    }.items()
}


def reading_routes(service: Service) -> APIRouter:
    """Routes that read."""
    routes = APIRouter(tags=["reading"], responses=_PROBLEMS)

    @routes.get("/v1/records/{record_id}", response_model=RecordAnswer)
    async def get_a_record(
        request: Request, record_id: str, purpose: Annotated[str | None, _PURPOSE] = None
    ) -> RecordAnswer:
        """Read the applicant's fields and the list of documents."""
        view = await service.run(_record, service, request, record_id, purpose)
        return RecordAnswer.model_validate(asdict(view))

    @routes.get(
        "/v1/records/{record_id}/documents/{name}",
        response_class=StreamingResponse,
        responses={200: {"description": "The document", "content": {"application/octet-stream": {}}}},
    )
    async def get_a_document(
        request: Request, record_id: str, name: str, purpose: Annotated[str | None, _PURPOSE] = None
    ) -> Response:
        """Read one document. It ends early, and not at its Content-Length, if what is stored was altered."""
        reading = await service.run(_document, service, request, record_id, name, purpose)
        service.metrics.reads.inc()
        headers = {
            "Content-Length": str(reading.size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        }
        return StreamingResponse(_chunks(service, reading), 200, headers, media_type=reading.media_type)

    return routes


def _record(service: Service, request: Request, record_id: str, purpose: str | None) -> RecordView:
    caller = service.caller(request)
    service.log_caller(caller)
    return read_record(service.vault, caller, record_id, purpose)


def _document(service: Service, request: Request, record_id: str, name: str, purpose: str | None) -> DocumentReading:
    caller = service.caller(request)
    service.log_caller(caller)
    return read_document(service.vault, caller, record_id, name, purpose)


async def _chunks(service: Service, reading: DocumentReading) -> AsyncIterator[bytes]:
    chunks = reading.chunks()
    try:
        while piece := await service.run(next, chunks, b""):
            yield piece
    except Exception as error:
        # The head of the answer is out: breaking the connection is the only way left to say so.
        log.error("reading broke off", error=type(error).__name__)
        raise
    finally:
        await service.run(reading.close)
