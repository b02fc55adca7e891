"""Builds the application of one vault. Nothing is made at import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from vault.context import Vault
from vault.errors import CatalogueError
from vault.fences import Node
from vault.objects import ObjectStoreError

from .filing_routes import filing_routes
from .frame import Frame, Metrics
from .problems import install
from .reading_routes import reading_routes
from .service import Service

__all__ = ["create_app"]


def create_app(vault: Vault, node: Node) -> FastAPI:
    """The application that files into and reads from `vault`, while `node` has its lease."""
    metrics = Metrics()
    service = Service(vault, node, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="Shredvault",
        version=version("shredvault"),
        description="Files scanned identity documents under keys that can be destroyed.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    install(app)
    app.add_middleware(Frame, metrics=metrics)
    app.include_router(filing_routes(service))
    app.include_router(reading_routes(service))

    @app.get("/healthz", tags=["operation"])
    async def healthz() -> dict[str, str]:
        """Whether the process lives."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["operation"], responses={503: {"description": "Not ready"}})
    async def readyz() -> Response:
        """Whether it can serve: lease, catalogue and bucket."""
        checks = {
            "lease": node.may_serve,
            "catalogue": await service.run(_catalogue_answers, vault),
            "bucket": await service.run(_bucket_answers, vault),
        }
        ready = all(checks.values())
        return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)

    @app.get("/metrics", tags=["operation"], response_class=Response)
    async def metrics_text() -> Response:
        """Counters for Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _catalogue_answers(vault: Vault) -> bool:
    try:
        with vault.catalogue.read() as tx:
            tx.exec_driver_sql("SELECT 1")
    except CatalogueError:
        return False
    return True


def _bucket_answers(vault: Vault) -> bool:
    try:
        vault.bucket.check()
    except ObjectStoreError:
        return False
    return True
