"""Who in this process holds a record key just now, so that a destruction can cut them off.

An upload or a read holds the key of one record while it lasts, and nothing else of the tree. When a record
is condemned, its uses are cut: the next step fails, and the key and the cipher state are dropped at once.
A use is noted *before* its key is fetched, so there is no moment at which a key is held unseen.

Whoever walks a tree holds its root and a page for some milliseconds; such walks are counted, and waited for.

A process that uses keys has a lease (`vault.serving.fences`). It is asked for right before every use of a key, so that
one which was stopped and wakes up too late uses none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from keystore import Key
from vault.errors import BusyError
from vault.ids import RecordId

__all__ = ["KeyUse", "KeyUses", "LeaseOverError", "UseCutError"]


class UseCutError(BusyError):
    """The record was condemned while its key was in use, or this process may not use keys any more."""


class LeaseOverError(UseCutError):
    """The lease of this process has run out: whatever key it holds may be an old one."""


class KeyUses:
    """The uses under way in this process. Thread-safe."""

    def __init__(self) -> None:
        self._uses: set[KeyUse] = set()
        self._walks: set[object] = set()
        self._lock = threading.Lock()
        self._lease: Callable[[], bool] | None = None

    def lease(self, runs: Callable[[], bool] | None) -> None:
        """From now on use keys only while `runs` says so; None for a process that nobody fences."""
        self._lease = runs

    def require_lease(self) -> None:
        """To be called right before a key is used.

        Raises:
            LeaseOverError: the lease has run out.
        """
        if self._lease is not None and not self._lease():
            message = "This process has lost its lease in the vault; try again."
            raise LeaseOverError(message)

    def begin(self, record_id: RecordId, on_cut: Callable[[], None] = lambda: None) -> KeyUse:
        """Note a use; `on_cut` drops what was made from the key (a cipher state)."""
        use = KeyUse(self, record_id, on_cut)
        with self._lock:
            self._uses.add(use)
        return use

    def forget(self, use: KeyUse) -> None:
        """Forget a use that has ended. Safe to repeat."""
        with self._lock:
            self._uses.discard(use)

    @contextmanager
    def walk(self) -> Iterator[None]:
        """Note a walk through a tree, from before its root is looked up until its keys are wiped.

        Raises:
            LeaseOverError: see `require_lease`.
        """
        self.require_lease()
        mark = object()
        with self._lock:
            self._walks.add(mark)
        try:
            yield
        finally:
            with self._lock:
                self._walks.discard(mark)

    def walks(self) -> frozenset[object]:
        """The walks under way."""
        with self._lock:
            return frozenset(self._walks)

    def records(self) -> frozenset[RecordId]:
        """Records whose keys are in use."""
        with self._lock:
            return frozenset(use.record_id for use in self._uses)

    def cut(self, records: Iterable[RecordId]) -> int:
        """Cut every use of these records; return how many there were."""
        condemned = frozenset(records)
        with self._lock:
            victims = [use for use in self._uses if use.record_id in condemned]
        for use in victims:
            use.end()
        return len(victims)


class KeyUse:
    """One use of one record key. Owns the key from `take` to `end`."""

    def __init__(self, uses: KeyUses, record_id: RecordId, on_cut: Callable[[], None]) -> None:
        self.record_id = record_id
        self._uses = uses
        self._on_cut = on_cut
        self._lock = threading.RLock()
        self._key: Key | None = None
        self._ended = False

    def take(self, key: Key) -> None:
        """Own the key.

        Raises:
            UseCutError: the use was cut while the key was being fetched; the key is wiped.
        """
        with self._lock:
            self._key = key
            if self._ended:
                self.end()
                message = "This use was cut."
                raise UseCutError(message)

    @contextmanager
    def key(self) -> Iterator[Key]:
        """Use the key, or a cipher made from it; nobody can cut within the block.

        Raises:
            UseCutError: the use was cut or has ended, or the lease has run out.
        """
        with self._lock:
            self._uses.require_lease()
            if self._key is None:
                message = "This use was cut."
                raise UseCutError(message)
            yield self._key

    def end(self) -> None:
        """Drop the key and what was made from it. Safe to repeat, from any thread."""
        with self._lock:
            self._ended = True
            self._on_cut()
            if self._key is not None:
                self._key.wipe()
                self._key = None
        self._uses.forget(self)
