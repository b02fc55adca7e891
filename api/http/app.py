"""The app: one vault, one node, no globals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from vault.context import Vault
from vault.serving.fences import Node
from vault.software import software_version

from .certificates import certificate_routes
from .departure import Departure
from .desk import Desk
from .downloads import download_routes
from .edge import Edge, facts_of
from .health import health_routes
from .holds import ExtendHold, PlaceHold, hold_routes
from .ledger import ledger_routes
from .limits import Limits
from .logs import Log, make_log
from .metrics import Metrics
from .openapi import DESCRIPTION, TAGS, App
from .orders import order_routes
from .problems import problem_response, router_problem
from .receipts import receipt_routes
from .records import record_routes
from .uploads import upload_routes
from .workers import Workers

__all__ = ["create_app"]


def create_app(
    vault: Vault,
    node: Node,
    *,
    limits: Limits | None = None,
    log: Log | None = None,
    departure: Departure | None = None,
) -> FastAPI:
    """Make the app.

    Args:
        vault: what it serves; stays the caller's.
        node: this process among those that use keys, entered; stays the caller's.
        limits: others than the defaults.
        log: where log lines go; standard error by default.
        departure: by which the server says that this process is being replaced.
    """
    limits, departure = limits or Limits(), departure or Departure()
    metrics = Metrics()
    workers, checkers = Workers(limits.threads), Workers(2, "readiness")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        workers.close()
        checkers.close()

    app = App(
        title="Shredvault",
        version=software_version(),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        # A redirect would repeat the path, which holds a document's name.
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.add_middleware(Edge, log=log or make_log(), metrics=metrics, limits=limits, departure=departure)
    app.add_exception_handler(HTTPException, _router_says_no)
    desk = Desk(vault, node, limits, metrics, workers, departure)
    app.bodies = (PlaceHold, ExtendHold)
    for routes in (
        record_routes(desk),
        upload_routes(desk),
        download_routes(desk),
        hold_routes(desk),
        order_routes(desk),
        certificate_routes(desk),
        ledger_routes(desk),
        receipt_routes(desk),
        health_routes(desk, checkers),
    ):
        app.include_router(routes)
    return app


async def _router_says_no(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    facts = facts_of(request.scope)
    refused = router_problem(error.status_code)
    facts.failed(refused)
    response = problem_response(refused, request_id=facts.request_id, method=request.method)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response
