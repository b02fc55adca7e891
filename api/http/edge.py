"""The outermost layer: what holds for every request, whatever its route. Plain ASGI, no copies.

It turns every exception into a problem document, adds the security headers, writes the log line and counts. When
an answer goes out before the request's body has come in, the connection ends after it; what the caller is still
sending is thrown away for a moment first, because a connection closed with unread bytes is reset, and a reset can
take the answer with it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vault.ids import is_id

from .departure import Departure
from .limits import Limits
from .logs import Log, class_chain, our_frames
from .metrics import Metrics
from .problems import CALLER_GONE, OVERLOADED, RefusedError, kind_of, problem_response

__all__ = ["Edge", "Facts", "facts_of"]

_FACTS: Final = "shredvault.facts"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
_SERVER_FAULT: Final = 500


class Facts:
    """What a route tells the log line."""

    __slots__ = ("error", "problem", "record_id", "request_id", "token_id")

    def __init__(self) -> None:
        self.request_id = secrets.token_hex(8)
        self.token_id: str | None = None
        self.record_id: str | None = None
        self.problem: str | None = None
        self.error: Exception | None = None

    def concerns(self, record_id: str) -> None:
        """Name the record, if it has the form of one: anything else is input."""
        if is_id(record_id):
            self.record_id = record_id

    def failed(self, error: Exception) -> None:
        """Say what went wrong after the answer began."""
        self.problem, self.error = kind_of(error).slug, error


def facts_of(scope: Scope) -> Facts:
    """The facts of the request in `scope`."""
    facts = scope[_FACTS]
    assert isinstance(facts, Facts)
    return facts


class Edge:
    """The layer, around one app."""

    def __init__(self, app: ASGIApp, *, log: Log, metrics: Metrics, limits: Limits, departure: Departure) -> None:
        self._app = app
        self._log = log
        self._metrics = metrics
        self._limits = limits
        self._departure = departure
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; other kinds of scope pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = _Exchange(scope, receive, send, self._limits, self._departure)
        scope[_FACTS] = exchange.facts
        self._under_way += 1
        try:
            if self._under_way > self._limits.requests:
                raise RefusedError(OVERLOADED)  # noqa: TRY301  # the one place that answers refusals is below
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001  # the wall: whatever it is, the answer is a problem document
            await exchange.refuse(error)
        finally:
            self._under_way -= 1
            self._note(exchange, scope, time.perf_counter() - started)

    def _note(self, exchange: _Exchange, scope: Scope, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "none"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status = exchange.status
        facts = exchange.facts
        error = facts.error
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        if exchange.received:
            self._metrics.received.inc(exchange.received)
        faulty = status >= _SERVER_FAULT or not exchange.complete
        (self._log.warning if faulty else self._log.info)(
            "request" if exchange.complete or status == CALLER_GONE.status else "answer broken off",
            method=method,
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 1),
            request_id=facts.request_id,
            token_id=facts.token_id,
            record_id=facts.record_id,
            problem=facts.problem,
            error_class=class_chain(error) if error is not None and faulty else None,
            frames=our_frames(error) if error is not None and faulty else None,
        )


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits, departure: Departure) -> None:
        self.facts = Facts()
        self.status = CALLER_GONE.status
        self.complete = False
        self.received = 0
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limits = limits
        self._departure = departure
        self._began = False
        self._body_to_come, self._waits = _body_announced(scope)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            if not message.get("more_body", False):
                self._body_to_come = False
        else:
            self._body_to_come = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._began = True
            self.status = message["status"]
            ours = {name for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *(pair for pair in _SECURITY_HEADERS if pair[0] not in ours),
                (b"request-id", self.facts.request_id.encode()),
            ]
            if self._body_to_come or self._departure.leaving:
                message["headers"].append((b"connection", b"close"))
        elif not message.get("more_body", False):
            self.complete = True
            if self._body_to_come and not self._waits:
                await self._send({**message, "more_body": True})
                await self._linger()
                message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def refuse(self, error: Exception) -> None:
        """Answer with a problem, if no answer has begun and somebody is there to hear it."""
        self.facts.failed(error)
        if self._began or kind_of(error) is CALLER_GONE:
            return
        scope = self._scope
        response = problem_response(error, request_id=self.facts.request_id, method=scope["method"])
        await response(scope, self.receive, self.send)

    async def _linger(self) -> None:
        """Throw away what is still being sent, for a while."""
        left = self._limits.linger_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.linger_s):
                while self._body_to_come and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._body_to_come = message.get("more_body", False)


def _body_announced(scope: Scope) -> tuple[bool, bool]:
    """Whether a body is to come, and whether the caller waits for `100 Continue` before sending it."""
    to_come = waits = False
    for name, value in scope["headers"]:
        if name == b"content-length":
            to_come = to_come or value.strip(b"0") != b""
        elif name == b"transfer-encoding":
            to_come = True
        elif name == b"expect":
            waits = True
    return to_come, waits
