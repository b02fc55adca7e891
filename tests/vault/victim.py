"""A process that is killed: `python -m tests.vault.victim FOLDER OPERATION STEP` on a prepared vault.

Kills itself with SIGKILL when the step is reached, so that nothing of Python runs any more. A rebuild names no steps:
there STEP is the number of the durable effect before which it dies (a master made, an object stored, a commit, a file
renamed); past the last one it ends well.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from keystore import Tree
from keystore.custodians import FileCustodian
from vault.clock import SimulatedClock
from vault.destruction import carry_out
from vault.frozen_lists import freeze_move, freeze_ordered, freeze_sweep
from vault.holds import release_hold
from vault.home import Home, open_vault
from vault.objects import Bucket
from vault.replacement import replace_catalogue


def rebuild(folder: Path, clock: SimulatedClock, fatal: int) -> None:
    count = 0

    def reach() -> None:
        nonlocal count
        count += 1
        if count == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly(effect: Callable[..., Any]) -> Callable[..., Any]:
        def reached(*given: Any, **more: Any) -> Any:
            reach()
            return effect(*given, **more)

        return reached

    for owner, name in (
        (FileCustodian, "create"),
        (FileCustodian, "destroy"),
        (Bucket, "put"),
        (Path, "rename"),
    ):
        setattr(owner, name, deadly(getattr(owner, name)))
    sa.event.listen(sa.Engine, "commit", lambda _: reach())
    replace_catalogue(Home.at(folder / "home"), clock)


def main(folder: Path, operation: str, fatal: str) -> None:
    def progress(step: str) -> None:
        if step == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    facts = json.loads((folder / "clock.json").read_text())
    clock = SimulatedClock(datetime.fromisoformat(facts["now"]))
    if operation == "rebuild":
        rebuild(folder, clock, int(fatal))
        return
    with open_vault(folder / "home", clock) as vault:
        if operation == "release":
            release_hold(vault, facts["hold"], facts["orders"]["release"], progress)
        elif operation == "move":
            for tree in Tree:
                carry_out(vault, freeze_move(vault, tree, facts["custodian"], "test"), progress)
        else:
            order = facts["orders"].get(operation)
            carry_out(vault, freeze_ordered(vault, order) if order else freeze_sweep(vault), progress)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
