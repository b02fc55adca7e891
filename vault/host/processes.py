"""Which process on which machine: so that one that is presumed dead can be seen to be, or be ended.

A process id is given out again after a while. A process is therefore named by its id *and* the moment it started, by
the kernel's count, within one boot of one machine and one namespace of process ids (a container has its own). Of a
process elsewhere nothing is known.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

__all__ = ["Process"]

_PROC: Final = Path("/proc")
_STATE, _STARTED = 2, 21
"""Places in /proc/PID/stat, counted from 0: proc(5)."""
_MEMORY_GONE: Final = ("Z", "X", "x")
"""A process in one of these states has given its memory back and waits to be reaped."""
END_SECONDS: Final = 5.0
"""A process that was killed ends as soon as the kernel gets to it, unless it waits for a broken disk."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process, named so that no other can be taken for it."""

    host: str
    """The machine's name, for people."""
    boot: str
    """The boot of the machine and the namespace of process ids, by the kernel's own random names for them."""
    pid: int
    started: int
    """Clock ticks from boot to start."""

    @classmethod
    def this(cls) -> Self:
        """The calling process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Self:
        """A process of this machine that is there, as its parent and its children are to a process.

        Raises:
            ProcessLookupError, FileNotFoundError: there is none.
        """
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = (_PROC / "self/ns/pid").readlink().name
        return cls(socket.gethostname()[:255], f"{boot} {namespace}", pid, int(_facts(pid)[_STARTED]))

    def shares_machine(self, other: Process) -> bool:
        """Whether both can see each other's process ids."""
        return self.boot == other.boot

    def has_ended(self) -> bool:
        """Whether the kernel has taken the memory of this process back. For a process of this machine."""
        try:
            # Sends nothing. Unlike a look into /proc it sees processes that are hidden from us.
            os.kill(self.pid, 0)
            facts = _facts(self.pid)
        except ProcessLookupError:
            return True
        except (PermissionError, FileNotFoundError):
            # Another user's, or just ending: the next look will tell.
            return False
        return int(facts[_STARTED]) != self.started or facts[_STATE] in _MEMORY_GONE

    def end(self) -> bool:
        """Kill this process of this machine, stopped or not, and wait for its end; whether it has ended."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        except OSError:
            return self.has_ended()
        try:
            # From here on the descriptor stands for one process. Only now is it asked whether that is the right one.
            if self.has_ended():
                return True
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            ending = select.poll()
            ending.register(descriptor, select.POLLIN)
            return bool(ending.poll(END_SECONDS * 1000))
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        finally:
            os.close(descriptor)


def _facts(pid: int) -> list[str]:
    text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    name, _, rest = text.rpartition(")")
    return [str(pid), name, *rest.split()]
