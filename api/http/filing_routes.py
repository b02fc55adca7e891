"""Routes of enrollment centers: open a record, file documents, complete it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from vault.access import Caller, Role
from vault.filing import complete_record, open_record
from vault.uploads import Upload, begin_upload

from .problems import INTERRUPTED, INVALID, MALFORMED, TOO_LARGE, ProblemError
from .schemas import CompletedAnswer, DocumentAnswer, OpenedAnswer, OpenRecord, ProblemAnswer
from .service import Service

__all__ = ["filing_routes"]

BODY_BYTES_MAX: Final = 64 * 1024
KEY_CHARACTERS_MAX: Final = 200
_DIGITS_MAX: Final = 12

_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ProblemAnswer, "description": text}
    for status, text in {
        401: "No valid access token",
        403: "Not a center's token",
        404: "No such record for this token",
        409: "In conflict with what is there",
        410: "The record was destroyed",
        413: "Too large",
        415: "Not a PDF, JPEG, PNG or TIFF",
        422: "Invalid",
        503: "Nothing was stored; try again",
    }.items()
}
_RAW_BODY: Final = {
    "requestBody": {
        "required": True,
        "description": "The scan itself, at most 25 MiB. Its type is found by its first bytes.",
        "content": {
            name: {"schema": {"type": "string", "format": "binary"}}
            for name in ("application/pdf", "image/jpeg", "image/png", "image/tiff", "application/octet-stream")
        },
    }
}
_JSON_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": OpenRecord.model_json_schema(ref_template="#/components/schemas/{model}")}
        },
    }
}


def filing_routes(service: Service) -> APIRouter:
    """Routes that file."""
    routes = APIRouter(tags=["filing"])
    _add_opening(routes, service)
    _add_documents(routes, service)
    _add_completing(routes, service)
    return routes


def _add_opening(routes: APIRouter, service: Service) -> None:
    @routes.post(
        "/v1/records", status_code=201, response_model=OpenedAnswer, responses=_some(401, 403, 409, 410, 413, 422, 503)
    )
    async def open_a_record(
        request: Request,
        idempotency_key: Annotated[
            str | None, Header(description="Chosen by the center, once for each record.", examples=["5f2c…"])
        ] = None,
    ) -> Response:
        """Open a record. The applicant's fields go into its sealed sheet; nothing of them is kept in the clear.

        The same key with the same body gives the same answer again (200, `Idempotent-Replayed: true`).
        """
        caller = await _center(service, request)
        if not idempotency_key or len(idempotency_key) > KEY_CHARACTERS_MAX or not idempotency_key.isascii():
            raise ProblemError(MALFORMED, "Send an Idempotency-Key of 1 to 200 ASCII characters, one for each record.")
        body = await _small_body(request)
        opening = _parse(body)
        opened = await service.run(
            open_record,
            service.vault,
            caller,
            idempotency_key=idempotency_key,
            applicant=opening.applicant.model_dump(mode="json", exclude_none=True),
            body=body,
        )
        service.log_caller(caller, opened.record_id)
        answer = {"record_id": opened.record_id, "receipt": opened.receipt}
        if opened.repeated:
            return JSONResponse(answer, 200, {"Idempotent-Replayed": "true"})
        return JSONResponse(answer, 201, {"Location": f"/v1/records/{opened.record_id}"})


def _add_documents(routes: APIRouter, service: Service) -> None:
    @routes.put(
        "/v1/records/{record_id}/documents/{name}",
        status_code=201,
        response_model=DocumentAnswer,
        responses={200: {"model": DocumentAnswer, "description": "It was there already"}, **_PROBLEMS},
        openapi_extra=_RAW_BODY,
    )
    async def put_a_document(request: Request, record_id: str, name: str) -> Response:
        """File one scan. The same bytes under the same name again are one document."""
        upload = await service.run(_begin, service, request, record_id, name)
        service.metrics.uploads.inc()
        whole = False
        try:
            async for chunk in request.stream():
                if chunk:
                    upload.add(chunk)
                    service.metrics.received.inc(len(chunk))
                    if upload.part_is_full:
                        await service.run(upload.send_part)
            filed = await service.run(upload.finish)
            whole = True
        except ClientDisconnect as gone:
            raise ProblemError(INTERRUPTED, "The connection ended before the whole document had arrived.") from gone
        finally:
            service.metrics.uploads.dec()
            if not whole:
                service.metrics.broken.inc()
                await service.run(upload.abort)
        answer = {"document_id": filed.document_id, "size": filed.size, "media_type": filed.media_type}
        return JSONResponse(answer, 200 if filed.repeated else 201)


def _add_completing(routes: APIRouter, service: Service) -> None:
    @routes.post(
        "/v1/records/{record_id}/complete",
        response_model=CompletedAnswer,
        responses=_some(401, 403, 404, 409, 410, 503),
    )
    async def complete_a_record(request: Request, record_id: str) -> CompletedAnswer:
        """Complete a record: its retention clock starts, once. Repeating this changes nothing."""
        caller = await _center(service, request)
        completed = await service.run(complete_record, service.vault, caller, record_id)
        service.log_caller(caller, completed.record_id)
        return CompletedAnswer(
            record_id=completed.record_id,
            completed_at=completed.completed_at,
            due_on=completed.due_on,
            documents=completed.documents,
        )


def _some(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _PROBLEMS[status] for status in statuses}


async def _center(service: Service, request: Request) -> Caller:
    caller = await service.run(service.caller, request)
    caller.require(Role.CENTER)
    service.log_caller(caller)
    return caller


def _begin(service: Service, request: Request, record_id: str, name: str) -> Upload:
    """Authenticate and authorise, before the first byte of the body is asked for."""
    caller = service.caller(request)
    length = request.headers.get("content-length", "")
    if length and (not length.isdigit() or len(length) > _DIGITS_MAX):
        raise ProblemError(MALFORMED, "The Content-Length is not a number.")
    return begin_upload(
        service.vault,
        caller,
        record_id,
        name,
        declared_size=int(length) if length else None,
        declared_type=request.headers.get("content-type"),
    )


async def _small_body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise ProblemError(TOO_LARGE, "The request's body may have 64 KiB.")
    except ClientDisconnect as gone:
        raise ProblemError(INTERRUPTED, "The connection ended before the whole request had arrived.") from gone
    return bytes(body)


def _parse(body: bytes) -> OpenRecord:
    try:
        return OpenRecord.model_validate_json(body)
    except ValidationError as invalid:
        found = [
            _complaint(error) for error in invalid.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ProblemError(INVALID, "Some fields of the request are missing or invalid.", errors=found) from invalid


_KNOWN: Final = frozenset({"applicant", "given_name", "family_name", "date_of_birth", "more"})


def _complaint(error: Any) -> dict[str, str]:
    """Where and which rule; field names that are not ours might be the applicant's, and are not repeated."""
    where = ".".join(str(part) if part in _KNOWN else "?" for part in error["loc"]) or "body"
    return {"field": where, "rule": str(error["type"])}
