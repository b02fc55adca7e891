"""What /openapi.json says of each operation. Written by hand: routes take the bare request, for speed and for order.

The tests hold it against the routes (tests/http/test_operating.py).
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel

from vault.errors import (
    BadDocumentError,
    CatalogueFullError,
    DamagedError,
    DestroyedError,
    DocumentConflictError,
    DocumentTooLargeError,
    DocumentTruncatedError,
    EmptyDocumentError,
    IdempotencyConflictError,
    NotFoundError,
    RecordClosedError,
    RecordIncompleteError,
    RecordsAreKeptError,
    SealedOffError,
    TooManyDocumentsError,
    UnsupportedTypeError,
)
from vault.records.documents import MediaType
from vault.records.retrieval import Purpose, PurposeError

from . import problems
from .applicants import OpenRecord
from .openapi_parts import EVERYWHERE, ID, PLAIN, RECEIPT, SECURED, answer, parameter, refusals

__all__ = ["COMPLETE", "DECIDED", "DESCRIPTION", "GET", "OPEN", "PUT", "TAGS", "VIEW", "App"]

DESCRIPTION: Final = (
    "Files scanned identity documents into a vault that can make them unrecoverable. A center's token files and cannot "
    "read; a reviewer's token reads, for a stated purpose that is on record before the first byte leaves. Every "
    "refusal is a problem document (RFC 9457) that never repeats what was submitted."
)
TAGS: Final = [
    {"name": "records", "description": "One application each: opened, filled with documents, completed."},
    {"name": "documents", "description": "One scanned file each: PDF, JPEG, PNG or TIFF, 25 MiB at most."},
    {"name": "holds", "description": "What protects records from every destruction; for counsel."},
    {"name": "orders", "description": "What people signed, and what was destroyed. Nothing is carried out here."},
    {"name": "certificates", "description": "What was destroyed, by whose authority, and what that cannot prove."},
    {"name": "ledger", "description": "What was written down, so that others can check it. No facts, only hashes."},
    {"name": "receipts", "description": "What has become of a record, for whoever holds its receipt; without a token."},
    {"name": "operation", "description": "For the operator's network; without a token, and nothing personal."},
]


class App(FastAPI):
    """FastAPI, with the shared parts of the OpenAPI document."""

    bodies: tuple[type[BaseModel], ...] = ()
    """Models of bodies beyond `OpenRecord`."""

    def openapi(self) -> dict[str, Any]:
        """Make the document, once."""
        if self.openapi_schema is None:
            document = super().openapi()
            parts = document.setdefault("components", {})
            parts["securitySchemes"] = {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`svt_…`, made by `shredvault access create`.",
                }
            }
            parts["schemas"] = {"Problem": _PROBLEM}
            models: tuple[type[BaseModel], ...] = (OpenRecord, *self.bodies)
            for model in models:
                schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
                parts["schemas"] |= {**schema.pop("$defs", {}), model.__name__: schema}
        return self.openapi_schema or {}


_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Stable; programs decide by it."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people; may change."},
        "request_id": {"type": "string", "description": "The operator finds the request in the log by it."},
        "destruction_id": {"type": "string", "description": "With 410: which destruction it was."},
        "purposes": {"type": "array", "items": {"type": "string"}, "description": "What `Purpose` may say."},
        "limit_bytes": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "rule", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer to the field."},
                    "rule": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


_RECORD: Final = parameter("path", "record_id", "The record's id, as it was returned.", ID, minLength=1, maxLength=26)
_NAME: Final = parameter(
    "path",
    "name",
    "The document's name: 1 to 120 printable characters, no slash, percent-encoded UTF-8. It is kept under seal.",
    "passport.jpg",
    minLength=1,
    maxLength=120,
)
_PURPOSE: Final = parameter("header", "Purpose", "Why you read.", "application-review", enum=list(Purpose))
_KEY: Final = parameter(
    "header",
    "Idempotency-Key",
    "A random UUID, new for each new record: the same key with the same body gets the same answer.",
    "0b6c7c1e-5a56-4a53-9d0c-2f6b8a1f8d0e",
    format="uuid",
)
OPEN: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "open_record",
    "summary": "Open a record",
    "description": "For centers. The applicant's fields go into the record's sealed sheet. The receipt code is for the "
    "applicant.",
    "status_code": 201,
    "responses": {
        200: answer(
            "The same request was answered before; this is that answer.",
            {"record_id": ID, "receipt": RECEIPT},
            {"Idempotent-Replayed": "`true`", "Location": "The record."},
        ),
        201: answer("The record is open.", {"record_id": ID, "receipt": RECEIPT}, {"Location": "The record."}),
        **refusals(
            *EVERYWHERE,
            problems.KEY_MISSING,
            problems.LENGTH_UNREADABLE,
            problems.BODY_TOO_SLOW,
            DestroyedError,
            IdempotencyConflictError,
            problems.BODY_TOO_LARGE,
            problems.JSON_NEEDED,
            problems.FIELDS_INVALID,
            CatalogueFullError,
        ),
    },
    "openapi_extra": {
        "security": SECURED,
        "parameters": [_KEY],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/OpenRecord"},
                    "example": {
                        "applicant": {
                            "family_name": "Vexley",
                            "given_name": "Ottoline",
                            "date_of_birth": "1987-03-29",
                            "more": {"borough": "Queens"},
                        }
                    },
                }
            },
        },
    },
}

PUT: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "put_document",
    "summary": "File a document",
    "description": "For the center that opened the record. The raw bytes are the body. The type is told by the first "
    "bytes; a Content-Type, where one is sent, must agree. Sending the same bytes again is answered 200.",
    "status_code": 201,
    "responses": {
        200: answer(
            "The same bytes were there under this name already.",
            {"document_id": ID, "media_type": "image/jpeg", "size": 410536},
        ),
        201: answer("The document is in the vault.", {"document_id": ID, "media_type": "image/jpeg", "size": 410536}),
        **refusals(
            *EVERYWHERE,
            problems.LENGTH_UNREADABLE,
            NotFoundError,
            problems.BODY_TOO_SLOW,
            RecordClosedError,
            TooManyDocumentsError,
            DocumentConflictError,
            DestroyedError,
            DocumentTooLargeError,
            UnsupportedTypeError,
            BadDocumentError,
            problems.NAME_UNUSABLE,
            problems.FORM_SENT,
            EmptyDocumentError,
            DocumentTruncatedError,
            CatalogueFullError,
        ),
    },
    "openapi_extra": {
        "security": SECURED,
        "parameters": [_RECORD, _NAME],
        "requestBody": {
            "required": True,
            "description": "25 MiB at most.",
            "content": {
                str(media_type): {"schema": {"type": "string", "format": "binary"}, "example": example}
                for media_type, example in {
                    MediaType.PDF: "%PDF-1.7 … %%EOF",
                    MediaType.JPEG: "(the file)",
                    MediaType.PNG: "(the file)",
                    MediaType.TIFF: "(the file)",
                    "application/octet-stream": "(the file)",
                }.items()
            },
        },
    },
}

COMPLETE: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "complete_record",
    "summary": "Complete a record",
    "description": "For the center that opened it. The retention clock starts. Safe to repeat: the first time counts.",
    "responses": {
        200: answer(
            "The record is complete.",
            {"record_id": ID, "completed_at": "2026-01-05T15:02:11+00:00", "due_on": "2028-01-06", "documents": 2},
        ),
        **refusals(*EVERYWHERE, NotFoundError, RecordIncompleteError, DestroyedError, CatalogueFullError),
    },
    "openapi_extra": {"security": SECURED, "parameters": [_RECORD]},
}

DECIDED: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "decide_record",
    "summary": "Tell that an application was decided",
    "description": "For the center that opened it, where nothing is kept: the record is due at once. Safe to repeat.",
    "responses": {
        200: answer("The record is due.", {"record_id": ID, "due_on": "2026-01-05"}),
        **refusals(*EVERYWHERE, NotFoundError, RecordIncompleteError, RecordsAreKeptError, DestroyedError),
    },
    "openapi_extra": {"security": SECURED, "parameters": [_RECORD]},
}

VIEW: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "read_record",
    "summary": "Look at a record",
    "description": "For reviewers. The reading and its purpose are on record before anything is opened.",
    "responses": {
        200: answer(
            "The record's sheet and the list of its documents.",
            {
                "record_id": ID,
                "state": "retained",
                "applicant": {"family_name": "Vexley", "given_name": "Ottoline"},
                "opened_at": "2026-01-05T15:00:40+00:00",
                "completed_at": None,
                "due_on": None,
                "documents": [{"name": "passport.jpg", "media_type": "image/jpeg", "size": 410536}],
            },
        ),
        **refusals(
            *EVERYWHERE, PurposeError, NotFoundError, DestroyedError, SealedOffError, CatalogueFullError, DamagedError
        ),
    },
    "openapi_extra": {"security": SECURED, "parameters": [_RECORD, _PURPOSE]},
}

GET: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "read_document",
    "summary": "Read a document",
    "description": "For reviewers. The reading and its purpose are on record before the first byte leaves. An answer "
    "that is shorter than its Content-Length was broken off because what is stored is damaged or cannot be reached.",
    "responses": {
        200: {
            "description": "The document, as it was filed.",
            "content": {
                str(media_type): {"schema": {"type": "string", "format": "binary"}, "example": "(the file)"}
                for media_type in MediaType
            },
            "headers": {
                "Content-Disposition": {
                    "description": "`attachment`, with the document's name.",
                    "schema": {"type": "string"},
                }
            },
        },
        **refusals(
            *EVERYWHERE, PurposeError, NotFoundError, DestroyedError, SealedOffError, CatalogueFullError, DamagedError
        ),
    },
    "openapi_extra": {"security": SECURED, "parameters": [_RECORD, _NAME, _PURPOSE]},
}
