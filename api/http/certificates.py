"""Route of certificates of destruction."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from vault.certificates import load_certificate
from vault.errors import NotFoundError

from .desk import Desk
from .openapi_parts import EVERYWHERE, PLAIN, SECURED, answer, parameter, refusals

__all__ = ["certificate_routes"]

_ID: Final = "6h1n8p4s2d9g0j5k7m3q1r8v4x"
_CERTIFICATE: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "read_certificate",
    "summary": "Read a certificate of destruction",
    "description": "For every token. The answer is what the vault signed, byte for byte; keep it as it is, and check "
    "it with `verify_certificate.py`. A certificate has the id of its destruction.",
    "responses": {
        200: answer(
            "The certificate with its signature.",
            {
                "certificate": {"format": "shredvault/certificate/v1", "id": _ID, "kind": "sweep"},
                "signature": {"key": "shredvault/…+1f0c2a9b+AQ…", "value": "3b5c…"},
            },
        ),
        **refusals(*EVERYWHERE, NotFoundError),
    },
    "openapi_extra": {
        "security": SECURED,
        "parameters": [
            parameter("path", "certificate_id", "The id of the destruction.", _ID, minLength=1, maxLength=26)
        ],
    },
}


def certificate_routes(desk: Desk) -> APIRouter:
    """The routes, for one app."""
    routes = APIRouter(tags=["certificates"])

    @routes.get("/v1/certificates/{certificate_id}", **_CERTIFICATE)  # noqa: FAST003  # from the scope, where it is
    async def certificate(request: Request) -> Response:
        wanted = str(request.path_params["certificate_id"])
        found = await desk.serve(request, lambda _: load_certificate(desk.vault, wanted))
        # Byte for byte what was signed: whoever keeps it can check it later.
        return Response(found.document, media_type="application/json")

    return routes
