"""That a record stood on the frozen list of a destruction, shown with the list's Merkle root.

The list is stored as slots, the ids stay in `records`: so the tree can be built again at any time, after a rebuild from
the list in the bucket. That takes seconds for a million records, and is done once; what is kept makes a proof in well
under a millisecond.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from vault.catalogue import Transaction
from vault.catalogue.destructions import Destruction, listed_ids, load_list
from vault.context import Vault
from vault.destruction.listed_ids import fetch_list
from vault.ids import RecordId
from vault.log.merkle import check_inclusion, inclusion_path, leaf_hash, node_hash, tree_hash

__all__ = ["LISTED_MAX", "ListProof", "ListTree", "ListTrees"]

LISTED_MAX: Final = 1 << 20
"""Longer lists are not built again; one of these takes 27 MB, and four times that for the seconds while it is built."""
_KEPT_MAX: Final = 1 << 20
"""Records on all the lists that are kept together; the last one used is kept in any case."""
_ID_BYTES: Final = 26
_LEVEL: Final = 10
"""Subtrees of 2^10 leaves are hashed once and kept."""


@dataclass(frozen=True, slots=True)
class ListProof:
    """A record's place on a list, and its audit path (RFC 6962, section 2.1.1)."""

    index: int
    size: int
    path: Sequence[bytes]
    root: bytes

    def extract(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "index": self.index,
            "size": self.size,
            "path": [one.hex() for one in self.path],
            "root": self.root.hex(),
        }


class ListTree:
    """The Merkle tree over the ids of one list, which are ASCII, ascending, one after the other in `ids`."""

    def __init__(self, ids: bytes) -> None:
        self._ids = ids
        self.size = len(ids) // _ID_BYTES
        width = 1 << _LEVEL
        self._subtrees = [tree_hash(self._leaves(start, width)) for start in range(0, self.size - width + 1, width)]

    def prove(self, record_id: RecordId, root: bytes) -> ListProof | None:
        """The proof that a record is on the list; None when it is not.

        Raises:
            LedgerBrokenError: the list has another root.
        """
        wanted = record_id.encode("ascii")
        index = bisect_left(range(self.size), wanted, key=self._id)
        if index == self.size or self._id(index) != wanted:
            return None
        path = inclusion_path(index, self.size, self._complete)
        check_inclusion(leaf_hash(wanted), index, self.size, path, root)
        return ListProof(index, self.size, path, root)

    def _id(self, index: int) -> bytes:
        return self._ids[index * _ID_BYTES : (index + 1) * _ID_BYTES]

    def _leaves(self, start: int, count: int) -> Iterator[bytes]:
        return (self._id(index) for index in range(start, start + count))

    def _complete(self, level: int, position: int) -> bytes:
        if level < _LEVEL:
            return tree_hash(self._leaves(position << level, 1 << level))
        if level == _LEVEL:
            return self._subtrees[position]
        return node_hash(self._complete(level - 1, 2 * position), self._complete(level - 1, 2 * position + 1))


class ListTrees:
    """The trees of the lists that were asked for last. Shared by threads; one of them builds at a time."""

    def __init__(self, kept_max: int = _KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._lock = Lock()
        self._trees: OrderedDict[str, ListTree | None] = OrderedDict()

    def get(self, vault: Vault, tx: Transaction, destruction: Destruction) -> ListTree | None:
        """The tree of a destruction's list; None when it is too long, or neither catalogue nor bucket has its ids.

        Raises:
            DamagedError: the list in the bucket is another one.
            ObjectStoreError: the object store failed.
        """
        with self._lock:
            if destruction.id not in self._trees:
                self._trees[destruction.id] = _build(vault, tx, destruction)
            self._trees.move_to_end(destruction.id)
            while len(self._trees) > 1 and self._size() > self._kept_max:
                self._trees.popitem(last=False)
            return self._trees[destruction.id]

    def _size(self) -> int:
        return sum(1 if tree is None else tree.size for tree in self._trees.values())


def _build(vault: Vault, tx: Transaction, destruction: Destruction) -> ListTree | None:
    if destruction.listed > LISTED_MAX:
        return None
    slots, _ = load_list(tx, destruction.id)
    ids: list[bytes] | None = listed_ids(tx, slots)
    if len(ids or ()) != destruction.listed:
        # After a rebuild the catalogue does not know in which slots the gone were.
        ids = fetch_list(vault.bucket, vault.vault_id, destruction.id, destruction.list_root)
    return None if ids is None else ListTree(b"".join(ids))
