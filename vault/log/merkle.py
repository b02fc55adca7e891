"""The Merkle tree of RFC 6962, section 2.1: hashes, audit paths and consistency proofs.

All functions are pure. A proof is made from the hashes of *complete* subtrees alone, those over 2^level leaves that
begin at a multiple of 2^level: they never change when the tree grows, so they can be stored (`vault.log.stored`).
The check of an audit path follows RFC 9162, section 2.1.3.2, which says it as an algorithm. The vault is never shown a
consistency proof, so it has no check of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from vault.errors import LedgerBrokenError

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "Complete",
    "Frontier",
    "check_inclusion",
    "consistency_path",
    "inclusion_path",
    "leaf_hash",
    "node_hash",
    "root_of",
    "tree_hash",
]

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

Complete = Callable[[int, int], bytes]
"""Gives the hash of the complete subtree of 2^level leaves that begins at leaf index·2^level: (level, index)."""


def leaf_hash(leaf: bytes) -> bytes:
    """Hash a leaf."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Frontier:
    """The root of a growing list of leaves, from the finished subtrees at its right edge only."""

    def __init__(self) -> None:
        self._stack: list[tuple[int, bytes]] = []
        self.size = 0

    def add(self, leaf: bytes) -> None:
        """Append the hash of a leaf."""
        level, node = 0, leaf
        while self._stack and self._stack[-1][0] == level:
            _, left = self._stack.pop()
            level, node = level + 1, node_hash(left, node)
        self._stack.append((level, node))
        self.size += 1

    def root(self) -> bytes:
        """The tree hash of what was appended so far."""
        if not self._stack:
            return EMPTY_ROOT
        *lefts, (_, node) = self._stack
        for _, left in reversed(lefts):
            node = node_hash(left, node)
        return node


def tree_hash(leaves: Iterable[bytes]) -> bytes:
    """Hash a list of leaves, in the order given. The empty list hashes to SHA-256 of nothing."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.add(leaf_hash(leaf))
    return frontier.root()


def root_of(size: int, complete: Complete) -> bytes:
    """The root of a tree of `size` leaves."""
    return _range_hash(0, size, complete) if size else EMPTY_ROOT


def inclusion_path(index: int, size: int, complete: Complete) -> list[bytes]:
    """PATH(index, D[size]): the hashes that lead from a leaf to the root, lowest first.

    Raises:
        ValueError: there is no such leaf in a tree of this size.
    """
    if not 0 <= index < size:
        message = "the leaf is not in the tree"
        raise ValueError(message)
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(middle, end, complete))
            end = middle
        else:
            path.append(_range_hash(start, middle, complete))
            start = middle
    return path[::-1]


def consistency_path(old: int, new: int, complete: Complete) -> list[bytes]:
    """PROOF(old, D[new]): the hashes that show that the tree of `new` leaves begins with that of `old`.

    Raises:
        ValueError: `old` is not between 1 and `new`.
    """
    if not 1 <= old <= new:
        message = "the older tree must have 1 leaf or more, and no more than the newer one"
        raise ValueError(message)
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_hash(middle, end, complete))
            end = middle
        else:
            path.append(_range_hash(start, middle, complete))
            start, whole = middle, False
    if not whole:
        path.append(_range_hash(start, end, complete))
    return path[::-1]


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check an audit path (RFC 9162, 2.1.3.2). `leaf` is the hash of the leaf.

    Raises:
        LedgerBrokenError: it does not lead from this leaf to this root.
    """
    _require(0 <= index < size)
    position, last, node = index, size - 1, leaf
    for other in path:
        _require(last > 0 and len(other) == HASH_BYTES)
        if position & 1 or position == last:
            node = node_hash(other, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, other)
        position, last = position >> 1, last >> 1
    _require(last == 0 and node == root)


def _require(holds: bool) -> None:  # noqa: FBT001  # a condition is what it takes
    if not holds:
        message = "The proof does not show what it claims."
        raise LedgerBrokenError(message)


def _split(count: int) -> int:
    """The largest power of two smaller than `count`, which is 2 or more."""
    return 1 << (count - 1).bit_length() - 1


def _range_hash(start: int, end: int, complete: Complete) -> bytes:
    """The hash of a subtree that begins at a multiple of its own width rounded up to a power of two."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return complete(level, start >> level)
    middle = start + _split(count)
    return node_hash(_range_hash(start, middle, complete), _range_hash(middle, end, complete))
