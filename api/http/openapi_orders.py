"""What /openapi.json says of orders and destructions."""

from __future__ import annotations

from typing import Any, Final

from vault.errors import CatalogueFullError, NotFoundError, OrderRefusedError, SignaturesUnavailableError

from . import problems
from .openapi_parts import EVERYWHERE, PLAIN, SECURED, answer, parameter, refusals

__all__ = ["DESTRUCTIONS", "SHOW", "SUBMIT"]

_ORDER: Final = "5t2c7v9q1x8n3m4k6w0z2b5d7f"
_TOLD: Final[dict[str, Any]] = {
    "order_id": _ORDER,
    "action": "scrub",
    "scope": {"list": "2d8k4m6p0s1v3x5z7b9c1f3h5j", "root": "9f…", "count": 880},
    "approvals": [{"person": "ada.okafor", "roles": ["agency-head"], "key": "SHA256:…"}],
    "policy_version": 1,
    "accepted_at": "2026-11-27T15:00:00+00:00",
    "effective_at": "2026-11-29T15:00:00+00:00",
    "expires": "2026-12-11T14:59:00Z",
    "used_at": None,
    "used_by": None,
    "void_reason": None,
}
_ID: Final = parameter("path", "order_id", "The order's id.", _ORDER, minLength=1, maxLength=26)

SUBMIT: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "submit_order",
    "summary": "Hand in a signed order",
    "description": "For counsel and records officers. The order's canonical JSON as a text, and the OpenSSH signatures "
    "over it. It is verified and kept; nothing is carried out. `renewal_due` is null, or says by when the destroyer "
    "must replace a master key that would end at a deadline with what is to be kept.",
    "status_code": 201,
    "responses": {
        201: answer("The order is accepted.", _TOLD | {"renewal_due": None}, {"Location": "The order."}),
        **refusals(
            *EVERYWHERE,
            problems.LENGTH_UNREADABLE,
            problems.BODY_TOO_SLOW,
            problems.BODY_TOO_LARGE,
            problems.JSON_NEEDED,
            problems.FIELDS_INVALID,
            OrderRefusedError,
            SignaturesUnavailableError,
            CatalogueFullError,
        ),
    },
    "openapi_extra": {
        "security": SECURED,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["order", "signatures"],
                        "additionalProperties": False,
                        "properties": {
                            "order": {"type": "string", "minLength": 1},
                            "signatures": {"type": "array", "maxItems": 12, "items": {"type": "string"}},
                        },
                    },
                    "example": {
                        "order": '{"action":"scrub",…}',
                        "signatures": ["-----BEGIN SSH SIGNATURE-----\n…\n-----END SSH SIGNATURE-----\n"],
                    },
                }
            },
        },
    },
}

SHOW: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "show_order",
    "summary": "Look at an order",
    "description": "For counsel, records officers and auditors.",
    "responses": {200: answer("The order, and what became of it.", _TOLD), **refusals(*EVERYWHERE, NotFoundError)},
    "openapi_extra": {"security": SECURED, "parameters": [_ID]},
}

DESTRUCTIONS: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "list_destructions",
    "summary": "List all destructions",
    "description": "For counsel, records officers and auditors; oldest first. Releases and moves are among them.",
    "responses": {
        200: answer(
            "What was destroyed, by which authority.",
            {
                "destructions": [
                    {
                        "destruction_id": "6h1n8p4s2d9g0j5k7m3q1r8v4x",
                        "kind": "scrub",
                        "order_id": _ORDER,
                        "policy_version": 1,
                        "listed": 880,
                        "withdrawn": 2,
                        "condemned": 878,
                        "frozen_at": "2026-11-29T15:04:00+00:00",
                        "completed_at": "2026-11-29T15:04:05+00:00",
                    }
                ]
            },
        ),
        **refusals(*EVERYWHERE),
    },
    "openapi_extra": {"security": SECURED},
}
