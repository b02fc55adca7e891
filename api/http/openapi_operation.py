"""What /openapi.json says of health and counters."""

from __future__ import annotations

from typing import Any, Final

from .openapi_parts import PLAIN, answer

__all__ = ["HEALTH", "METRICS", "READY"]

HEALTH: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "healthz",
    "summary": "Whether the process lives",
    "responses": {200: answer("It does.", {"status": "ok"})},
}

_CHECKS: Final = {"lease": "ok", "catalogue": "ok", "bucket": "ok"}
READY: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "readyz",
    "summary": "Whether it can serve",
    "description": "Looks at the lease, the catalogue and the bucket, once a second at most.",
    "responses": {
        200: answer("All is well.", {"status": "ok", "checks": _CHECKS}),
        503: answer(
            "Something is not.", {"status": "not ready", "checks": _CHECKS | {"bucket": "ObjectStoreUnavailable"}}
        ),
    },
}

METRICS: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "metrics",
    "summary": "Counters, for Prometheus",
    "responses": {
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": "shredvault_uploads_in_flight 0.0"}},
        }
    },
}
