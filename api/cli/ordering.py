"""What `shredvault serve` does before it serves: put in order what was cut off.

    python -m api.cli.ordering HOME ENDPOINT

A process of its own, because it uses keys, and the one that goes on supervising must never have had any.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from vault.destruction import recover_destructions
from vault.errors import BusyError, TimeSuspectError
from vault.fences import Node
from vault.hardening import harden
from vault.holds import copy_held_keys
from vault.home import open_vault
from vault.sunset.latching import tick

from .exits import KNOWN_ERRORS, ExitCode, code_of
from .screen import note

__all__ = ["put_in_order"]


def put_in_order(home: Path, endpoint: str | None) -> None:
    """Finish or undo destructions that were cut off, and copy the keys of held records that were not copied yet.

    Raises:
        VaultError, KeystoreError, ObjectStoreError: a service failed; repeating is safe.
    """
    with open_vault(home, endpoint=endpoint) as vault, Node(vault):
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
        if copied := copy_held_keys(vault):
            note(f"{copied} keys of held records copied.")


def _main(home: str, endpoint: str) -> int:
    # Its parent asks it to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    harden()
    try:
        put_in_order(Path(home), endpoint or None)
    except KNOWN_ERRORS as known:
        note(str(known))
        return code_of(known)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
