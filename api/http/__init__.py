"""The HTTP face, version 1: `create_app` makes it, `server` serves it, `supervisor` keeps several processes that do.

The only package that imports FastAPI.

A request passes: `edge` (limits, headers, log line, metrics, problems) → a route (`records`, `uploads`, `downloads`,
`holds`, `orders`, `ledger`, `certificates`, `receipts`, `health`) → one use case of `vault` in a thread of `workers`.
"""

from __future__ import annotations

from .app import create_app
from .server import background_server

__all__ = ["background_server", "create_app"]
