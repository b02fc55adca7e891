"""Runs the application under uvicorn: one process, one event loop, blocking work in threads."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from vault.context import Vault
from vault.fences import Node

from .app import create_app
from .logs import configure, log

__all__ = ["background_server", "listen", "run_server"]

CONCURRENCY_MAX: Final = 400
"""Connections and requests at once; further ones get 503."""
GRACE_SECONDS: Final = 20
BACKLOG: Final = 512
_START_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.01


def _server(vault: Vault, node: Node, *, quiet: bool = False) -> uvicorn.Server:
    configure(quiet=quiet)
    config = uvicorn.Config(
        create_app(vault, node),
        http="httptools",
        loop="uvloop",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONCURRENCY_MAX,
        backlog=BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """Bind a listening socket; port 0 takes a free one.

    Raises:
        OSError: the address or port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def run_server(vault: Vault, node: Node, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM, then end in order: requests under way are finished first.

    Raises:
        OSError: the address or port cannot be had.
    """
    with listen(host, port) as listener:
        server = _server(vault, node)
        address = "http://{}:{}".format(*listener.getsockname()[:2])
        log.info("serving", address=address)
        server.run(sockets=[listener])


@contextmanager
def background_server(vault: Vault, node: Node, *, quiet: bool = False) -> Iterator[str]:
    """The same server in a thread, on a free port of 127.0.0.1, for the demo and for tests; gives its URL.

    Raises:
        OSError: the address or port cannot be had.
        RuntimeError: the server does not start.
    """
    with listen("127.0.0.1", 0) as listener:
        server = _server(vault, node, quiet=quiet)
        thread = threading.Thread(target=server.run, args=([listener],), name="http", daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not server.started:
                if time.monotonic() > deadline or not thread.is_alive():
                    message = "The HTTP server did not start."
                    raise RuntimeError(message)
                time.sleep(_POLL_SECONDS)
            yield "http://{}:{}".format(*listener.getsockname()[:2])
        finally:
            server.should_exit = True
            thread.join()
