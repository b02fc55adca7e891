"""Fences: a destruction waits until every process has seen the new tree, or its lease has run out.

Every process that uses keys is a node. Its heartbeat renews the lease, and when a tree has a new version
cuts the uses of condemned records before it confirms that version. A node that cannot renew its lease
stops serving when the lease ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, Self

import sqlalchemy as sa

from keystore import Tree

from .catalogue.schema import nodes, record_states, trees
from .context import Vault
from .errors import VaultError
from .ids import RecordId, new_id

__all__ = ["LEASE", "Node", "wait_for_nodes"]

LEASE: Final = timedelta(seconds=10)
_BEAT_SECONDS: Final = 0.2
_POLL_SECONDS: Final = 0.02
_WALK_SECONDS: Final = 0.002
_DOUBT_SECONDS: Final = 5 * _BEAT_SECONDS
_RENEW_AFTER: Final = LEASE / 3


class Node:
    """This process among those that use keys. A context manager; the heartbeat runs in a thread of its own."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._id = new_id()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="fence", daemon=True)
        self._versions: dict[str, int] = {}
        self._lease_until = vault.clock.now()
        self._lease_ends = 0.0

    @property
    def may_serve(self) -> bool:
        """Whether the lease still runs, by this machine's steady clock."""
        return time.monotonic() < self._lease_ends

    def __enter__(self) -> Self:
        self.beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with self._vault.catalogue.write() as tx:
            tx.execute(sa.delete(nodes).where(nodes.c.id == self._id))

    def beat(self) -> None:
        """Look at the trees once; cut what must be cut, confirm and renew where that is due."""
        started = time.monotonic()
        with self._vault.catalogue.read() as tx:
            versions = {row.tree: row.version for row in tx.execute(sa.select(trees.c.tree, trees.c.version))}
        now = self._vault.clock.now()
        if versions == self._versions and self._lease_until - now > LEASE - _RENEW_AFTER:
            return
        if versions != self._versions:
            self._let_go()
        values = {
            "lease_until": now + LEASE,
            "active_version": versions[Tree.ACTIVE],
            "held_version": versions[Tree.HELD],
        }
        with self._vault.catalogue.write() as tx:
            changed = tx.execute(sa.update(nodes).where(nodes.c.id == self._id).values(values))
            if changed.rowcount != 1:
                tx.execute(sa.insert(nodes).values(id=self._id, **values))
        self._versions = versions
        self._lease_until = now + LEASE
        self._lease_ends = started + LEASE.total_seconds()

    def _let_go(self) -> None:
        """Cut the uses of condemned records, and wait for whoever walks an older tree."""
        self._vault.uses.cut(self._condemned(self._vault.uses.records()))
        earlier = self._vault.uses.walks()
        while earlier & self._vault.uses.walks():
            time.sleep(_WALK_SECONDS)

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
                # Try again at the next beat. When the lease has run out this node counts as dead, and must be:
                # nothing here may go on with a key.
                if not self.may_serve:
                    self._vault.uses.cut(self._vault.uses.records())


def wait_for_nodes(vault: Vault, tree: Tree, version: int) -> tuple[int, int]:
    """Wait until no living node is behind `version` of a tree; return how many confirmed, and how many count as dead.

    A node that says nothing is dead past its lease. But its lease is a matter of wall time, and the clock may have
    jumped: so a node whose lease seems to have run out is watched for some beats more, in which a living one would
    renew it. Takes at most one lease longer than the slowest node needs.
    """
    seen = nodes.c.active_version if tree is Tree.ACTIVE else nodes.c.held_version
    begun = time.monotonic()
    while True:
        now = vault.clock.now()
        with vault.catalogue.read() as tx:
            rows = list(tx.execute(sa.select(nodes.c.id, nodes.c.lease_until, seen.label("seen"))))
        behind = [row for row in rows if row.seen < version]
        silent = [row.id for row in behind if row.lease_until <= now]
        if len(behind) == len(silent) and (not silent or time.monotonic() - begun > _DOUBT_SECONDS):
            break
        time.sleep(_POLL_SECONDS)
    with vault.catalogue.write() as tx:
        tx.execute(sa.delete(nodes).where(nodes.c.id.in_(silent), seen < version))
    return len(rows) - len(behind), len(silent)
