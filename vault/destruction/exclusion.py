"""One destruction, release or recovery at a time on a vault, whatever the number of machines."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from vault.context import Vault
from vault.errors import BusyError

__all__ = ["alone"]


@contextmanager
def alone(vault: Vault) -> Iterator[None]:
    """Exclude all others on this machine by a locked file, and those on other machines by the catalogue's lock.

    The operating system gives the one up when the process dies, the database the other when the connection does.

    Raises:
        BusyError: somebody else is at it.
        CatalogueError: the database cannot be used now.
    """
    descriptor = os.open(vault.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            message = "Another destruction, release or recovery is running on this vault; wait for it to end."
            raise BusyError(message) from taken
        with vault.catalogue.alone():
            yield
    finally:
        os.close(descriptor)
