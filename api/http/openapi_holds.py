"""What /openapi.json says of the operations on holds. See `api.http.openapi`."""

from __future__ import annotations

from typing import Any, Final

from vault.errors import CatalogueFullError, HoldRefusedError, NotFoundError

from . import problems
from .openapi_parts import EVERYWHERE, ID, PLAIN, SECURED, answer, parameter, refusals

__all__ = ["EXTEND", "HOLD", "HOLDS", "PLACE"]

_HOLD_ID: Final = parameter("path", "hold_id", "The hold's id.", ID, minLength=1, maxLength=26)
_LINE: Final[dict[str, Any]] = {
    "id": ID,
    "vault": "9c1f5e0a7b3d42688e21f0d4c5b6a798",
    "kind": "court-order",
    "authority": "Supreme Court",
    "docket": "80308/16",
    "reason": None,
    "sealed": None,
    "state": "in force",
    "ordered_at": "2016-12-07T19:30:00+00:00",
    "served_at": None,
    "effective_at": None,
    "entered_at": "2016-12-07T20:02:11+00:00",
    "review_on": "2016-12-21",
    "ends_on": None,
    "tail_days": 365,
    "tail_reason": None,
    "placer": "token 6h1n8p4s2d9g0j5k7m3q1r8v4x",
    "ends_at": None,
    "released_at": None,
    "records": 0,
    "scopes": [{"number": 1, "filed_from": None, "filed_to": None, "center": None, "includes_future": True}],
}
_BODY_REFUSALS: Final = (
    problems.LENGTH_UNREADABLE,
    problems.BODY_TOO_SLOW,
    problems.BODY_TOO_LARGE,
    problems.JSON_NEEDED,
    problems.FIELDS_INVALID,
    HoldRefusedError,
    CatalogueFullError,
)


def _requested(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    return {"required": True, "content": {"application/json": content}}


_PLACED: Final = {"hold_id": ID, "protects": 10412, "answers": ["held", "unknown"], "renewal_due": None}

PLACE: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "place_hold",
    "summary": "Place a hold",
    "description": "For counsel. In force when this answers, and before. `answers` has an entry for each of "
    "`record_ids`, in their order: held, unknown, or when and by which destruction the record died. The same authority "
    "and docket again add to the same hold. `renewal_due` is null, or says by when the destroyer must replace a "
    "master key that would end at a deadline with what is to be kept.",
    "status_code": 201,
    "responses": {
        200: answer("All of it was in force before.", _PLACED),
        201: answer("The hold is in force.", _PLACED),
        **refusals(*EVERYWHERE, *_BODY_REFUSALS),
        404: answer(
            "Only records were named, and none can be held: no hold was placed.",
            {"hold_id": None, "protects": 0, "answers": ["unknown"]},
        ),
    },
    "openapi_extra": {
        "security": SECURED,
        "requestBody": _requested(
            "PlaceHold",
            {
                "kind": "court-order",
                "authority": "Supreme Court",
                "docket": "80308/16",
                "program": True,
                "review_on": "2016-12-21",
            },
        ),
    },
}

HOLDS: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "list_holds",
    "summary": "List the holds in force",
    "description": "For counsel, records officers and auditors. Sealed holds are listed for counsel only.",
    "responses": {200: answer("Oldest first.", {"holds": [_LINE]}), **refusals(*EVERYWHERE)},
    "openapi_extra": {"security": SECURED},
}

HOLD: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "show_hold",
    "summary": "Look at a hold",
    "description": "For counsel, records officers and auditors. `sealed` is what `shredvault hold unseal` opens.",
    "responses": {200: answer("The hold.", {**_LINE, "protects": 10412}), **refusals(*EVERYWHERE, NotFoundError)},
    "openapi_extra": {"security": SECURED, "parameters": [_HOLD_ID]},
}

EXTEND: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "extend_hold",
    "summary": "Extend a hold",
    "description": "For counsel. A later end, the next review, or both. An earlier end takes an order of two people.",
    "responses": {
        200: answer("The hold as it is now.", {**_LINE, "protects": 10412}),
        **refusals(*EVERYWHERE, *_BODY_REFUSALS, NotFoundError),
    },
    "openapi_extra": {
        "security": SECURED,
        "parameters": [_HOLD_ID],
        "requestBody": _requested("ExtendHold", {"review_on": "2017-01-05", "ends_on": None}),
    },
}
