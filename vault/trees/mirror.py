"""The mirror: every version of a tree is in the bucket before anything depends on it.

One object for everything a version rewrote (docs/spec/mirror-pack.md): the wrapped root key, the sealed
root page, the sealed pages, and which version of every other cohort's page belongs to the tree. A page's
version is the version of the pack that carries it, so the packs alone rebuild a tree.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Final

from keystore import MAX_COHORTS, SealBrokenError, SealedPage, SealedRoot, StagedTree, Tree
from vault.objects import Bucket

__all__ = ["PREFIX", "pack", "pack_name", "read_back", "unpack", "write"]

PREFIX: Final = "keystore/"
PACK_LIMIT_BYTES: Final = 4 * 1024**3

_MAGIC: Final = b"SVMP\x01"
_HEAD: Final = struct.Struct(">16sBQQ64sIIII")
_INDEX: Final = struct.Struct(">IQ")
_PAGE: Final = struct.Struct(">IQI128s")
_MASTER: Final = re.compile(rb"(?P<name>[a-z0-9-]{1,64})\0*", re.DOTALL)
_TREE_CODE: Final = {Tree.ACTIVE: 1, Tree.HELD: 2}


def pack_name(tree: Tree, version: int) -> str:
    """Object name of a pack: the tree and the version, in 16 hexadecimal digits."""
    return f"{PREFIX}{tree}/{version:016x}"


def pack(vault_id: bytes, staged: StagedTree, carried: Mapping[int, int]) -> bytearray:
    """Encode a staged version. `carried` gives the page versions of the cohorts it did not rewrite."""
    root = staged.root
    out = bytearray(_MAGIC)
    out += _HEAD.pack(
        vault_id,
        _TREE_CODE[root.tree],
        root.epoch,
        root.version,
        root.master.encode("ascii"),
        len(root.wrapped_key),
        len(root.sealed_page),
        len(carried),
        len(staged.pages),
    )
    for cohort, version in sorted(carried.items()):
        out += _INDEX.pack(cohort, version)
    for page in staged.pages:
        out += _PAGE.pack(page.cohort, page.version, len(page.sealed), page.live)
    out += root.wrapped_key
    out += root.sealed_page
    for page in staged.pages:
        out += page.sealed
    return out


def unpack(vault_id: bytes, blob: bytes) -> tuple[StagedTree, dict[int, int]]:
    """Decode a pack.

    Raises:
        SealBrokenError: it is not a pack of this vault, or is damaged.
    """
    view = memoryview(blob)
    try:
        if bytes(view[: len(_MAGIC)]) != _MAGIC:
            raise SealBrokenError
        offset = len(_MAGIC)
        found_id, code, epoch, version, master, key_size, page_size, carried_count, page_count = _HEAD.unpack_from(
            view, offset
        )
        offset += _HEAD.size
        tree = next((tree for tree, known in _TREE_CODE.items() if known == code), None)
        if found_id != vault_id or tree is None:
            raise SealBrokenError
        carried = [_INDEX.unpack_from(view, offset + number * _INDEX.size) for number in range(carried_count)]
        offset += carried_count * _INDEX.size
        heads = [_PAGE.unpack_from(view, offset + number * _PAGE.size) for number in range(page_count)]
        offset += page_count * _PAGE.size
    except struct.error as broken:
        raise SealBrokenError from broken
    _require_order(version, carried, [head[:2] for head in heads])
    wrapped = bytes(view[offset : offset + key_size])
    offset += key_size
    sealed_root = bytes(view[offset : offset + page_size])
    offset += page_size
    pages = []
    for cohort, page_version, size, live in heads:
        pages.append(SealedPage(tree, cohort, page_version, live, bytes(view[offset : offset + size])))
        offset += size
    if offset != len(blob):
        raise SealBrokenError
    name = _MASTER.fullmatch(master)
    if name is None:
        raise SealBrokenError
    root = SealedRoot(tree, epoch, version, name["name"].decode("ascii"), wrapped, sealed_root)
    return StagedTree(root, tuple(pages)), dict(carried)


def _require_order(version: int, carried: list[tuple[int, int]], written: list[tuple[int, int]]) -> None:
    """Each cohort once, ascending; what this version wrote has its number, what it carries an earlier one."""
    cohorts = {cohort for cohort, _ in (*carried, *written)}
    if (
        len(cohorts) != len(carried) + len(written)
        or any(not 1 <= cohort <= MAX_COHORTS for cohort in cohorts)
        or carried != sorted(carried)
        or written != sorted(written)
        or any(at != version for _, at in written)
        or any(not 0 < at < version for _, at in carried)
    ):
        raise SealBrokenError


def write(bucket: Bucket, vault_id: bytes, staged: StagedTree, carried: Mapping[int, int]) -> int:
    """Store a pack under its name, which no other pack ever has; return its size in bytes.

    Raises:
        ObjectExists: a pack of this tree and version is there. A catalogue that was restored from an old backup gives
            out versions again; it must not write over the packs that came after.
    """
    blob = pack(vault_id, staged, carried)
    name = pack_name(staged.root.tree, staged.root.version)
    bucket.put_new(name, blob)
    return len(blob)


def read_back(bucket: Bucket, vault_id: bytes, tree: Tree, version: int) -> StagedTree:
    """Fetch a pack from the bucket and decode it.

    Raises:
        SealBrokenError: what came back is not what a pack looks like.
    """
    staged, _ = unpack(vault_id, bucket.get(pack_name(tree, version), limit=PACK_LIMIT_BYTES))
    if staged.root.version != version or staged.root.tree is not tree:
        raise SealBrokenError
    return staged
