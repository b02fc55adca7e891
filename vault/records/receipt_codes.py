"""The code on an applicant's receipt (docs/spec/receipt.md).

The code is the record's id with check characters, grouped for reading aloud. It is computed and stored nowhere: after
reclaim only a random id, a place on a list and times remain of a record, and whoever comes with the paper years
later is answered from these. A code of its own would have to be kept beside them, as one thing more about
somebody who was to be forgotten. A record's id opens nothing without a token, so it may stand on paper.
"""

from __future__ import annotations

import hashlib
from typing import Final

from vault.errors import NotFoundError
from vault.ids import RecordId, base32, is_id

__all__ = ["CODE_CHARACTERS_MAX", "code_of", "no_such_receipt", "record_of"]

CODE_CHARACTERS_MAX: Final = 80
"""A longer text is not looked at."""
_LABEL: Final = b"shredvault/receipt/v1"
_CHECK_BITS: Final = 20
_CHECK_CHARACTERS: Final = 4
_GROUP: Final = 5
_SEPARATORS: Final = str.maketrans("", "", "- ")
# As Crockford reads them; none of the three is in the alphabet.
_LOOK_ALIKES: Final = str.maketrans("oil", "011")


def code_of(record_id: RecordId) -> str:
    """The receipt code of a record: `xxxxx-xxxxx-xxxxx-xxxxx-xxxxx-xxxxx`."""
    text = record_id + _check(record_id)
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def record_of(code: str) -> RecordId:
    """The record whose receipt says `code`, if there is one; however the code is grouped, in either case.

    Raises:
        NotFoundError: it is no receipt code; of a million mistyped ones about one is not noticed.
    """
    if len(code) > CODE_CHARACTERS_MAX or not code.isascii():
        raise no_such_receipt()
    text = code.translate(_SEPARATORS).lower().translate(_LOOK_ALIKES)
    record_id, check = text[:-_CHECK_CHARACTERS], text[-_CHECK_CHARACTERS:]
    if not is_id(record_id) or check != _check(record_id):
        raise no_such_receipt()
    return RecordId(record_id)


def no_such_receipt() -> NotFoundError:
    """The one answer to a malformed, a mistyped and an unknown code."""
    return NotFoundError("There is no receipt with this code.")


def _check(record_id: str) -> str:
    digest = hashlib.sha256(_LABEL + record_id.encode("ascii")).digest()
    return base32(int.from_bytes(digest[:3]) >> 24 - _CHECK_BITS, _CHECK_CHARACTERS)
