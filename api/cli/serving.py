"""`shredvault serve`: the HTTP service on one vault."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from vault.clocks.clock import SystemClock
from vault.errors import VaultError
from vault.home import Home, open_without_keys
from vault.ids import new_id
from vault.serving.servings import end_serving

from .exits import CommandError, ExitCode
from .manual import described
from .screen import note
from .settings import HomeOption, load_settings

__all__ = ["only_one", "serve"]


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
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Serve with so many processes, about one for each core. [dim]Default 1; SHREDVAULT_WORKERS.[/dim]",
        ),
    ] = None,
) -> None:
    """Start the HTTP service. Ctrl-C or SIGTERM ends it in order.

    First it puts in order what was cut off: a destruction that had condemned nothing is undone, one that had is
    carried to its end. A catalogue that came from a backup is brought forward as by `rebuild`, before anything is
    served from it; one on PostgreSQL is refused instead.

    The embedded object store runs beside it. Workers that a destruction finds with keys end and are replaced;
    callers wait for a moment and are not refused. One `serve` for each vault; all other commands work meanwhile.
    Put a proxy with TLS in front of it when others than this machine are to reach it.
    """
    settings = load_settings(home=home, host=host, port=port, workers=workers)
    where = Home.at(settings.home_folder)
    with only_one(where.path), _listening(settings.host, settings.port) as listener:
        if settings.port:
            shown = f"[{settings.host}]" if ":" in settings.host else settings.host
            note(f"Serving on http://{shown}:{settings.port}; Ctrl-C ends it.")
        # After an interrupt everything has ended in order by now, or had not begun.
        with suppress(KeyboardInterrupt):
            _supervise(where.path, settings.workers, listener)
    note("The service has ended.")


def _supervise(home: Path, workers: int, listener: socket.socket) -> None:
    # FastAPI takes longer to import than most commands take to run.
    from api.http.logs import make_log  # noqa: PLC0415
    from api.http.supervisor import Supervisor, WorkersFailError  # noqa: PLC0415

    serving = new_id()
    with open_without_keys(home) as (catalogue, endpoint):
        # The catalogue may be replaced by another: SQLite must not have the file open meanwhile.
        catalogue.close()
        _put_in_order(home, endpoint, serving)
        try:
            Supervisor(home, endpoint, catalogue, listener, workers, make_log()).run()
        except WorkersFailError as failed:
            raise CommandError(ExitCode.UNAVAILABLE, str(failed)) from failed
        finally:
            # Else the next one compares the catalogue with the bucket.
            with suppress(VaultError):
                end_serving(catalogue, SystemClock(), serving)


def _put_in_order(home: Path, endpoint: str | None, serving: str) -> None:
    flags = [f"-W{option}" for option in sys.warnoptions]
    command = [sys.executable, *flags, "-m", "api.cli.ordering", str(home), endpoint or "", serving]
    code = subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode  # noqa: S603  # a fixed program
    if code:
        raise typer.Exit(code if code > 0 else ExitCode.BUG)


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """One service for each vault; the operating system gives the lock up when the process dies."""
    descriptor = os.open(home / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            message = f"A `shredvault serve` runs on the vault in {home} already; end that one first."
            raise CommandError(ExitCode.BUSY, message) from taken
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """The socket that all workers share."""
    from api.http.server import listen  # noqa: PLC0415  # as above

    try:
        listener = listen(host, port)
    except socket.gaierror as unknown:
        raise CommandError(ExitCode.USAGE, f"There is no address {host} on this machine.") from unknown
    except OSError as taken:
        message = f"Port {port} on {host} cannot be had ({os.strerror(taken.errno or 0)}); give another with --port."
        raise CommandError(ExitCode.BUSY, message) from taken
    with listener:
        yield listener
