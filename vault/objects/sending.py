"""Sending a body, with its digest where the store wants one."""

import base64
import hashlib
from collections.abc import Callable

from .bodies import Body, outgoing
from .client import Answer
from .errors import ObjectStoreUnable, wall

__all__ = ["Sending"]


class Sending:
    """Sends the bodies of one bucket, and remembers whether it wants their digests. May be shared by threads.

    AWS takes no object without Content-MD5 into a bucket whose object lock has a default retention
    (InvalidRequest). Elsewhere the digest is left out: over TLS it would add a second pass over every byte, and
    what is inside is sealed.
    """

    def __init__(self) -> None:
        self._digests = False

    def __call__(self, call: Callable[..., Answer], body: Body, request: dict[str, object]) -> Answer:
        """Make the call with `request` and this body, uncopied.

        Raises: ValueError when the body is too long for one request; else the `ObjectStoreError` family.
        """
        if not self._digests:
            try:
                with wall():
                    return call(**request, Body=outgoing(body))
            except ObjectStoreUnable:
                self._digests = True
        digest = hashlib.md5(memoryview(body), usedforsecurity=False).digest()
        with wall():
            return call(**request, Body=outgoing(body), ContentMD5=base64.b64encode(digest).decode())
