"""A process that is killed: `python -m tests.vault.victim FOLDER OPERATION STEP` on a prepared vault.

Prints the step and kills itself with SIGKILL when it is reached, so that nothing of Python runs any more.
"""

import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from tests.people import frozen
from vault.clock import SimulatedClock
from vault.destruction import carry_out
from vault.holds import release_hold
from vault.home import open_vault
from vault.retention import Cause


def main(folder: Path, operation: str, fatal: str) -> None:
    def progress(step: str) -> None:
        if step == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    clock = json.loads((folder / "clock.json").read_text())
    with open_vault(folder / "home", SimulatedClock(datetime.fromisoformat(clock["now"]))) as vault:
        if operation == "release":
            release_hold(vault, clock["hold"], "counsel", progress)
        else:
            carry_out(vault, frozen(vault, Cause(operation)), progress)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
