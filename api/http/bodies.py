"""Bodies on their way in, chunk by chunk, with an end to patience. Nothing is spooled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request

from .departure import Departure
from .edge import facts_of
from .limits import Limits
from .problems import BODY_TOO_LARGE, BODY_TOO_SLOW, CALLER_GONE, JSON_NEEDED, LENGTH_UNREADABLE, RefusedError

__all__ = ["chunks", "declared_length", "require_json", "small_body"]

_DIGITS_MAX = 15


def declared_length(request: Request) -> int | None:
    """What Content-Length says, in bytes.

    Raises:
        RefusedError: it is no number.
    """
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise RefusedError(LENGTH_UNREADABLE)
    return int(text)


def require_json(request: Request) -> None:
    """Make sure that the body is said to be JSON, before any of it is asked for.

    Raises:
        RefusedError: it is not.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(JSON_NEEDED)


async def chunks(request: Request, limits: Limits, departure: Departure) -> AsyncIterator[bytes]:
    """The body as it comes. The first step is what makes the server send `100 Continue`.

    Raises:
        RefusedError: the caller went away before the end, or was silent for too long, or this worker leaves.
    """
    loop = asyncio.get_running_loop()
    last = loop.time() + limits.body_s
    record_id = facts_of(request.scope).record_id
    try:
        while True:
            async with departure.patience(min(last, loop.time() + limits.silence_s), record_id):
                message = await request.receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(CALLER_GONE)
            if chunk := message.get("body", b""):
                yield chunk
            if not message.get("more_body", False):
                return
    except TimeoutError as slow:
        raise RefusedError(BODY_TOO_SLOW) from slow


async def small_body(request: Request, limits: Limits, departure: Departure) -> bytes:
    """The whole of a body that is no document.

    Raises:
        RefusedError: it is too long (said before it is read, where it declares that), or see `chunks`.
    """
    declared = declared_length(request)
    if declared is not None and declared > limits.json_bytes:
        raise RefusedError(BODY_TOO_LARGE)
    body = bytearray()
    async for chunk in chunks(request, limits, departure):
        body += chunk
        if len(body) > limits.json_bytes:
            raise RefusedError(BODY_TOO_LARGE)
    return bytes(body)
