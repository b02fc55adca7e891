"""The Merkle tree hash of RFC 6962, section 2.1: freezes a list of record ids in 32 bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

__all__ = ["tree_hash"]


def tree_hash(leaves: Iterable[bytes]) -> bytes:
    """Hash a list of leaves, in the order given. The empty list hashes to SHA-256 of nothing."""
    sha256 = hashlib.sha256
    # One finished subtree for each set bit of the number of leaves so far, largest first.
    stack: list[tuple[int, bytes]] = []
    for leaf in leaves:
        size, node = 1, sha256(b"\0" + leaf).digest()
        while stack and stack[-1][0] == size:
            _, left = stack.pop()
            size, node = size * 2, sha256(b"\1" + left + node).digest()
        stack.append((size, node))
    if not stack:
        return sha256(b"").digest()
    _, node = stack.pop()
    while stack:
        _, left = stack.pop()
        node = sha256(b"\1" + left + node).digest()
    return node
