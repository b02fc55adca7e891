"""Routes of orders and destructions: hand a signed order in, see what became of it, see what was destroyed.

A token lets somebody knock; authority comes from the signatures alone. Nothing is carried out over HTTP: who can
destroy keys is on the command line of another machine.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from starlette.responses import Response

from vault.access import Role
from vault.alarms import alarms_of, spoken_renewal
from vault.orders.accepting import Accepted, accept_order, load_order
from vault.orders.order import spell_instant
from vault.orders.signatures import SIGNATURES_MAX
from vault.status import destructions

from .bodies import require_json, small_body
from .desk import Desk
from .openapi_orders import DESTRUCTIONS, SHOW, SUBMIT
from .problems import FIELDS_INVALID, RefusedError
from .records import json_response

__all__ = ["order_routes"]

_OFFICIALS: Final = (Role.COUNSEL, Role.RECORDS_OFFICER, Role.AUDITOR)


class _Submission(BaseModel):
    """The body of `POST /v1/orders`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    order: Annotated[str, StringConstraints(min_length=1)]
    signatures: list[str]


def order_routes(desk: Desk) -> APIRouter:
    """The routes, for one app."""
    routes = APIRouter(tags=["orders"])

    @routes.post("/v1/orders", **SUBMIT)
    async def submit(request: Request) -> Response:
        caller = await desk.identify(request)
        caller.require(Role.COUNSEL, Role.RECORDS_OFFICER)
        require_json(request)
        given = _submission(await small_body(request, desk.limits, desk.departure))
        desk.must_serve()
        signatures = [one.encode() for one in given.signatures]

        def accept() -> tuple[Accepted, str | None]:
            accepted = accept_order(desk.vault, given.order.encode(), signatures)
            return accepted, spoken_renewal(alarms_of(desk.vault))

        accepted, renewal = await desk.workers.run(accept)
        told = _told(accepted) | {"renewal_due": renewal}
        return json_response(told, 201, {"Location": f"/v1/orders/{accepted.id}"})

    @routes.get("/v1/orders/{order_id}", **SHOW)  # noqa: FAST003  # from the scope: see `openapi`
    async def show(request: Request) -> Response:
        order_id = str(request.path_params["order_id"])

        def look() -> Accepted:
            with desk.vault.catalogue.read() as tx:
                return load_order(tx, order_id)

        caller = await desk.identify(request)
        caller.require(*_OFFICIALS)
        return json_response(_told(await desk.workers.run(look)))

    @routes.get("/v1/destructions", **DESTRUCTIONS)
    async def list_destructions(request: Request) -> Response:
        caller = await desk.identify(request)
        caller.require(*_OFFICIALS)
        found = await desk.workers.run(lambda: destructions(desk.vault))
        return json_response(
            {
                "destructions": [
                    {
                        "destruction_id": one.id,
                        "kind": one.kind,
                        "order_id": one.order_id,
                        "policy_version": one.policy_version,
                        "listed": one.listed,
                        "withdrawn": one.withdrawn,
                        "condemned": one.condemned,
                        "frozen_at": one.frozen_at.isoformat(),
                        "completed_at": one.completed_at.isoformat() if one.completed_at else None,
                    }
                    for one in found
                ]
            }
        )

    return routes


def _submission(body: bytes) -> _Submission:
    given: _Submission | None
    try:
        given = _Submission.model_validate_json(body)
    except ValidationError:
        given = None
    # Outside of the `except`: the error holds what was submitted, and must not become this one's context.
    if given is None or len(given.signatures) > SIGNATURES_MAX:
        wrong = {"pointer": "#", "rule": "submission", "detail": "must be {order: text, signatures: [text, …]}"}
        raise RefusedError(FIELDS_INVALID, errors=[wrong])
    return given


def _told(one: Accepted) -> dict[str, Any]:
    return {
        "order_id": one.id,
        "action": one.action,
        "scope": dict(one.order.scope),
        "approvals": [{"person": a.person, "roles": list(a.roles), "key": a.key} for a in one.approvals],
        "policy_version": one.policy_version,
        "accepted_at": one.accepted_at.isoformat(),
        "effective_at": one.effective_at.isoformat(),
        "expires": spell_instant(one.order.expires),
        "used_at": one.used_at.isoformat() if one.used_at else None,
        "used_by": one.used_by,
        "void_reason": one.void_reason,
    }
