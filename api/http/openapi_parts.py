"""The parts from which operations are described: parameters, answers, and refusals by their kinds of problem."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from vault.access import BadTokenError, ForbiddenError, MistypedTokenError
from vault.errors import BusyError, CatalogueError, CustodianUnavailableError, DestroyedError
from vault.objects import ObjectStoreError

from . import problems
from .problems import MEDIA_TYPE, PROBLEMS, Kind

__all__ = ["EVERYWHERE", "ID", "PLAIN", "RECEIPT", "SECURED", "answer", "parameter", "refusals"]

ID: Final = "3v7f0k2m9q8x1c5r6t4w0y2z7b"
RECEIPT: Final = "3v7f0-k2m9q-8x1c5-r6t4w-0y2z7-brkbp"
_DESTRUCTION: Final = "6h1n8p4s2d9g0j5k7m3q1r8v4x"
_DETAIL: Final = "A sentence for people."
SECURED: Final = [{"token": list[str]()}]
EVERYWHERE: Final = (
    problems.REQUEST_UNUSABLE,
    problems.TOKEN_MISSING,
    MistypedTokenError,
    BadTokenError,
    ForbiddenError,
    problems.INTERNAL,
    problems.NOT_SERVING,
    problems.OVERLOADED,
    BusyError,
    CatalogueError,
    CustodianUnavailableError,
    ObjectStoreError,
)
PLAIN: Final[dict[str, Any]] = {"response_class": Response}


def _example(kind: Kind) -> dict[str, Any]:
    example: dict[str, Any] = {"type": kind.type, "title": kind.title, "status": kind.status}
    example["detail"] = kind.detail or _DETAIL
    example["request_id"] = "5f0c2a9be1d47386"
    example |= kind.members
    if kind is PROBLEMS[DestroyedError]:
        example["destruction_id"] = _DESTRUCTION
    if kind is problems.FIELDS_INVALID:
        example["errors"] = [{"pointer": "#/applicant/family_name", "rule": "missing", "detail": "is missing"}]
    return example


def refusals(*causes: Kind | type[Exception]) -> dict[int | str, dict[str, Any]]:
    """Responses for the kinds of problem that an operation answers, by status."""
    by_status: dict[int | str, list[Kind]] = {}
    for cause in causes:
        kind = cause if isinstance(cause, Kind) else PROBLEMS[cause]
        by_status.setdefault(kind.status, []).append(kind)
    return {
        status: {
            "description": "; ".join(kind.title for kind in kinds) + ".",
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {kind.slug: {"value": _example(kind)} for kind in kinds},
                }
            },
        }
        for status, kinds in by_status.items()
    }


def answer(description: str, example: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A response of JSON, with an example from which its schema is read."""
    properties = {name: {"type": _type_of(value)} for name, value in example.items()}
    schema = {"type": "object", "required": list(example), "properties": properties}
    return {
        "description": description,
        "content": {"application/json": {"schema": schema, "example": example}},
        "headers": {
            name: {"description": text, "schema": {"type": "string"}} for name, text in (headers or {}).items()
        },
    }


def _type_of(value: object) -> str | list[str]:
    if value is None:
        return ["string", "null"]
    return {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}[type(value)]


def parameter(place: str, name: str, text: str, example: str, **schema: Any) -> dict[str, Any]:
    """A parameter that is required."""
    return {
        "in": place,
        "name": name,
        "required": True,
        "description": text,
        "schema": {"type": "string", **schema},
        "example": example,
    }
