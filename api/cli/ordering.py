"""What `shredvault serve` does before it serves: put in order what was cut off.

    python -m api.cli.ordering HOME ENDPOINT SERVING

A process of its own, because it uses keys, and the one that goes on supervising must never have had any. SERVING is the
id under which its parent serves afterwards.

An old catalogue is brought forward here, before anybody is served from it: one in the home is rebuilt and replaced,
unless that would cost a key that opens a record. One on a server is not touched.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path

from vault.destruction.carrying_out import recover_destructions, require_newest_keys
from vault.errors import BusyError, DestructionRefusedError, OldCatalogueError, TimeSuspectError
from vault.holds import copy_held_keys
from vault.home import Home, open_vault
from vault.host.hardening import harden
from vault.host.processes import Process
from vault.recovery.replacement import can_replace_unasked, replace_catalogue
from vault.serving.fences import Node
from vault.serving.servings import begin_serving, settle_filings
from vault.sunset.latching import tick
from vault.wording import number_of

from .exits import KNOWN_ERRORS, ExitCode, code_of
from .screen import note

__all__ = ["put_in_order"]


def put_in_order(home: Path, endpoint: str | None, serving: str) -> None:
    """Bring an old catalogue forward, or refuse it; put in order what was cut off; note that a serving begins.

    Raises:
        OldCatalogueError: the catalogue is an old one, and not to be replaced unasked.
        VaultError, KeystoreError, ObjectStoreError: a service failed; repeating is safe.
    """
    try:
        _put_in_order(home, endpoint, serving)
    except OldCatalogueError as old:
        where = Home.at(home)
        if not can_replace_unasked(where):
            message = (
                f"{old} End `serve` on every host, name an empty database or schema as `database` in each host's "
                "vault.json, and run it on one."
            )
            raise DestructionRefusedError(message) from old
        note("The catalogue is an old one; a new one is made from the bucket and the custodian.")
        done = replace_catalogue(where, endpoint=endpoint, unasked=True)
        living = number_of(done.rebuilt.records, "record", "lives", "live")
        note(f"{living} on, {done.rebuilt.held} of them held; {number_of(done.tokens or 0, 'access token')}.")
        note("Records that were still receiving documents must be filed again.")
        _put_in_order(home, endpoint, serving)


def _put_in_order(home: Path, endpoint: str | None, serving: str) -> None:
    with open_vault(home, endpoint=endpoint) as vault, Node(vault):
        require_newest_keys(vault)
        if made_good := settle_filings(vault):
            note(f"{made_good} completions that were cut off are made good.")
        try:
            found = recover_destructions(vault)
        except BusyError:
            note("A destruction is running in another process; it is left to it.")
        else:
            for one in found.undone:
                note(f"Undone: destruction {one} was cut off before it had destroyed anything.")
            for one in found.finished:
                note(f"Finished: destruction {one} was cut off.")
        try:
            # S7: the first start after a deadline says what was missed.
            for sentence in tick(vault):
                note(sentence)
        except TimeSuspectError as suspect:
            note(str(suspect))
        if copy_held_keys(vault):
            note("Keys of held records copied.")
        begin_serving(vault, serving, Process.of(os.getppid()))


def _main(home: str, endpoint: str, serving: str) -> int:
    # Its parent asks it to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    harden()
    # See `main` of the command line.
    gc.freeze()
    try:
        put_in_order(Path(home), endpoint or None, serving)
    except KNOWN_ERRORS as known:
        note(str(known))
        return code_of(known)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
