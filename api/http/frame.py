"""What surrounds every request: an id, a log line, metrics, and headers. Plain ASGI, so that bodies stream."""

from __future__ import annotations

import secrets
import time
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .logs import log

__all__ = ["Frame", "Metrics"]

_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
)
_QUIET: Final = ("/healthz", "/readyz", "/metrics")


class Metrics:
    """Counters of one application, labelled with route templates and statuses only."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "shredvault_requests", "Requests answered", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "shredvault_request_seconds", "Time to answer", ("method", "route"), registry=self.registry
        )
        self.received = Counter("shredvault_received_bytes", "Document bytes received", registry=self.registry)
        self.uploads = Gauge("shredvault_uploads_in_flight", "Uploads in flight", registry=self.registry)
        self.broken = Counter("shredvault_uploads_broken", "Uploads that did not complete", registry=self.registry)
        self.reads = Counter("shredvault_reads", "Documents read", registry=self.registry)


class Frame:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        request_id = secrets.token_hex(8)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in _HEADERS:
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, framed)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            took = time.perf_counter() - started
            method = scope["method"] if route != "none" else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(method, route).observe(took)
            if route not in _QUIET:
                log.info("request", method=method, route=route, status=status, duration_ms=round(took * 1000, 1))
