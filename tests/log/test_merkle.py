"""The Merkle tree against public vectors, against a slow reading of RFC 6962, and against every change of a proof."""

import hashlib
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.independent.ledger import require_growth
from tests.independent.seal import UnreadableError
from vault.errors import LedgerBrokenError
from vault.log.merkle import (
    EMPTY_ROOT,
    Frontier,
    check_inclusion,
    consistency_path,
    inclusion_path,
    leaf_hash,
    root_of,
    tree_hash,
)

# Leaves, roots and proofs of the reference implementation of Certificate Transparency (merkletree tests).
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
_96, _5F, _6B, _BC, _CA, _0E = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
)
INCLUSION = [
    (0, 1, []),
    (0, 8, [_96, _5F, _6B]),
    (5, 8, [_BC, _CA, ROOTS[4]]),
    (2, 3, [ROOTS[2]]),
    (1, 5, [ROOTS[1], _5F, _BC]),
]
CONSISTENCY = [(1, 1, []), (1, 8, [_96, _5F, _6B]), (6, 8, [_0E, _CA, ROOTS[4]]), (2, 5, [_5F, _BC])]
SIZES = 40


def stored(leaves: list[bytes]) -> Callable[[int, int], bytes]:
    """Complete subtrees only, each by hashing its leaves; asked for another, it fails."""

    def complete(level: int, position: int) -> bytes:
        start, count = position << level, 1 << level
        assert start + count <= len(leaves)
        return tree_hash(leaves[start : start + count])

    return complete


def slow_root(leaves: list[bytes]) -> bytes:
    """MTH, word by word as RFC 6962 has it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + slow_root(leaves[:k]) + slow_root(leaves[k:])).digest()


def some_leaves(count: int) -> list[bytes]:
    return [number.to_bytes(4) for number in range(count)]


def test_roots_of_the_reference() -> None:
    for size, root in enumerate(ROOTS):
        assert tree_hash(LEAVES[:size]).hex() == root
        assert root_of(size, stored(LEAVES)).hex() == root
    assert ROOTS[0] == EMPTY_ROOT.hex()


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_the_root_is_that_of_the_definition(leaves: list[bytes]) -> None:
    assert tree_hash(leaves) == slow_root(leaves)


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_audit_paths_of_the_reference(index: int, size: int, path: list[str]) -> None:
    ours = inclusion_path(index, size, stored(LEAVES))
    assert [one.hex() for one in ours] == path
    check_inclusion(leaf_hash(LEAVES[index]), index, size, ours, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_consistency_proofs_of_the_reference(old: int, new: int, path: list[str]) -> None:
    ours = consistency_path(old, new, stored(LEAVES))
    assert [one.hex() for one in ours] == path
    require_growth(old, bytes.fromhex(ROOTS[old]), new, bytes.fromhex(ROOTS[new]), ours)


def test_every_tree_up_to_forty_leaves() -> None:
    leaves = some_leaves(SIZES)
    roots = [slow_root(leaves[:size]) for size in range(SIZES + 1)]
    frontier, complete = Frontier(), stored(leaves)
    for size in range(SIZES + 1):
        assert (frontier.size, frontier.root()) == (size, roots[size])
        for index in range(size):
            path = inclusion_path(index, size, complete)
            assert len(path) <= (size - 1).bit_length()
            check_inclusion(leaf_hash(leaves[index]), index, size, path, roots[size])
        for old in range(1, size + 1):
            require_growth(old, roots[old], size, roots[size], consistency_path(old, size, complete))
        require_growth(0, EMPTY_ROOT, size, roots[size], [])
        if size < SIZES:
            frontier.add(leaf_hash(leaves[size]))


def test_no_changed_audit_path_is_accepted() -> None:
    leaves, complete, random = some_leaves(21), stored(some_leaves(21)), Random(3)
    root = tree_hash(leaves)
    for index in range(21):
        leaf, path = leaf_hash(leaves[index]), inclusion_path(index, 21, complete)
        wrong = [*path]
        wrong[random.randrange(len(path))] = random.randbytes(32)
        for bad in (wrong, path[:-1], path[1:], [*path, path[0]], path[::-1], [path[0][:31], *path[1:]]):
            if bad != path:
                with pytest.raises(LedgerBrokenError):
                    check_inclusion(leaf, index, 21, bad, root)
        for other, size in ((index ^ 1, 21), (index, 64), (-1, 21), (21, 21)):
            with pytest.raises(LedgerBrokenError):
                check_inclusion(leaf, other, size, path, root)
        with pytest.raises(LedgerBrokenError):
            check_inclusion(leaf_hash(b"other"), index, 21, path, root)


def test_no_other_history_is_consistent() -> None:
    leaves = some_leaves(21)
    other = [*leaves[:4], b"edited", *leaves[5:]]
    for old in range(5, 21):
        for path in (consistency_path(old, 21, stored(leaves)), consistency_path(old, 21, stored(other))):
            with pytest.raises(UnreadableError):
                require_growth(old, tree_hash(leaves[:old]), 21, tree_hash(other), path)
            with pytest.raises(UnreadableError):
                require_growth(old, tree_hash(leaves[:old]), 21, tree_hash(leaves), path[:-1])
    with pytest.raises(UnreadableError):
        require_growth(21, tree_hash(leaves), 20, tree_hash(leaves[:20]), [])
    with pytest.raises(UnreadableError):
        require_growth(0, tree_hash(leaves), 21, tree_hash(leaves), [])


def test_proofs_of_what_is_not_there_are_not_made() -> None:
    complete = stored(some_leaves(5))
    for index, size in ((5, 5), (-1, 5), (0, 0)):
        with pytest.raises(ValueError, match="not in the tree"):
            inclusion_path(index, size, complete)
    for old, new in ((0, 5), (6, 5)):
        with pytest.raises(ValueError, match="older tree"):
            consistency_path(old, new, complete)
