"""Canonical JSON: one value has one text, so that a signature or a hash over the text binds the value.

UTF-8, keys sorted, no white space, no escapes but the necessary ones, no fractions, no key twice, nothing after the
end. Whatever was written another way is refused, not put right: what people signed is what is stored.
"""

from __future__ import annotations

import json
from typing import Any, Final

from vault.errors import NotCanonicalError

__all__ = ["DOCUMENT_LIMIT_BYTES", "decode", "encode"]

DOCUMENT_LIMIT_BYTES: Final = 256 * 1024
"""Longest document that is looked at."""


def encode(value: Any) -> bytes:
    """The one text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def decode(document: bytes) -> dict[str, Any]:
    """The object of a canonical text.

    Raises:
        NotCanonicalError: it is too long, no JSON object, or written in another way.
    """
    if len(document) > DOCUMENT_LIMIT_BYTES:
        message = f"The document is longer than {DOCUMENT_LIMIT_BYTES} bytes."
        raise NotCanonicalError(message)
    try:
        value = json.loads(document.decode("utf-8"), parse_float=_refuse, parse_constant=_refuse)
        same = isinstance(value, dict) and encode(value) == document
    except (ValueError, RecursionError) as broken:
        message = "The document is not JSON in UTF-8, or has fractions in it."
        raise NotCanonicalError(message) from broken
    if not same:
        message = (
            "The document is not canonical JSON: one object, keys sorted, no key twice, no white space between, "
            "no line end after it. Take it as `shredvault` wrote it; an editor may have changed it."
        )
        raise NotCanonicalError(message)
    return dict(value)


def _refuse(number: str) -> None:
    message = f"{len(number)} characters that are no whole number"
    raise ValueError(message)
