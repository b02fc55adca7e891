"""Serves the app with uvicorn: one process, one event loop. `supervisor` runs several.

What uvicorn leaves open is closed here: a limit on the head of a request in bytes and in seconds, and refusals of its
own as problem documents. Its access log is off, because paths hold document names; what it says otherwise goes the way
of our own log lines. Slow senders of bodies are the business of `bodies`; a proxy with TLS stands in front.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vault.context import Vault
from vault.serving.fences import Node

from .app import create_app
from .departure import Departure
from .limits import Limits
from .logs import Log, make_log, routed
from .problems import MEDIA_TYPE, REQUEST_UNUSABLE

__all__ = ["DRAIN_S", "LEAVE_S", "Serving", "background_server", "listen", "return_memory"]

HEAD_BYTES_MAX: Final = 32 * 1024
HEAD_SECONDS_MAX: Final = 15.0
CONNECTIONS_MAX: Final = 1024
KEEP_ALIVE_S: Final = 15
SHUTDOWN_S: Final = 20
DRAIN_S: Final = 10.0
"""How long a worker that is replaced lets requests come to their end."""
_GRACE_S: Final = 0.5
"""A caller who has connected and not yet spoken when the worker stops listening is still heard for so long."""
_FAREWELL_S: Final = 3
"""What was cut is answered within this time."""
LEAVE_S: Final = _GRACE_S + DRAIN_S + 2 * _FAREWELL_S
"""A worker that has not ended by then is ended."""
_BACKLOG: Final = 512
_START_S: Final = 10.0
# glibc, <malloc.h>
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_STEP_S: Final = 0.005


class _Protocol(HttpToolsProtocol):
    """Uvicorn's protocol, with an end to heads: uvicorn would keep a head of any length, and wait for it for ever."""

    _head_bytes = 0
    _in_head = True
    _body_ended = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._head_ended()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what it has taken without coming to the head's end belongs to the head."""
        self._body_ended = False
        super().data_received(data)
        if self._in_head and not self._body_ended and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._watch_head()
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_ended()
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > HEAD_BYTES_MAX:
            message = "The head of the request is too long."
            raise ValueError(message)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next byte begins another head."""
        super().on_message_complete()
        self._in_head, self._head_bytes, self._body_ended = True, 0, True

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, and end the connection."""
        if self.transport.is_closing():
            return
        kind = REQUEST_UNUSABLE
        problem = {"type": kind.type, "title": kind.title, "status": kind.status, "detail": msg}
        body = json.dumps(problem).encode()
        head = (
            f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            "cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _watch_head(self) -> None:
        self._in_head = True
        self._head_timer = self.loop.call_later(HEAD_SECONDS_MAX, self._head_too_slow)

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _head_ended(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Serving(uvicorn.Server):
    """Uvicorn's server; a signal ends it in order and nothing more, and it can take leave.

    Uvicorn raises the signal again when it is done, and SIGTERM would then kill the process before the lease is given
    back.
    """

    def __init__(self, vault: Vault, node: Node, limits: Limits | None, log: Log) -> None:
        self._vault = vault
        self._departure = Departure()
        self._condemned: frozenset[str] = frozenset()
        super().__init__(
            uvicorn.Config(
                create_app(vault, node, limits=limits, log=log, departure=self._departure),
                loop="uvloop",
                http=_Protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_S,
            )
        )

    def leave(self, condemned: frozenset[str]) -> None:
        """Stop listening; end when what is under way has ended. From any thread.

        What is about `condemned` records is cut at once, and everything else after DRAIN_S.
        """
        self._condemned = condemned
        self._departure.leaving = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but nobody who is connected already is turned away unheard."""
        if self._departure.leaving:
            self.config.timeout_graceful_shutdown = int(DRAIN_S) + _FAREWELL_S
            for server in self.servers:
                server.close()
            self._departure.cut_condemned(self._condemned)
            asyncio.get_running_loop().call_later(DRAIN_S, self._cut)
            if self.server_state.connections:
                await asyncio.sleep(_GRACE_S)
        await super().shutdown(sockets)

    def _cut(self) -> None:
        self._vault.uses.cut(self._vault.uses.records())
        self._departure.cut()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to SIGINT and SIGTERM, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        # A second signal does not wait for requests under way.
        self.force_exit = self.should_exit
        self.should_exit = True


def return_memory() -> None:
    """Have glibc give large buffers back to the kernel: uploads come and go, and it would keep what they freed.

    Where there is no glibc nothing happens.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_THRESHOLD, 1024 * 1024)
        mallopt(_M_ARENA_MAX, 2)


@contextmanager
def background_server(
    vault: Vault,
    node: Node,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    limits: Limits | None = None,
    log: Log | None = None,
) -> Iterator[str]:
    """Serve in a thread while the block runs; yields the address, `http://127.0.0.1:41234`.

    Raises:
        OSError: nobody can listen there.
        RuntimeError: the server did not start.
    """
    log = log or make_log()
    with ExitStack() as stack:
        listener = stack.enter_context(listen(host, port))
        stack.enter_context(routed(log, "uvicorn", "uvicorn.error", "uvicorn.access"))
        server = Serving(vault, node, limits, log)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="http", daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(setattr, server, "should_exit", True)
        patience = int(_START_S / _STEP_S)
        while not server.started:
            patience -= 1
            if not patience or not thread.is_alive():
                message = "The server did not start."
                raise RuntimeError(message)
            thread.join(_STEP_S)
        yield f"http://{host}:{listener.getsockname()[1]}"


def listen(host: str, port: int) -> socket.socket:
    """Listen there; port 0 takes a free one.

    Raises:
        OSError: nobody can listen there.
    """
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
