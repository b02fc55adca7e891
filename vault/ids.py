"""Random identifiers, and names for look-alikes.

Every id is 128 random bits in 26 characters of Crockford's base 32, lower case, so it tells nothing and
survives being read out over a telephone.
"""

from __future__ import annotations

import re
import secrets
from typing import Final, NewType

__all__ = [
    "CohortId",
    "DestructionId",
    "DocumentId",
    "HoldId",
    "ListId",
    "OrderId",
    "RecordId",
    "TokenId",
    "is_id",
    "new_id",
    "number_of",
]

RecordId = NewType("RecordId", str)
DocumentId = NewType("DocumentId", str)
DestructionId = NewType("DestructionId", str)
HoldId = NewType("HoldId", str)
ListId = NewType("ListId", str)
OrderId = NewType("OrderId", str)
TokenId = NewType("TokenId", str)
CohortId = NewType("CohortId", int)

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_BITS: Final = 128
_ID_CHARACTERS: Final = 26
_AS_PYTHON_READS: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_ID: Final = re.compile(rf"[{_ALPHABET}]{{{_ID_CHARACTERS}}}")


def new_id() -> str:
    """Draw a fresh identifier."""
    return base32(secrets.randbits(_ID_BITS), _ID_CHARACTERS)


def is_id(text: str) -> bool:
    """Whether `text` has the form of an identifier."""
    return _ID.fullmatch(text) is not None


def base32(number: int, length: int) -> str:
    """Write a number in `length` characters of Crockford's base 32, lower case."""
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def number_of(text: str) -> int:
    """The number that `base32` wrote.

    Raises:
        ValueError: it did not.
    """
    return int(text.translate(_AS_PYTHON_READS), 32)
