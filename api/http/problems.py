"""Refusals, and the one table that maps the domain's errors to problem documents (RFC 9457).

`type` is a stable `urn:shredvault:problem:…`: programs decide by it and by the status, people read `detail`. A
problem never repeats anything that was submitted: no value, no file name, no path, no name of an unknown field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.responses import Response

from vault.access import BadTokenError, ForbiddenError, MistypedTokenError
from vault.errors import (
    BadDocumentError,
    BusyError,
    CatalogueError,
    CatalogueFullError,
    CustodianError,
    CustodianUnavailableError,
    DamagedError,
    DestroyedError,
    DocumentConflictError,
    DocumentTooLargeError,
    DocumentTruncatedError,
    EmptyDocumentError,
    HoldRefusedError,
    IdempotencyConflictError,
    NotFoundError,
    OrderRefusedError,
    RecordClosedError,
    RecordIncompleteError,
    RecordsAreKeptError,
    SealBrokenError,
    SealedOffError,
    SignaturesUnavailableError,
    TooManyDocumentsError,
    UnsupportedTypeError,
)
from vault.objects import ObjectStoreError
from vault.records.documents import DOCUMENT_BYTES_MAX
from vault.records.retrieval import Purpose, PurposeError

__all__ = [
    "MEDIA_TYPE",
    "PROBLEMS",
    "Kind",
    "RefusedError",
    "kind_of",
    "problem_response",
    "router_problem",
]

MEDIA_TYPE: Final = "application/problem+json"
URN: Final = "urn:shredvault:problem:"
_SOON_S: Final = 2
_LATER_S: Final = 30


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem."""

    slug: str
    status: int
    title: str
    detail: str | None = None
    """None: the error's own message, which the domain promises to hold nothing submitted."""
    retry_after_s: int | None = None
    members: Mapping[str, Any] = field(default_factory=dict)
    """Extension members that are always the same."""

    @property
    def type(self) -> str:
        """The stable name of this kind."""
        return URN + self.slug


TOKEN_MISSING: Final = Kind(
    "token-missing",
    401,
    "An access token is needed",
    "Send the header `Authorization: Bearer svt_…` with the token of your center.",
)
NAME_UNUSABLE: Final = Kind("document-name", 422, "The document's name cannot be used")
FORM_SENT: Final = Kind(
    "form-sent",
    415,
    "A form was sent instead of the file",
    "Send the file's bytes as the body (`curl -T scan.pdf …`), not in a form (`curl -F …`).",
)
LENGTH_UNREADABLE: Final = Kind(
    "content-length", 400, "The length is not a number", "Content-Length must be a whole number of bytes."
)
KEY_MISSING: Final = Kind(
    "idempotency-key",
    400,
    "An Idempotency-Key is needed",
    "Send a header `Idempotency-Key` with a random UUID (version 4 or 7), a new one for each new record.",
)
JSON_NEEDED: Final = Kind(
    "json-needed", 415, "The body must be JSON", "Send the body as JSON with `Content-Type: application/json`."
)
BODY_TOO_LARGE: Final = Kind(
    "body-too-large", 413, "The body is too large", "A body of this request has at most 64 KiB."
)
FIELDS_INVALID: Final = Kind(
    "invalid-fields", 422, "Some fields are not valid", "Each entry of `errors` names a field and the rule it breaks."
)
BODY_TOO_SLOW: Final = Kind(
    "body-too-slow", 408, "The body came too slowly", "Nothing was stored; try again.", retry_after_s=_SOON_S
)
CALLER_GONE: Final = Kind("caller-gone", 499, "The caller went away", "Nothing was stored.")
NOT_SERVING: Final = Kind(
    "not-serving",
    503,
    "This server may not use keys now",
    "It could not renew its lease in the vault, and stops until it can.",
    retry_after_s=5,
)
LEAVING: Final = Kind(
    "leaving",
    503,
    "This server is being replaced",
    "A destruction has replaced the keys, and every process that held old ones ends.",
    retry_after_s=_SOON_S,
)
NUMBERS_NEEDED: Final = Kind(
    "ledger-numbers",
    422,
    "Numbers are needed",
    "Entries are numbered from 1, sizes are numbers of entries, and each is given once, in decimal digits.",
)
OVERLOADED: Final = Kind(
    "overloaded", 503, "Too much at once", "Too many requests are under way.", retry_after_s=_SOON_S
)
TOO_MANY: Final = Kind(
    "too-many",
    429,
    "Too many questions",
    "Receipts are asked for faster than this server answers; yours may be good. Ask again.",
    retry_after_s=_SOON_S,
)
NO_SUCH_PLACE: Final = Kind("no-such-place", 404, "There is nothing here", "No resource of this API has this address.")
METHOD: Final = Kind("method", 405, "This method is not offered here", "The header `Allow` lists those that are.")
REQUEST_UNUSABLE: Final = Kind("request", 400, "The request cannot be understood", "It is not a valid request.")
INTERNAL: Final = Kind(
    "internal",
    500,
    "Something is wrong in the vault",
    "The fault is on this side. Tell the operator the `request_id`; repeating the request is safe.",
)

PROBLEMS: Final[Mapping[type[Exception], Kind]] = {
    MistypedTokenError: Kind(
        "token-mistyped",
        401,
        "The access token is mistyped",
        "Its check digits are wrong or a part is missing. Copy the whole token again.",
    ),
    BadTokenError: Kind(
        "token-unknown",
        401,
        "The access token is unknown",
        "It is well formed, but this vault does not know it or it was revoked. Ask the operator for another.",
    ),
    ForbiddenError: Kind("role", 403, "Your token's role does not allow this"),
    PurposeError: Kind(
        "purpose",
        400,
        "A purpose is needed",
        "Say why you read, in the header `Purpose`, with a word of the list `purposes`.",
        members={"purposes": list(Purpose)},
    ),
    HoldRefusedError: Kind("hold", 422, "The hold cannot be like that"),
    OrderRefusedError: Kind("order-refused", 422, "The order is refused"),
    SignaturesUnavailableError: Kind(
        "signatures", 503, "Signatures cannot be verified now", "ssh-keygen does not run on this machine.", _LATER_S
    ),
    NotFoundError: Kind("not-found", 404, "Not found"),
    DestroyedError: Kind(
        "destroyed",
        410,
        "This record was destroyed",
        "Nobody can read it or add to it any more. `destruction_id` names the destruction.",
    ),
    SealedOffError: Kind("sealed-off", 423, "This record is sealed off"),
    IdempotencyConflictError: Kind("idempotency-conflict", 409, "The Idempotency-Key was used for another request"),
    RecordClosedError: Kind("record-complete", 409, "The record is complete"),
    RecordsAreKeptError: Kind("records-kept", 409, "Records are kept here"),
    RecordIncompleteError: Kind("record-without-document", 409, "The record has no document"),
    TooManyDocumentsError: Kind("too-many-documents", 409, "The record has too many documents"),
    DocumentConflictError: Kind("document-conflict", 409, "Another document has this name"),
    DocumentTooLargeError: Kind(
        "document-too-large", 413, "The document is too large", members={"limit_bytes": DOCUMENT_BYTES_MAX}
    ),
    UnsupportedTypeError: Kind("document-type", 415, "This type of file is not accepted"),
    BadDocumentError: Kind("document-type-differs", 415, "The file is not what its Content-Type says"),
    EmptyDocumentError: Kind("document-empty", 422, "The file is empty"),
    DocumentTruncatedError: Kind("document-truncated", 422, "The file is cut short"),
    BusyError: Kind("busy", 503, "Somebody else changes the same thing", retry_after_s=_SOON_S),
    ObjectStoreError: Kind(
        "storage",
        503,
        "The object store cannot be used now",
        "The vault's storage does not do what it should.",
        retry_after_s=_LATER_S,
    ),
    CatalogueFullError: Kind(
        "catalogue-full",
        507,
        "The disk is full",
        "The disk under the catalogue is full or cannot be written; the operator must make room.",
        retry_after_s=_LATER_S,
    ),
    CatalogueError: Kind(
        "catalogue", 503, "The catalogue cannot be used now", "The vault's database does not answer.", _SOON_S
    ),
    CustodianUnavailableError: Kind(
        "custodian", 503, "The custodian of the keys does not answer", "The master key cannot be used now.", _LATER_S
    ),
    CustodianError: Kind(
        "custodian-refused",
        503,
        "The custodian of the keys refuses",
        "The master key cannot be used; the operator must look at the custodian.",
        _LATER_S,
    ),
    DamagedError: Kind(
        "damaged",
        500,
        "What is stored is damaged",
        "Something is missing or altered. This is an incident, not a destruction: call the operator.",
    ),
    SealBrokenError: Kind(
        "damaged",
        500,
        "What is stored is damaged",
        "Something is missing or altered. This is an incident, not a destruction: call the operator.",
    ),
}
"""By class; a class that is not named here counts as the nearest one it is derived from."""

_NOTHING_STORED: Final = " Nothing was stored; try again."
_AGAIN: Final = " Try again."
_TRY_AGAIN_STATUS: Final = frozenset({503, 507})


class RefusedError(Exception):
    """The HTTP face itself refuses a request."""

    def __init__(self, kind: Kind, detail: str | None = None, **members: Any) -> None:
        super().__init__(kind.slug)
        self.kind = kind
        self.detail = detail or kind.detail
        self.members = members


def kind_of(error: Exception) -> Kind:
    """Which kind of problem an error is; INTERNAL for what is in no table."""
    if isinstance(error, RefusedError):
        return error.kind
    for known in type(error).__mro__:
        if known in PROBLEMS:
            return PROBLEMS[known]
    return INTERNAL


def problem_response(error: Exception, *, request_id: str, method: str) -> Response:
    """Answer with the problem document of an error."""
    kind = kind_of(error)
    detail = error.detail if isinstance(error, RefusedError) else kind.detail
    if detail is None:
        detail = str(error)
    if kind.status in _TRY_AGAIN_STATUS:
        detail = detail.removesuffix("; try again.").removesuffix(".") + "."
        detail += _AGAIN if method in {"GET", "HEAD"} else _NOTHING_STORED
    members: dict[str, Any] = dict(kind.members)
    if isinstance(error, RefusedError):
        members |= error.members
    if isinstance(error, DestroyedError):
        members["destruction_id"] = error.destruction_id
    body = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "request_id": request_id,
        **members,
    }
    headers = {}
    if kind.retry_after_s is not None:
        headers["Retry-After"] = str(kind.retry_after_s)
    if kind.status == 401:  # noqa: PLR2004
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(body, ensure_ascii=False).encode(), kind.status, headers, MEDIA_TYPE)


def router_problem(status: int) -> RefusedError:
    """What the router says no to: an unknown address, a method that is not offered."""
    return RefusedError({404: NO_SUCH_PLACE, 405: METHOD}.get(status, REQUEST_UNUSABLE))
