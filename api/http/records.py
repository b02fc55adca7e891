"""Routes of records: open, complete, look at."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from vault.access import Caller, Role
from vault.records.deciding import decide_record
from vault.records.filing import complete_record, open_record
from vault.records.retrieval import read_record

from .applicants import parse_open_record
from .bodies import require_json, small_body
from .desk import Desk
from .edge import facts_of
from .openapi import COMPLETE, DECIDED, OPEN, VIEW
from .problems import KEY_MISSING, RefusedError

__all__ = ["json_response", "record_routes"]

_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[47][0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}")


def record_routes(desk: Desk) -> APIRouter:
    """The routes, for one app."""
    routes = APIRouter(tags=["records"])

    @routes.post("/v1/records", **OPEN)
    async def open_one(request: Request) -> Response:
        caller = await desk.identify(request)
        caller.require(Role.CENTER)
        key = _idempotency_key(request)
        require_json(request)
        body = await small_body(request, desk.limits, desk.departure)
        applicant = parse_open_record(body).applicant.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        desk.must_serve()
        opened = await desk.workers.run(
            lambda: open_record(desk.vault, caller, idempotency_key=key, applicant=applicant, body=body)
        )
        facts_of(request.scope).concerns(opened.record_id)
        headers = {"Location": f"/v1/records/{opened.record_id}"}
        if opened.repeated:
            headers["Idempotent-Replayed"] = "true"
        return json_response(
            {"record_id": opened.record_id, "receipt": opened.receipt}, 200 if opened.repeated else 201, headers
        )

    @routes.post("/v1/records/{record_id}/complete", **COMPLETE)  # noqa: FAST003  # from the scope: see `openapi`
    async def complete_one(request: Request) -> Response:
        record_id = str(request.path_params["record_id"])
        facts_of(request.scope).concerns(record_id)
        done = await desk.serve(request, lambda caller: complete_record(desk.vault, caller, record_id))
        return json_response(
            {
                "record_id": done.record_id,
                "completed_at": done.completed_at.isoformat(),
                "due_on": done.due_on.isoformat(),
                "documents": done.documents,
            }
        )

    @routes.post("/v1/records/{record_id}/decided", **DECIDED)  # noqa: FAST003  # from the scope: see `openapi`
    async def decide_one(request: Request) -> Response:
        record_id = str(request.path_params["record_id"])
        facts_of(request.scope).concerns(record_id)
        decided = await desk.serve(request, lambda caller: decide_record(desk.vault, caller, record_id))
        return json_response({"record_id": decided.record_id, "due_on": decided.due_on.isoformat()})

    @routes.get("/v1/records/{record_id}", **VIEW)  # noqa: FAST003  # from the scope: see `openapi`
    async def view_one(request: Request) -> Response:
        record_id = str(request.path_params["record_id"])
        facts_of(request.scope).concerns(record_id)
        purpose = request.headers.get("purpose")

        def view(caller: Caller) -> dict[str, Any]:
            seen = read_record(desk.vault, caller, record_id, purpose)
            return {
                "record_id": seen.record_id,
                "state": seen.state,
                "applicant": seen.applicant,
                "opened_at": seen.opened_at.isoformat(),
                "completed_at": seen.completed_at.isoformat() if seen.completed_at else None,
                "due_on": seen.due_on.isoformat() if seen.due_on else None,
                "documents": [
                    {"name": line.name, "media_type": line.media_type, "size": line.size} for line in seen.documents
                ],
            }

        answer = await desk.serve(request, view)
        desk.metrics.reads.labels("record").inc()
        return json_response(answer)

    return routes


def json_response(content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer of JSON."""
    return Response(json.dumps(content, ensure_ascii=False).encode(), status, headers, "application/json")


def _idempotency_key(request: Request) -> str:
    given = request.headers.getlist("idempotency-key")
    if len(given) != 1:
        raise RefusedError(KEY_MISSING)
    # A hash of the key stands in the catalogue and its backups for ever. Only a random key says nothing of the
    # applicant there: a name or a case number could be guessed.
    if not _UUID.fullmatch(given[0]):
        raise RefusedError(KEY_MISSING)
    return given[0].lower()
