"""Routes of holds: place, extend, list, look at. For counsel; records officers and auditors see those not sealed.

Releasing one is not offered here: it takes an order of two people, which the operator carries out.
"""

from __future__ import annotations

import base64
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from vault.access import Caller, Role
from vault.alarms import alarms_of, spoken_renewal
from vault.clocks.clock import in_reach
from vault.holds import (
    HoldLine,
    Kind,
    NothingToHoldError,
    Scope,
    Terms,
    extend_hold,
    list_holds,
    place_hold,
    show_hold,
)

from .bodies import require_json, small_body
from .desk import Desk
from .openapi_holds import EXTEND, HOLD, HOLDS, PLACE
from .problems import FIELDS_INVALID, RefusedError
from .records import json_response

__all__ = ["ExtendHold", "PlaceHold", "hold_routes"]

_Asked = TypeVar("_Asked", bound=BaseModel)
RECORDS_MAX: Final = 2000
"""Record ids in one request; a hold takes more at the command line, or in several requests."""
ERRORS_MAX: Final = 20
_WATCHERS: Final = (Role.COUNSEL, Role.RECORDS_OFFICER, Role.AUDITOR)


class PlaceHold(BaseModel):
    """The body of `POST /v1/holds`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    authority: str = Field(description="Who ordered it. No names of applicants.")
    docket: str = Field(description="Letters, digits and . / : -; kept in the clear.")
    reason: str | None = None
    ordered_at: AwareDatetime | None = None
    served_at: AwareDatetime | None = None
    effective_at: AwareDatetime | None = None
    review_on: date | None = Field(None, description="In 90 days at the latest, which is the default.")
    ends_on: date | None = Field(None, description="Nothing ends by itself on this day; somebody is told.")
    tail_days: int | None = None
    tail_reason: str | None = None
    sealed: bool = Field(default=False, description="Authority, docket and reason are sealed to counsel.")
    record_ids: Annotated[tuple[str, ...], Field(max_length=RECORDS_MAX)] = ()
    program: bool = Field(default=False, description="Every record.")
    filed_from: date | None = None
    filed_to: date | None = None
    centers: tuple[str, ...] = Field(default=(), description="Labels of centers' tokens.")
    includes_future: bool = Field(default=True, description="Whether a rule matches what is filed from now on.")

    def terms(self) -> Terms:
        """What the hold says of itself."""
        return Terms(
            self.kind,
            self.authority,
            self.docket,
            self.reason,
            ordered_at=_utc(self.ordered_at),
            served_at=_utc(self.served_at),
            effective_at=_utc(self.effective_at),
            review_on=self.review_on,
            ends_on=self.ends_on,
            tail_days=self.tail_days,
            tail_reason=self.tail_reason,
            sealed=self.sealed,
        )

    def scope(self) -> Scope:
        """What it is to match."""
        return Scope(self.record_ids, self.program, self.filed_from, self.filed_to, self.centers, self.includes_future)


class ExtendHold(BaseModel):
    """The body of `POST /v1/holds/{id}/extend`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    review_on: date | None = None
    ends_on: date | None = None


def hold_routes(desk: Desk) -> APIRouter:
    """The routes, for one app."""
    routes = APIRouter(tags=["holds"])

    @routes.post("/v1/holds", **PLACE)
    async def place_one(request: Request) -> Response:
        caller = await _counsel(desk, request)
        asked = await _body(desk, request, PlaceHold)
        desk.must_serve()

        def place() -> tuple[dict[str, Any], int]:
            try:
                placed = place_hold(desk.vault, asked.terms(), asked.scope(), f"token {caller.token_id}")
            except NothingToHoldError as nothing:
                # H7: also where nothing can be held each id has its answer.
                return {"hold_id": None, "protects": 0, "answers": _in_order(asked, nothing.answers)}, 404
            answer = {"hold_id": placed.hold_id, "protects": placed.matched}
            answer |= {"renewal_due": spoken_renewal(alarms_of(desk.vault))}
            return {**answer, "answers": _in_order(asked, placed.answers)}, 200 if placed.repeated else 201

        return json_response(*await desk.workers.run(place))

    @routes.get("/v1/holds", **HOLDS)
    async def list_all(request: Request) -> Response:
        def look(caller: Caller) -> dict[str, Any]:
            caller.require(*_WATCHERS)
            lines = list_holds(desk.vault, for_counsel=caller.role is Role.COUNSEL)
            return {"holds": [_shown(desk, line) for line in lines]}

        return json_response(await desk.serve(request, look))

    @routes.get("/v1/holds/{hold_id}", **HOLD)  # noqa: FAST003  # from the scope: see `openapi`
    async def show_one(request: Request) -> Response:
        hold_id = str(request.path_params["hold_id"])

        def look(caller: Caller) -> dict[str, Any]:
            caller.require(*_WATCHERS)
            line, matched = show_hold(desk.vault, hold_id, for_counsel=caller.role is Role.COUNSEL)
            return {**_shown(desk, line), "protects": matched}

        return json_response(await desk.serve(request, look))

    @routes.post("/v1/holds/{hold_id}/extend", **EXTEND)  # noqa: FAST003  # from the scope: see `openapi`
    async def extend_one(request: Request) -> Response:
        hold_id = str(request.path_params["hold_id"])
        caller = await _counsel(desk, request)
        asked = await _body(desk, request, ExtendHold)
        desk.must_serve()

        def extend() -> dict[str, Any]:
            placer = f"token {caller.token_id}"
            extend_hold(desk.vault, hold_id, placer, review_on=asked.review_on, ends_on=asked.ends_on)
            line, matched = show_hold(desk.vault, hold_id, for_counsel=True)
            return {**_shown(desk, line), "protects": matched}

        return json_response(await desk.workers.run(extend))

    return routes


async def _counsel(desk: Desk, request: Request) -> Caller:
    caller = await desk.identify(request)
    caller.require(Role.COUNSEL)
    require_json(request)
    return caller


async def _body(desk: Desk, request: Request, model: type[_Asked]) -> _Asked:
    body = await small_body(request, desk.limits, desk.departure)
    try:
        return model.model_validate_json(body)
    except ValidationError as invalid:
        found = invalid.errors(include_url=False, include_input=False)
    # Outside of the `except`, and with our own names alone: the error holds what was submitted.
    told = [_told(model, dict(error)) for error in found[:ERRORS_MAX]]
    raise RefusedError(FIELDS_INVALID, errors=told)


def _told(model: type[BaseModel], error: dict[str, Any]) -> dict[str, str]:
    first = next(iter(error["loc"]), None)
    pointer = f"#/{first}" if first in model.model_fields else "#"
    rule = str(error["type"])
    return {"pointer": pointer, "rule": rule, "detail": "is missing" if rule == "missing" else "is not valid"}


def _in_order(asked: PlaceHold, answers: dict[str, str]) -> list[str]:
    """Answers in the order of the ids: what was submitted is not repeated."""
    return [answers[record_id] for record_id in asked.record_ids]


def _shown(desk: Desk, line: HoldLine) -> dict[str, Any]:
    shown = _plain(asdict(line))
    sealed = None if line.sealed is None else base64.b64encode(line.sealed).decode()
    return {**shown, "vault": desk.vault.vault_id.hex(), "sealed": sealed}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if name != "sealed"}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


def _utc(at: datetime | None) -> datetime | None:
    # What is out of reach is refused by the terms; here it would overflow.
    return at if at is None or not in_reach(at) else at.astimezone(UTC)
