"""What a process that touches keys does first: no core dumps, no debuggers, no swapped pages, no new privileges.

Everything here is asked of the Linux kernel, and what it answers is reported: an operator must be able to see that
memory is *not* locked.

Memory is locked only where the limit is lifted (`LimitMEMLOCK=infinity`, or CAP_IPC_LOCK): under a small limit the
lock succeeds, and it is the later allocations that fail, in the middle of an upload. Pages are locked as they are
touched (MCL_ONFAULT), or the untouched stacks of forty threads would count as 320 MiB.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from dataclasses import dataclass
from typing import Final

__all__ = ["Hardening", "die_with_parent", "harden"]

# <linux/prctl.h>
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
# <sys/mman.h>
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
# <linux/capability.h>
_CAP_IPC_LOCK: Final = 14


@dataclass(frozen=True, slots=True)
class Hardening:
    """What was achieved; for each thing that was not, the reason stands in `missing`."""

    core_dumps_off: bool
    not_dumpable: bool
    """No core dump, no debugger and no look into /proc/PID/mem for others of the same user."""
    memory_locked: bool
    no_new_privileges: bool
    missing: tuple[str, ...]

    def __str__(self) -> str:
        """One line for a log."""
        locked = "memory locked" if self.memory_locked else "memory NOT locked"
        rest = f"; {'; '.join(self.missing)}" if self.missing else ""
        return f"core dumps {'off' if self.core_dumps_off and self.not_dumpable else 'ON'}, {locked}{rest}"


def harden() -> Hardening:
    """Harden the calling process; children inherit the limit on core dumps and the privileges. Safe to repeat."""
    missing: list[str] = []
    libc = ctypes.CDLL(None, use_errno=True)

    def done(what: str, result: int) -> bool:
        if result != 0:
            missing.append(f"{what}: {os.strerror(ctypes.get_errno())}")
        return result == 0

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    not_dumpable = done("not dumpable", libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))
    no_new_privileges = done("no new privileges", libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    memory_locked = False
    if _may_lock_everything():
        memory_locked = done("lock", libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT))
    else:
        missing.append("lock: the limit on locked memory is too small (LimitMEMLOCK=infinity lifts it)")
    return Hardening(
        core_dumps_off=resource.getrlimit(resource.RLIMIT_CORE) == (0, 0),
        not_dumpable=not_dumpable,
        memory_locked=memory_locked,
        no_new_privileges=no_new_privileges,
        missing=tuple(missing),
    )


def die_with_parent(parent: int) -> bool:
    """Have the kernel kill this process when the thread of `parent` that started it ends; False if that has happened.

    A process that nobody supervises would serve on with the keys it has.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "The process cannot be tied to its parent.")
    return os.getppid() == parent


def _may_lock_everything() -> bool:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return True
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123  # no Path for one line
        effective = next(line.split()[1] for line in status if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_IPC_LOCK & 1)
