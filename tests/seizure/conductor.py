"""The game's side of `tests.seizure.insider`: hears every step of every destruction, moves clocks, collects notes."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from tests.seizure.insider import CLOCKS, LOGS, NOTES, STEPS, TEMPORARY, read_notes
from tests.seizure.instruments import Notes
from vault.clocks.clock import SystemClock

Heard = Callable[[str, int], None]
"""Told the step and the process that is about to take it, which waits meanwhile."""


class Conductor:
    """Of one game, in its folder. Processes that tell a step wait until what `hearing` was given has returned."""

    def __init__(self, folder: Path, notes: Notes) -> None:
        self._folder = folder
        self._notes = notes
        self._read = 0
        self._heard: Heard = lambda _step, _pid: None
        self._failures: list[BaseException] = []
        for name in (LOGS, TEMPORARY):
            (folder / name).mkdir(exist_ok=True)
        (folder / NOTES).touch(0o600)
        self._clocks: tuple[float, ...] = ()
        self._write_clocks(0.0, 0.0)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(folder / STEPS))
        self._socket.listen()
        self._thread = threading.Thread(target=self._conduct, name="conductor", daemon=True)
        self._thread.start()

    def set_vault_clock(self, now: datetime) -> None:
        """Set the vault's clock, in all processes."""
        self._write_clocks((now - SystemClock().now()).total_seconds(), self._clocks[1])

    def set_store_ahead(self, ahead: timedelta) -> None:
        """Set by how much the store's clock is ahead of what it is, as the vault's processes see it."""
        self._write_clocks(self._clocks[0], ahead.total_seconds())

    def _write_clocks(self, *clocks: float) -> None:
        self._clocks = clocks
        fresh = self._folder / f"{CLOCKS}.new"
        fresh.write_text(json.dumps(clocks))
        fresh.replace(self._folder / CLOCKS)

    @contextmanager
    def hearing(self, heard: Heard) -> Iterator[None]:
        """Call `heard` with every step within the block. What it raises is raised at the end of the block."""
        self._heard = heard
        try:
            yield
        finally:
            self._heard = lambda _step, _pid: None
        if self._failures:
            raise self._failures[0]

    def collect(self) -> None:
        """Take over what the processes have noted."""
        self._read = read_notes(self._folder / NOTES, self._read, self._notes)

    def close(self) -> None:
        """Hear nothing any more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _conduct(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with caller:
                pid, step = caller.recv(200).decode().split(maxsplit=1)
                try:
                    self._heard(step.strip(), int(pid))
                except BaseException as failure:  # noqa: BLE001 - raised again by `hearing`
                    self._failures.append(failure)
                with suppress(BrokenPipeError, ConnectionResetError):
                    caller.sendall(b"\n")
