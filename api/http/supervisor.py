"""Keeps a number of workers running on one listening socket, and never touches a key itself.

A worker ends whenever a destruction has replaced the keys, because only the end of a process gives all of its memory
back. Its replacement is started as soon as it says that it leaves; callers who connect meanwhile wait in the socket's
queue, which is the supervisor's and is never closed.

A worker that says nothing for SILENT_S was stopped, or hangs. It is killed well before its lease ends for others, so
that no destruction has to presume anything about it.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from vault.catalogue import Catalogue
from vault.clocks.clock import steady_seconds
from vault.errors import VaultError
from vault.serving.fences import LEASE, bury

from .logs import Log
from .server import LEAVE_S, SHUTDOWN_S
from .worker_words import LEAVING, READY

__all__ = ["SILENT_S", "Supervisor", "WorkersFailError"]

SILENT_S: Final = LEASE.total_seconds() * 0.6
START_S: Final = 60.0
"""A worker that has not said anything by then does not start."""
BACK_OFF_MAX_S: Final = 10.0
_BACK_OFF_FIRST_S: Final = 0.25
_SETTLED_S: Final = 10.0
"""A worker that lived so long did not fail at its start."""
_TICK_S: Final = 0.1
_WORDS_MAX: Final = 4096


class WorkersFailError(Exception):
    """No worker has ever come up."""


@dataclass(eq=False, slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    pulse: int
    began: float
    heard: float
    speaks: bool = False
    ready: bool = False
    leave_by: float | None = None

    @property
    def patience(self) -> float:
        return SILENT_S if self.speaks else START_S


@dataclass(eq=False)
class Supervisor:
    """Legal order: `run`, once, in the main thread: the kernel ties workers to the thread that starts them."""

    home: Path
    endpoint: str | None
    catalogue: Catalogue
    listener: socket.socket
    count: int
    log: Log
    _workers: list[_Worker] = field(default_factory=list, init=False)
    _failures: int = field(default=0, init=False)
    _start_at: float = field(default=0.0, init=False)
    _stopping: bool = field(default=False, init=False)
    _any_ready: bool = field(default=False, init=False)
    _to_bury: bool = field(default=False, init=False)

    def run(self) -> None:
        """Keep `count` workers until SIGINT or SIGTERM, then end them in order.

        Raises:
            WorkersFailError: the first ones ended before they served.
        """
        try:
            with self._heeding_signals():
                while not self._stopping:
                    self._fill_up()
                    self._tick()
        finally:
            self._end_all()

    @contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _fill_up(self) -> None:
        """Start what is missing; those that leave do not count any more."""
        while sum(worker.leave_by is None for worker in self._workers) < self.count:
            if steady_seconds() < self._start_at:
                return
            self._workers.append(self._start())

    def _start(self) -> _Worker:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)  # its only form
        words = [str(self.home), self.endpoint or "", str(self.listener.fileno()), str(writing), str(os.getpid())]
        flags = [f"-W{option}" for option in sys.warnoptions]
        try:
            process = subprocess.Popen(  # noqa: S603  # a fixed program, no shell
                [sys.executable, *flags, "-m", "api.http.worker", *words],
                stdin=subprocess.DEVNULL,
                pass_fds=(self.listener.fileno(), writing),
                # Ctrl-C in a terminal reaches the supervisor, which ends its workers in order.
                process_group=0,
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        now = steady_seconds()
        return _Worker(process, reading, began=now, heard=now)

    def _tick(self) -> None:
        self._listen_to_pulses()
        now = steady_seconds()
        for worker in list(self._workers):
            if worker.process.poll() is not None:
                self._ended(worker, now)
            elif now - worker.heard > worker.patience or (worker.leave_by is not None and now > worker.leave_by):
                self.log.warning("a worker that did not answer is killed")
                worker.process.kill()
        self._bury()

    def _listen_to_pulses(self) -> None:
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.pulse, selectors.EVENT_READ, worker)
            for key, _ in selector.select(_TICK_S):
                self._heard(key.data, os.read(key.fd, _WORDS_MAX))

    def _heard(self, worker: _Worker, words: bytes) -> None:
        if not words:
            # It has closed the pipe, and is about to end.
            worker.process.wait()
            return
        worker.heard = steady_seconds()
        worker.speaks = True
        if READY in words and not worker.ready:
            worker.ready = True
            if not self._any_ready:
                self._any_ready = True
                host, port = self.listener.getsockname()[:2]
                event = f"listening on {host} port {port}"
                self.log.info(event)
        if LEAVING in words and worker.leave_by is None:
            worker.leave_by = worker.heard + LEAVE_S + _TICK_S
            self.log.info("a destruction has replaced the keys; a worker is replaced")

    def _ended(self, worker: _Worker, now: float) -> None:
        self._workers.remove(worker)
        os.close(worker.pulse)
        self._to_bury = True
        if worker.leave_by is not None or self._stopping:
            return
        if not self._any_ready:
            message = "The service does not start; its log says why."
            raise WorkersFailError(message)
        self._failures = 1 if now - worker.began > _SETTLED_S else self._failures + 1
        delay = 0.0 if self._failures == 1 else min(_BACK_OFF_FIRST_S * 2.0**self._failures, BACK_OFF_MAX_S)
        self._start_at = now + delay
        self.log.warning("a worker has ended unasked; another one is started")

    def _bury(self) -> None:
        """Say in the catalogue that workers have ended: a fence, perhaps on another machine, waits for that."""
        if self._to_bury:
            # Else again at the next tick. Meanwhile a fence on this machine sees for itself.
            with suppress(VaultError):
                bury(self.catalogue)
                self._to_bury = False

    def _end_all(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
            worker.process.send_signal(signal.SIGCONT)
        last = steady_seconds() + SHUTDOWN_S + 2
        for worker in self._workers:
            try:
                worker.process.wait(max(last - steady_seconds(), 0.1))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            os.close(worker.pulse)
        self._workers.clear()
        self._to_bury = True
        self._bury()
        self.log.info("ended")
