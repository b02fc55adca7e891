"""The shapes of requests and answers."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = [
    "ApplicantFields",
    "CompletedAnswer",
    "DocumentAnswer",
    "OpenRecord",
    "OpenedAnswer",
    "ProblemAnswer",
    "RecordAnswer",
]

TEXT_CHARACTERS_MAX: Final = 200
FIELDS_MAX: Final = 40

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_CHARACTERS_MAX)]
FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ApplicantFields(_Strict):
    """What goes into the sealed sheet. Programs differ, so `more` takes further short fields."""

    given_name: Text
    family_name: Text
    date_of_birth: date | None = None
    more: Annotated[dict[FieldName, Text], Field(max_length=FIELDS_MAX)] = {}


class OpenRecord(_Strict):
    """The request that opens a record."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "examples": [
                {
                    "applicant": {
                        "given_name": "Ottoline",
                        "family_name": "Vexley",
                        "date_of_birth": "1988-02-29",
                        "more": {"application_number": "U-2041"},
                    }
                }
            ]
        },
    )

    applicant: ApplicantFields


class OpenedAnswer(BaseModel):
    """An open record."""

    record_id: str = Field(examples=["0h2m8w1kq7c4x9v3t5r6y0j8pa"])
    receipt: str = Field(description="For the applicant.", examples=["k3v9-0tqm-x7ar-28hz"])


class DocumentAnswer(BaseModel):
    """A document that is safely in the vault."""

    document_id: str = Field(examples=["6x1c0v8n2m4q7w9e3r5t0y1z8p"])
    size: int = Field(description="Bytes.", examples=[410536])
    media_type: str = Field(examples=["image/jpeg"])


class CompletedAnswer(BaseModel):
    """A complete record; its retention clock runs."""

    record_id: str
    completed_at: datetime
    due_on: date = Field(description="The first day on which it may be swept, in the program's time zone.")
    documents: int


class DocumentLineAnswer(BaseModel):
    """A document in a record's view."""

    name: str
    media_type: str
    size: int


class RecordAnswer(BaseModel):
    """A record as a reviewer sees it."""

    record_id: str
    state: str
    applicant: dict[str, Any]
    opened_at: datetime
    completed_at: datetime | None
    due_on: date | None
    documents: list[DocumentLineAnswer]


class ProblemAnswer(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(examples=["urn:shredvault:problem:document-type"])
    title: str = Field(examples=["The type of file is not accepted"])
    status: int = Field(examples=[415])
    detail: str = Field(examples=["The file is not a PDF, JPEG, PNG or TIFF, whatever its name says."])
    destruction_id: str | None = Field(None, description="With 410: the destruction that the record went with.")
