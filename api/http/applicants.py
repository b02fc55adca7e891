"""What a center may say of an applicant, and how it is told what is wrong with it without being told what it said."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from .problems import FIELDS_INVALID, RefusedError

__all__ = ["Applicant", "OpenRecord", "parse_open_record"]

MORE_FIELDS_MAX: Final = 40
ERRORS_MAX: Final = 20
EARLIEST_BIRTH: Final = date(1880, 1, 1)


def _printable(text: str) -> str:
    if not text.isprintable():
        code, message = "not_printable", "must consist of printable characters"
        raise PydanticCustomError(code, message)
    return text


def _plausible(day: date) -> date:
    if day < EARLIEST_BIRTH:
        code, message = "too_early", "must be 1880 or later"
        raise PydanticCustomError(code, message)
    return day


_Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_printable)
]
_Label = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
_Text = Annotated[str, StringConstraints(max_length=500), AfterValidator(_printable)]


class Applicant(BaseModel):
    """Who applies. All of it goes into the sealed sheet and nowhere else."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    family_name: _Name = Field(description="The family name, or the only name of somebody who has one.")
    given_name: _Name | None = Field(None, description="The given names.")
    date_of_birth: Annotated[date, AfterValidator(_plausible)] | None = Field(None, description="YYYY-MM-DD.")
    more: dict[_Label, _Text] = Field(
        default_factory=dict,
        max_length=MORE_FIELDS_MAX,
        description="What else the program wants on the sheet: up to 40 texts of 500 characters, by lower-case names.",
    )


class OpenRecord(BaseModel):
    """The body of `POST /v1/records`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    applicant: Applicant


_RULES: Final = {
    "date_from_datetime_parsing": "must be a date, YYYY-MM-DD",
    "date_parsing": "must be a date, YYYY-MM-DD",
    "date_type": "must be a date, YYYY-MM-DD",
    "dict_type": "must be an object",
    "extra_forbidden": "has a field that is not known here",
    "json_invalid": "must be valid JSON in UTF-8",
    "missing": "is missing",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
    "not_printable": "must consist of printable characters",
    "string_pattern_mismatch": "must be named by lower-case letters, digits and underscores, 40 at most",
    "string_type": "must be a text",
    "too_early": "must be 1880 or later",
}
_KNOWN: Final = frozenset({"applicant", *Applicant.model_fields})


def parse_open_record(body: bytes) -> OpenRecord:
    """Read the body of `POST /v1/records`.

    Raises:
        RefusedError: some field is wrong; `errors` tells which ones, by JSON pointer, and the rule of each.
    """
    try:
        return OpenRecord.model_validate_json(body)
    except ValidationError as invalid:
        found = invalid.errors(include_url=False, include_input=False)
        told = [_told(dict(error)) for error in found[:ERRORS_MAX]]
    # Outside of the `except`: the error holds what was submitted, and must not become this one's context.
    raise RefusedError(FIELDS_INVALID, errors=told)


def _told(error: dict[str, Any]) -> dict[str, str]:
    """One entry of `errors`. Of the path only our own names are repeated; whatever the caller named ends it."""
    rule = str(error["type"])
    pointer = "#"
    for step in error["loc"]:
        if step not in _KNOWN:
            break
        pointer += f"/{step}"
    limits = error.get("ctx", {})
    if rule in {"string_too_long", "too_long"}:
        detail = f"must have at most {limits['max_length']} {'characters' if rule[0] == 's' else 'entries'}"
    elif rule == "string_too_short":
        detail = f"must have at least {limits['min_length']} characters"
    else:
        detail = _RULES.get(rule, "is not valid")
    return {"pointer": pointer, "rule": rule, "detail": detail}
