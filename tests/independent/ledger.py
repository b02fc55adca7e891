"""A second reader of the ledger, written from `docs/spec/ledger.md`, RFC 6962 and C2SP signed-note alone.

It reads the objects of the ledger, and says which roots the one history in them had; of a signed checkpoint it says
which history that is over, and of a consistency proof whether one history goes on with the other.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.independent.seal import UnreadableError, opaque, require

FORMAT = "shredvault/ledger/v2"
ED25519 = 1
_BYTES = 32


@dataclass(frozen=True)
class History:
    """What all objects together say."""

    entries: list[dict[str, Any]]
    """As they stand there: `id`, `at`, `event`, `subject`, `facts`, `salt`."""
    roots: list[bytes]
    """The root when there were 0, 1, 2 … entries."""
    notes: list[str]
    """The signed checkpoints in the objects."""

    def keys(self) -> set[str]:
        """The keys of the log, as the entries name them."""
        named = (entry for entry in self.entries if entry["event"] in ("founded", "rebuilt"))
        return {entry["facts"]["log_key"] for entry in named}

    def require(self, note: str, keys: Iterable[str]) -> int:
        """Make sure that a checkpoint is signed by one of the keys, and over this history; returns over how much.

        Raises:
            UnreadableError: it is not.
        """
        size, root = read_checkpoint(note, keys)
        require(holds=size < len(self.roots) and self.roots[size] == root)
        return size


@opaque()
def read_history(objects: Mapping[str, bytes], vault_id: bytes) -> History:
    """Read all objects of one vault's ledger, by name.

    Raises:
        UnreadableError: one is missing, altered, misplaced or another vault's.
    """
    history = History([], [hashlib.sha256(b"").digest()], [])
    before, subtrees = bytes(_BYTES), list[tuple[int, bytes]]()
    for name, blob in sorted(objects.items()):
        content = json.loads(blob)
        require(holds=(content["format"], content["vault"]) == (FORMAT, vault_id.hex()))
        require(holds=content["before"] == before.hex())
        require(holds=name == f"ledger/{len(history.entries) + 1:016x}")
        require(holds=json.dumps(content, separators=(",", ":")).encode() == blob)
        require(holds=len(content["entries"]) > 0)
        for entry in content["entries"]:
            require(holds=entry["id"] == len(history.entries) + 1)
            history.entries.append(entry)
            _grow(subtrees, hashlib.sha256(b"\0" + leaf_of(entry)).digest())
            history.roots.append(_root(subtrees))
        history.notes.append(content["checkpoint"])
        before = hashlib.sha256(blob).digest()
    return history


def leaf_of(entry: Mapping[str, Any]) -> bytes:
    """The leaf of an entry: its facts are only committed to."""
    salt = bytes.fromhex(entry["salt"])
    require(holds=salt.hex() == entry["salt"])
    commitment = hashlib.sha256(salt + _canonical(entry["facts"])).hexdigest()
    shown = {name: entry[name] for name in ("at", "event", "id", "subject")}
    return _canonical({**shown, "commitment": commitment})


@opaque()
def read_checkpoint(note: str, keys: Iterable[str]) -> tuple[int, bytes]:
    """Over how many entries a checkpoint is, and their root.

    Raises:
        UnreadableError: it is none, or none of `keys` (`name+id+key`) signed it.
    """
    text, _, below = note.partition("\n\n")
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    for key in keys:
        name, number, encoded = key.split("+", 2)
        raw = _base64(encoded)
        require(holds=raw[0] == ED25519)
        for line in below.splitlines():
            dash, signer, signature = line.split(" ")
            signed = _base64(signature)
            if (dash, signer, signed[:4].hex()) != ("\N{EM DASH}", name, number) or origin != name:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signed[4:], text.encode())
            except InvalidSignature as wrong:
                raise UnreadableError from wrong
            return int(size), _base64(root)
    raise UnreadableError


def require_growth(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Make sure that a consistency proof shows that the newer tree begins with the older (RFC 9162, 2.1.4.2).

    Raises:
        UnreadableError: it does not.
    """
    require(holds=0 <= old <= new and all(len(one) == _BYTES for one in path))
    if old in (0, new):
        # Every tree begins with the empty one.
        require(holds=not path and old_root == (new_root if old else hashlib.sha256(b"").digest()))
        return
    hashes = [*([] if old & (old - 1) else [old_root]), *path]
    require(holds=len(hashes) > 0)
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = hashes[0]
    for other in hashes[1:]:
        require(holds=last > 0)
        if position & 1 or position == last:
            first, second = _node(other, first), _node(other, second)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            second = _node(second, other)
        position, last = position >> 1, last >> 1
    require(holds=(last, first, second) == (0, old_root, new_root))


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _base64(text: str) -> bytes:
    """Bytes from the one text that they have."""
    found = base64.b64decode(text, validate=True)
    require(holds=base64.b64encode(found).decode() == text)
    return found


def _grow(subtrees: list[tuple[int, bytes]], node: bytes) -> None:
    """Append a leaf's hash: subtrees of one size become one of twice the size."""
    size = 1
    while subtrees and subtrees[-1][0] == size:
        node = _node(subtrees.pop()[1], node)
        size *= 2
    subtrees.append((size, node))


def _root(subtrees: list[tuple[int, bytes]]) -> bytes:
    """RFC 6962: the right part of a split is the smaller one, so what stands last is joined first."""
    node = subtrees[-1][1]
    for _, left in reversed(subtrees[:-1]):
        node = _node(left, node)
    return node


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
