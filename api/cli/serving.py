"""`shredvault serve`: the HTTP service on one vault."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vault.context import Vault
from vault.destruction import recover_destructions
from vault.errors import BusyError
from vault.fences import Node
from vault.holds import copy_held_keys
from vault.home import Home, open_vault

from .exits import CommandError, ExitCode
from .manual import described
from .screen import note
from .settings import HomeOption, load_settings

__all__ = ["serve"]


@described
def serve(
    *,
    home: HomeOption = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Listen here. [dim]Default 127.0.0.1; SHREDVAULT_HOST.[/dim]"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", help="Listen on this port; 0 takes a free one. [dim]Default 8080; SHREDVAULT_PORT.[/dim]"
        ),
    ] = None,
) -> None:
    """Start the HTTP service. Ctrl-C or SIGTERM ends it in order.

    First it puts in order what was cut off: a destruction that had condemned nothing is undone, one that had is
    carried to its end. The embedded object store runs inside. One `serve` for each vault; all other commands
    work meanwhile. Put a proxy with TLS in front of it when others than this machine are to reach it.
    """
    settings = load_settings(home=home, host=host, port=port)
    where = Home.at(settings.home_folder)
    with _only_one(where.path):
        _require_free(settings.host, settings.port)
        try:
            with open_vault(where.path, own_store=True) as vault, Node(vault) as node:
                _put_in_order(vault)
                _run(vault, node, settings.host, settings.port)
        except KeyboardInterrupt:
            # The server has ended in order by now, or had not begun.
            pass
    note("The service has ended.")


def _run(vault: Vault, node: Node, host: str, port: int) -> None:
    # FastAPI takes longer to import than most commands take to run.
    from api.http.server import run_server  # noqa: PLC0415

    if port:
        shown = f"[{host}]" if ":" in host else host
        note(f"Serving on http://{shown}:{port}; Ctrl-C ends it.")
    run_server(vault, node, host, port)


def _put_in_order(vault: Vault) -> None:
    try:
        found = recover_destructions(vault)
    except BusyError:
        note("A destruction is running in another process; it is left to it.")
    else:
        for one in found.undone:
            note(f"Undone: destruction {one} was cut off before it had destroyed anything.")
        for one in found.finished:
            note(f"Finished: destruction {one} was cut off.")
    if copied := copy_held_keys(vault):
        note(f"{copied} keys of held records copied.")


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """One service for each vault; the operating system gives the lock up when the process dies."""
    descriptor = os.open(home / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            message = f"Another `shredvault serve` runs on the vault in {home}."
            raise CommandError(ExitCode.BUSY, message) from taken
        yield
    finally:
        os.close(descriptor)


def _require_free(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as unknown:
        raise CommandError(ExitCode.USAGE, f"There is no address {host} on this machine.") from unknown
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as taken:
            message = f"Port {port} on {host} cannot be had ({taken.strerror}); give another with --port."
            raise CommandError(ExitCode.BUSY, message) from taken
