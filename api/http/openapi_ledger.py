"""What /openapi.json says of the ledger."""

from __future__ import annotations

from typing import Any, Final

from vault.errors import NotFoundError

from . import problems
from .openapi_parts import EVERYWHERE, PLAIN, SECURED, answer, parameter, refusals

__all__ = ["CHECKPOINT", "CONSISTENCY", "ENTRY", "INCLUSION"]

_READERS: Final = "For every token but a center's."
_HASH: Final = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
_PATH: Final = "The path is hexadecimal SHA-256 hashes, as RFC 6962, section 2.1, has them."
_DIGITS: Final = "^[0-9]{1,15}$"
_NOTE: Final = (
    "shredvault/5f0c2a9be1d473865f0c2a9be1d47386\n17\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n\n"
    "\N{EM DASH} shredvault/5f0c2a9be1d473865f0c2a9be1d47386 …\n"
)

CHECKPOINT: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "ledger_checkpoint",
    "summary": "Take the newest checkpoint",
    "description": f"{_READERS} A signed note (C2SP tlog-checkpoint): whose log, how many entries, the root over them. "
    "Keep it where nobody of the vault can change it.",
    "responses": {
        200: {
            "description": "The signed note.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _NOTE}},
        },
        **refusals(*EVERYWHERE),
    },
    "openapi_extra": {"security": SECURED},
}

ENTRY: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "ledger_entry",
    "summary": "Look at the leaf of an entry",
    "description": f"{_READERS} The leaf, byte for byte as it is hashed. It commits to the entry's facts, and does not "
    "show them.",
    "responses": {
        200: answer(
            "The leaf.",
            {
                "at": "2026-01-05T15:02:11+00:00",
                "commitment": _HASH,
                "event": "completed",
                "id": 17,
                "subject": "6h1n8p4s2d9g0j5k7m3q1r8v4x",
            },
        ),
        **refusals(*EVERYWHERE, NotFoundError),
    },
    "openapi_extra": {
        "security": SECURED,
        "parameters": [parameter("path", "number", "The entry's number, from 1.", "17", pattern=_DIGITS)],
    },
}

INCLUSION: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "prove_inclusion",
    "summary": "Prove that an entry is in the ledger",
    "description": f"{_READERS} {_PATH} Entry n is the leaf with index n - 1.",
    "responses": {
        200: answer("The audit path.", {"leaf": 1, "size": 2, "path": [_HASH]}),
        **refusals(*EVERYWHERE, NotFoundError, problems.NUMBERS_NEEDED),
    },
    "openapi_extra": {
        "security": SECURED,
        "parameters": [
            parameter("query", "leaf", "The entry's number, from 1.", "1", pattern=_DIGITS),
            parameter("query", "size", "How many entries the checkpoint is over.", "2", pattern=_DIGITS),
        ],
    },
}

CONSISTENCY: Final[dict[str, Any]] = PLAIN | {
    "operation_id": "prove_consistency",
    "summary": "Prove that the ledger was only added to",
    "description": f"{_READERS} {_PATH}",
    "responses": {
        200: answer("The proof.", {"from": 1, "to": 2, "path": [_HASH]}),
        **refusals(*EVERYWHERE, NotFoundError, problems.NUMBERS_NEEDED),
    },
    "openapi_extra": {
        "security": SECURED,
        "parameters": [
            parameter("query", "from", "How many entries the older checkpoint is over.", "1", pattern=_DIGITS),
            parameter("query", "to", "How many entries the newer checkpoint is over.", "2", pattern=_DIGITS),
        ],
    },
}
