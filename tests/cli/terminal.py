"""The command line at a pseudo-terminal, with somebody who types."""

import os
import pty
import select
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from tests.cli.forked import REPOSITORY
from tests.cli.operator import Operator

PATIENCE_S = 120
AGAIN_S = 5
INTERRUPT = "\x03"


def at_a_terminal(operator: Operator, typed: str, *words: str, after: str = "> ") -> tuple[int, str]:
    """Run a command whose three streams are a terminal, and type once when `after` is shown."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        operator.command(*words),
        cwd=REPOSITORY,
        env=operator.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        # Away from the terminal of whoever runs the tests: a secret is asked for there first.
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = b""
        interrupted, last = False, time.monotonic() + PATIENCE_S
        with suppress(OSError):  # the terminal is gone when the command has ended
            while True:
                ready, _, _ = select.select([ours], [], [], AGAIN_S if interrupted else PATIENCE_S)
                if not ready and interrupted and time.monotonic() < last:
                    # One that comes between the prompt and the reading interrupts no reading: people press it again.
                    process.send_signal(signal.SIGINT)
                    continue
                if not ready:
                    process.kill()
                    pytest.fail(f"the command says no more: {shown.decode()}")
                piece = os.read(ours, 4096)
                if not piece:
                    break
                shown += piece
                if after.encode() in shown and typed:
                    if typed == INTERRUPT:
                        process.send_signal(signal.SIGINT)
                        interrupted = True
                    else:
                        os.write(ours, typed.encode())
                    typed = ""
        code = process.wait()
    os.close(ours)
    return code, shown.decode()
