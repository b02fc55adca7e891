"""One worker of `shredvault serve`: a process that serves until a destruction replaces the keys, and then ends.

Started by `supervisor` as a fresh program, so that it shares no memory with anybody:

    python -m api.http.worker HOME ENDPOINT LISTENER PULSE PARENT

HOME is the vault's home folder, ENDPOINT the address of its object store (empty where the settings say it), LISTENER
and PULSE are the numbers of inherited descriptors: the socket to listen on, and a pipe on which the supervisor hears
that this process is alive. PARENT is the supervisor's process id. Nothing here is secret.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Final

from vault.errors import KeystoreError, VaultError
from vault.home import open_vault
from vault.host.embedded_store import EmbeddedStoreError
from vault.host.hardening import die_with_parent, harden
from vault.objects import ObjectStoreError
from vault.serving.fences import Node
from vault.sunset.latching import tick
from vault.timekeeping import TimeWatch

from .logs import Log, make_log, routed
from .server import LEAVE_S, Serving, return_memory
from .worker_words import ALIVE, LEAVING, PULSE_S, READY

__all__ = ["Pulse", "main"]

_ORPHANED: Final = 3
_OVERDUE: Final = 4
_POLL_S: Final = 0.01


class Pulse:
    """Tells the supervisor that this process is alive, and what it is about. Ends the process when nobody listens."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, word: bytes) -> None:
        """Say one of the words above."""
        try:
            os.write(self._descriptor, word)
        except BrokenPipeError:
            # Nobody supervises this process any more. Its keys must not outlive whoever would see it end.
            os._exit(_ORPHANED)

    def start(self, node: Node) -> None:
        """Beat as long as the node's heart does."""

        def beat() -> None:
            while node.beats:
                self.say(ALIVE)
                time.sleep(PULSE_S)

        threading.Thread(target=beat, name="pulse", daemon=True).start()


def main(home: Path, endpoint: str, listener: int, pulse: Pulse, log: Log) -> None:
    """Serve until SIGTERM, or until a tree has a new epoch.

    Raises:
        VaultError, KeystoreError, ObjectStoreError, EmbeddedStoreError: the vault cannot be opened.
    """
    return_memory()
    told: list[frozenset[str]] = []
    serving: list[Serving] = []

    def leave(condemned: frozenset[str]) -> None:
        pulse.say(LEAVING)
        # Whatever hangs, the process ends: a fence waits for it.
        overdue = threading.Timer(LEAVE_S, os._exit, [_OVERDUE])
        overdue.daemon = True
        overdue.start()
        told.append(condemned)
        for server in serving:
            server.leave(condemned)

    with (
        open_vault(home, endpoint=endpoint or None) as vault,
        Node(vault, on_new_epoch=leave) as node,
        TimeWatch(lambda: tick(vault)),
    ):
        pulse.start(node)
        server = Serving(vault, node, None, log)
        serving.append(server)
        if told:
            return
        watcher = threading.Thread(target=_say_when_ready, args=(server, pulse), daemon=True)
        watcher.start()
        server.run(sockets=[socket.socket(fileno=listener)])


def _say_when_ready(server: Serving, pulse: Pulse) -> None:
    while not server.started:
        time.sleep(_POLL_S)
    pulse.say(READY)


def _start(words: list[str]) -> int:
    home, endpoint, listener, descriptor, parent = words
    pulse = Pulse(int(descriptor))
    if not die_with_parent(int(parent)):
        return _ORPHANED
    hardening = harden()
    # What has been imported stays. Looking through it for garbage takes long, and a fence waits for a worker's end.
    gc.freeze()
    log = make_log()
    with routed(log, "", "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        event = f"worker begins; {hardening}"
        log.info(event)
        try:
            main(Path(home), endpoint, int(listener), pulse, log)
        except (VaultError, KeystoreError, ObjectStoreError, EmbeddedStoreError) as known:
            # Their messages are sentences that hold nothing submitted.
            log.error(str(known))  # noqa: TRY400  # no traceback: the sentence says it
            return 1
        log.info("worker ends")
    return 0


if __name__ == "__main__":
    sys.exit(_start(sys.argv[1:]))
