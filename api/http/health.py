"""Whether the process lives, whether it can serve, and its counters. For the operator's network, without a token."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from fastapi import APIRouter
from starlette.responses import Response

from vault.alarms import alarms_of
from vault.errors import DamagedError, OldCatalogueError
from vault.ledger.showing import checkpoint_at
from vault.ledger.watching import watch_ledger

from .desk import Desk
from .metrics import MEDIA_TYPE
from .openapi_operation import HEALTH, METRICS, READY
from .workers import Workers

__all__ = ["health_routes"]

_OK = "ok"


def health_routes(desk: Desk, checkers: Workers) -> APIRouter:
    """The routes, for one app."""
    routes = APIRouter(tags=["operation"])
    readiness = _Readiness(desk, checkers)

    @routes.get("/healthz", **HEALTH)
    async def healthz() -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    @routes.get("/readyz", **READY)
    async def readyz() -> Response:
        checks = await readiness.look()
        ready = all(result == _OK for result in checks.values())
        body = {"status": _OK if ready else "not ready", "checks": checks}
        headers = None if ready else {"Retry-After": "5"}
        return Response(json.dumps(body).encode(), 200 if ready else 503, headers, "application/json")

    @routes.get("/metrics", **METRICS)
    async def metrics() -> Response:
        await readiness.look()
        await readiness.look_at_ledger()
        return Response(desk.metrics.text(), media_type=MEDIA_TYPE)

    return routes


class _Readiness:
    """Looks at lease, catalogue and bucket; once at a time, and not more often than the limit says."""

    def __init__(self, desk: Desk, checkers: Workers) -> None:
        self._desk = desk
        self._checkers = checkers
        self._seen: dict[str, str] = {}
        self._seen_at = float("-inf")
        self._running: dict[str, asyncio.Task[str]] = {}
        self._lock = asyncio.Lock()
        self._ledger_seen_at = float("-inf")
        self._checkpoints: list[str] = []
        """What the look before saw, which the next must continue; none before the first."""

    async def look(self) -> dict[str, str]:
        async with self._lock:
            if time.monotonic() - self._seen_at > self._desk.limits.check_every_s:
                catalogue, bucket = await asyncio.gather(
                    self._check("catalogue", self._catalogue), self._check("bucket", self._desk.vault.bucket.check)
                )
                self._seen = {"catalogue": catalogue, "bucket": bucket}
                self._seen_at = time.monotonic()
            return {"lease": _OK if self._desk.node.may_serve else "run out", **self._seen}

    async def look_at_ledger(self) -> None:
        async with self._lock:
            if time.monotonic() - self._ledger_seen_at > self._desk.limits.ledger_every_s:
                if await self._check("ledger", self._ledger) != _OK:
                    self._desk.metrics.ledger.set(float("nan"))
                self._ledger_seen_at = time.monotonic()

    async def _check(self, name: str, check: Callable[[], object]) -> str:
        """Result of one check. One that hangs is not begun again until it has ended."""
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.create_task(self._result(check))
        done, _ = await asyncio.wait([task], timeout=self._desk.limits.check_s)
        if not done:
            return "no answer in time"
        del self._running[name]
        return task.result()

    async def _result(self, check: Callable[[], object]) -> str:
        try:
            await self._checkers.run(check)
        except Exception as error:  # noqa: BLE001  # a check that fails in any way has failed
            return type(error).__name__
        return _OK

    def _ledger(self) -> None:
        vault = self._desk.vault
        try:
            size = watch_ledger(vault, self._checkpoints).size
        except (OldCatalogueError, DamagedError):
            self._desk.metrics.ledger.set(1)
        else:
            self._checkpoints = [checkpoint_at(vault, size)]
            self._desk.metrics.ledger.set(0)

    def _catalogue(self) -> None:
        self._desk.metrics.show(alarms_of(self._desk.vault))
