"""Fences: a destruction waits until no process can hold an old key any more.

Every process that uses keys is a node. Its heartbeat renews the lease, and when a tree has a new version cuts the
uses of condemned records. Then there are two kinds of nodes (docs/decisions/0009-workers.md):

* one that stays confirms the new version, having ended every walk through an older tree
* one that is **replaced** (a worker of `shredvault serve`) never confirms a new *epoch*: it is told to leave, and the
  fence waits until the process is gone and its memory with it. A new version within an epoch destroys nothing, and it
  confirms that like any other

A node that cannot renew its lease stops using keys when the lease ends. Who is silent past that is killed where the
fence runs on the same machine, and presumed dead where it does not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

import sqlalchemy as sa

from keystore import Tree
from vault.catalogue import Catalogue
from vault.catalogue.schema import nodes, record_states, roots, trees
from vault.clocks.clock import steady_seconds
from vault.context import Vault
from vault.errors import VaultError
from vault.host.processes import Process
from vault.ids import RecordId, new_id

__all__ = ["LEASE", "Fenced", "Node", "bury", "wait_for_nodes"]

LEASE: Final = timedelta(seconds=10)
_BEAT_SECONDS: Final = 0.2
_POLL_SECONDS: Final = 0.02
_WALK_SECONDS: Final = 0.002
_DOUBT_SECONDS: Final = 5 * _BEAT_SECONDS
_RENEW_AFTER: Final = LEASE / 3

_Seen = dict[str, tuple[int, int]]
"""For each tree its version and epoch."""


class Node:
    """This process among those that use keys. A context manager; the heartbeat runs in threads of its own."""

    def __init__(self, vault: Vault, on_new_epoch: Callable[[frozenset[RecordId]], None] | None = None) -> None:
        """Make a node that stays, or, with `on_new_epoch`, one that is replaced.

        Args:
            vault: whose trees it watches.
            on_new_epoch: called once, from the heartbeat's thread, when a tree has a new epoch and the uses of
                condemned records have been cut; it is told which those were. From then on the process must take
                nothing new, and it must end.
        """
        self._vault = vault
        self._id = new_id()
        self._process = Process.this()
        self._on_new_epoch = on_new_epoch
        self._leaving = False
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._beat, "fence"), (self._watch, "lease"))
        ]
        self._seen: _Seen = {}
        self._lease_until = vault.clock.now()
        self._lease_ends = 0.0

    @property
    def may_serve(self) -> bool:
        """Whether the lease still runs, by this machine's steady clock."""
        return steady_seconds() < self._lease_ends

    @property
    def beats(self) -> bool:
        """Whether the heart beats, successfully or not."""
        return all(thread.is_alive() for thread in self._threads)

    def __enter__(self) -> Self:
        bury(self._vault.catalogue)
        self.beat()
        self._vault.uses.lease(lambda: self.may_serve)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._cut_all()
        self._await_walks()
        self._vault.uses.lease(None)
        if self._on_new_epoch is None:
            with self._vault.catalogue.write() as tx:
                tx.execute(sa.delete(nodes).where(nodes.c.id == self._id))
        # Else whoever sees the process gone takes it off the list: while it lives, its memory does.

    def beat(self) -> None:
        """Look at the trees once; cut what must be cut, confirm and renew where that is due."""
        started = steady_seconds()
        seen = self._look()
        now = self._vault.clock.now()
        # By the clock that nobody sets as well: after a step back of the other one, nothing would be due for as long.
        due = min(self._lease_until - now, timedelta(seconds=self._lease_ends - started)) <= LEASE - _RENEW_AFTER
        if seen != self._seen and not self._leaving:
            if self._on_new_epoch is not None and self._seen and _epochs(seen) != _epochs(self._seen):
                condemned = self._condemned(self._vault.uses.records())
                self._cut(condemned)
                self._leaving = True
                self._on_new_epoch(frozenset(condemned))
            else:
                self._let_go()
                self._seen = seen
                due = True
        if not due:
            return
        values = {
            "lease_until": now + LEASE,
            "active_version": self._seen[Tree.ACTIVE][0],
            "held_version": self._seen[Tree.HELD][0],
        }
        with self._vault.catalogue.write() as tx:
            changed = tx.execute(sa.update(nodes).where(nodes.c.id == self._id).values(values))
            if changed.rowcount != 1:
                tx.execute(sa.insert(nodes).values(id=self._id, **values, **self._describe()))
        self._lease_until = now + LEASE
        self._lease_ends = started + LEASE.total_seconds()

    def _look(self) -> _Seen:
        join = trees.join(roots, sa.and_(roots.c.tree == trees.c.tree, roots.c.version == trees.c.version))
        query = sa.select(trees.c.tree, trees.c.version, roots.c.epoch).select_from(join)
        with self._vault.catalogue.read() as tx:
            return {row.tree: (row.version, row.epoch) for row in tx.execute(query)}

    def _describe(self) -> dict[str, Any]:
        process = self._process
        return {
            "host": process.host,
            "boot": process.boot,
            "pid": process.pid,
            "started": process.started,
            "replaced": self._on_new_epoch is not None,
        }

    def _let_go(self) -> None:
        """Cut the uses of condemned records, and wait for whoever walks an older tree."""
        self._cut(self._condemned(self._vault.uses.records()))
        self._await_walks()

    def _await_walks(self) -> None:
        earlier = self._vault.uses.walks()
        while earlier & self._vault.uses.walks():
            time.sleep(_WALK_SECONDS)

    def _cut(self, records: Iterable[RecordId]) -> None:
        self._vault.uses.cut(records)

    def _cut_all(self) -> None:
        self._cut(self._vault.uses.records())

    def _condemned(self, in_use: Iterable[RecordId]) -> list[RecordId]:
        with self._vault.catalogue.read() as tx:
            rows = tx.execute(
                sa.select(record_states.c.id).where(
                    record_states.c.id.in_(list(in_use)), record_states.c.destruction_id.is_not(None)
                )
            ).scalars()
            return list(rows)

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT_SECONDS):
            try:
                self.beat()
            except VaultError:
                # Try again at the next beat. What a lost lease means is the other thread's business.
                continue

    def _watch(self) -> None:
        """When the lease has run out this node counts as dead, and must be: nothing here may go on with a key.

        In a thread of its own, because a catalogue that hangs holds the heartbeat up.
        """
        while not self._stop.wait(_BEAT_SECONDS):
            if not self.may_serve:
                self._cut_all()


def _epochs(seen: _Seen) -> dict[str, int]:
    return {tree: epoch for tree, (_, epoch) in seen.items()}


def _process(row: sa.Row[Any]) -> Process:
    return Process(row.host, row.boot, row.pid, row.started)


def bury(catalogue: Catalogue) -> int:
    """Take nodes off the list whose processes, of this machine, are seen to have ended; return how many."""
    here = Process.this()
    with catalogue.read() as tx:
        rows = list(tx.execute(sa.select(nodes).where(nodes.c.boot == here.boot)))
    ended = [row.id for row in rows if _process(row).has_ended()]
    if ended:
        with catalogue.write() as tx:
            tx.execute(sa.delete(nodes).where(nodes.c.id.in_(ended)))
    return len(ended)


@dataclass(frozen=True, slots=True)
class Fenced:
    """What became of the nodes that a fence saw."""

    confirmed: int
    """Stayed, and confirmed the new version, having dropped what was old; or left the list in order."""
    exited: int
    """Processes that ended, and were seen to have ended: their memory is the kernel's again."""
    killed: int
    """Processes of this machine that were silent past their lease; killed by the fence, and seen to have ended."""
    presumed_dead: int
    """Silent past their lease, and out of the fence's reach: nobody saw them end."""


def wait_for_nodes(vault: Vault, tree: Tree, version: int) -> Fenced:
    """Wait until no node is behind `version` of a tree; return what became of all of them.

    A node that says nothing is dead past its lease. But what it wrote of its lease is wall time, by its own clock: ours
    may have jumped, and that of another host may be behind. So one whose lease seems to have run out is watched for
    some beats more, in which a living one of this machine would renew it; then it is killed, where that can be done.
    Who cannot be killed and seen to end counts as dead only when it has not renewed for a whole lease by our steady
    clock: its own lease began before that, or it has looked at the trees since.

    Takes at most one lease longer than the slowest node needs.
    """
    here = Process.this()
    column = nodes.c.active_version if tree is Tree.ACTIVE else nodes.c.held_version
    begun = steady_seconds()
    awaited: dict[str, sa.Row[Any]] = {}
    renewed: dict[str, tuple[Any, float]] = {}
    ended: set[str] = set()
    tried: set[str] = set()
    killed: set[str] = set()
    while True:
        now, steady = vault.clock.now(), steady_seconds()
        with vault.catalogue.read() as tx:
            rows = list(tx.execute(sa.select(nodes, column.label("seen"))))
        behind = {row.id: row for row in rows if row.seen < version}
        awaited |= behind
        for name, row in awaited.items():
            # One that has left the list may still be on its way out.
            if (name in behind or row.replaced) and row.boot == here.boot and _process(row).has_ended():
                ended.add(name)
        ended -= killed
        for name, row in behind.items():
            if name not in renewed or renewed[name][0] != row.lease_until:
                renewed[name] = row.lease_until, steady
        left = [name for name, row in awaited.items() if row.replaced and name not in {row.id for row in rows}]
        leaving = [name for name in left if awaited[name].boot == here.boot and name not in ended]
        dead = {name for name in behind if steady - renewed[name][1] > LEASE.total_seconds()} - ended
        silent = {name for name, row in behind.items() if row.lease_until <= now} - ended | dead
        living = len(behind.keys() - ended - silent) + len(leaving)
        if not living and not silent:
            break
        if not living and steady - begun > _DOUBT_SECONDS:
            mine = {name for name in silent - tried if _may_kill(here, _process(behind[name]))}
            tried |= mine
            killed |= {name for name in mine if _process(behind[name]).end()}
            if silent <= killed | dead:
                break
        time.sleep(_POLL_SECONDS)
    with vault.catalogue.write() as tx:
        tx.execute(sa.delete(nodes).where(nodes.c.id.in_([*ended, *silent]), column < version))
    exited = ended | set(left)
    return Fenced(
        confirmed=len(rows) - len(behind) + len(awaited.keys() - behind.keys() - {row.id for row in rows} - exited),
        exited=len(exited),
        killed=len(killed & silent),
        presumed_dead=len(silent - killed),
    )


def _may_kill(here: Process, other: Process) -> bool:
    """A fence ends others, not the process that it runs in."""
    return here.shares_machine(other) and here.pid != other.pid
