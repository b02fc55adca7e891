"""One table from the domain's errors to RFC 9457 problem documents. Nothing here echoes what was submitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from vault import access, errors, objects, retrieval
from vault.errors import VaultError

from .logs import log

__all__ = ["PROBLEM_JSON", "Problem", "ProblemError", "install", "problem_response"]

PROBLEM_JSON: Final = "application/problem+json"
_TRY_AGAIN_SECONDS: Final = "2"


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of problem. Its `type` is `urn:shredvault:problem:` and the slug."""

    slug: str
    status: int
    title: str
    headers: tuple[tuple[str, str], ...] = ()

    def response(self, detail: str, **members: Any) -> Response:
        """A problem document of this kind."""
        body = {
            "type": f"urn:shredvault:problem:{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": detail,
            **members,
        }
        return JSONResponse(body, self.status, dict(self.headers), media_type=PROBLEM_JSON)


class ProblemError(Exception):
    """A problem of the HTTP face itself."""

    def __init__(self, problem: Problem, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail
        self.members = members


_BEARER: Final = (("WWW-Authenticate", "Bearer"),)
_LATER: Final = (("Retry-After", _TRY_AGAIN_SECONDS),)
_NOTHING_STORED: Final = " Nothing was stored; try again."

MALFORMED: Final = Problem("malformed-request", 400, "The request is malformed")
NOT_AUTHENTICATED: Final = Problem("not-authenticated", 401, "A valid access token is needed", _BEARER)
TOO_LARGE: Final = Problem("too-large", 413, "The request is too large")
INVALID: Final = Problem("invalid-fields", 422, "Some fields are invalid")
NOT_SERVING: Final = Problem("not-serving", 503, "The service cannot serve now", _LATER)
UNEXPECTED: Final = Problem("unexpected", 500, "Something went wrong on our side")
DAMAGED: Final = Problem("damaged", 500, "What is stored is damaged")
INTERRUPTED: Final = Problem("interrupted", 400, "The document did not arrive whole")

# The first row whose class fits decides, so narrower classes stand first.
TABLE: Final[tuple[tuple[type[Exception], Problem], ...]] = (
    (access.BadTokenError, NOT_AUTHENTICATED),
    (access.ForbiddenError, Problem("forbidden", 403, "The token's role does not allow this")),
    (retrieval.PurposeError, Problem("purpose-needed", 400, "A purpose is needed")),
    (retrieval.DamagedError, DAMAGED),
    (errors.NotFoundError, Problem("not-found", 404, "Not found")),
    (errors.DestroyedError, Problem("destroyed", 410, "The record was destroyed")),
    (errors.IdempotencyConflictError, Problem("idempotency-conflict", 409, "The key was used with another request")),
    (errors.DocumentConflictError, Problem("document-conflict", 409, "Another document has this name")),
    (errors.RecordClosedError, Problem("record-complete", 409, "The record is complete")),
    (errors.RecordIncompleteError, Problem("record-incomplete", 409, "The record has no document")),
    (errors.TooManyDocumentsError, Problem("too-many-documents", 409, "The record is full")),
    (errors.EmptyDocumentError, Problem("document-empty", 422, "The file is empty")),
    (errors.DocumentTooLargeError, Problem("document-too-large", 413, "The document is too large")),
    (errors.UnsupportedTypeError, Problem("document-type", 415, "The type of file is not accepted")),
    (errors.DocumentTruncatedError, Problem("document-truncated", 422, "The file is not whole")),
    (errors.BadDocumentError, Problem("document-refused", 422, "The document cannot be accepted")),
    (errors.CatalogueFullError, Problem("no-space", 507, "The service has no space left")),
    (errors.BusyError, Problem("busy", 503, "Somebody else is changing the same thing", _LATER)),
    (errors.CatalogueError, NOT_SERVING),
    (objects.ObjectStoreError, NOT_SERVING),
    (errors.CustodianError, NOT_SERVING),
    (errors.SealBrokenError, DAMAGED),
    (errors.VaultError, Problem("refused", 400, "The request was refused")),
)


def problem_response(error: Exception) -> Response:
    """The problem document for an error of the domain or of this face."""
    if isinstance(error, ProblemError):
        return error.problem.response(error.detail, **error.members)
    for kind, problem in TABLE:
        if isinstance(error, kind):
            detail = str(error)
            if problem.status in (NOT_SERVING.status, 507):
                log.warning("unavailable", error=type(error).__name__)
                detail += _NOTHING_STORED
            members = {"destruction_id": error.destruction_id} if isinstance(error, errors.DestroyedError) else {}
            return problem.response(detail, **members)
    log.error("unexpected error", error=type(error).__name__, where=_where(error))
    return UNEXPECTED.response("The error is in the log under this request's id.")


def _where(error: Exception) -> str:
    """File and line in our own code; never values."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if name.split(".")[0] in ("api", "vault", "keystore"):
            found = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


_ROUTER: Final[Mapping[int, Problem]] = {
    404: Problem("not-found", 404, "Not found"),
    405: Problem("method-not-allowed", 405, "This method is not allowed here"),
}


async def _domain(_: Request, error: Exception) -> Response:
    return problem_response(error)


async def _router(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = _ROUTER.get(error.status_code, Problem("refused", error.status_code, "The request was refused"))
    response = problem.response(problem.title + ".")
    response.headers.update(error.headers or {})
    return response


async def _validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return INVALID.response("The request's fields do not follow the schema in /openapi.json.")


def install(app: FastAPI) -> None:
    """Answer every error with a problem document."""
    app.add_exception_handler(ProblemError, _domain)
    app.add_exception_handler(VaultError, _domain)
    for outside in (objects.ObjectStoreError, errors.CustodianError, errors.SealBrokenError):
        app.add_exception_handler(outside, _domain)
    app.add_exception_handler(HTTPException, _router)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _domain)
