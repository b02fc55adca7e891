"""Temporary folders: what was written into them, by place and digest, and the little that may be.

What may be is public: the files that ssh-keygen verifies signatures with, each of which has its copy in the catalogue,
and the four bytes with which Python finds out whether a folder can be written. A file counts as one of them by its
place and by every byte of it; its name alone says nothing.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vault.law.policy import Policy

if TYPE_CHECKING:
    # Every process of a served vault imports this module, and need not import pytest for it.
    from tests.vault.world import World

NOT_YET = ""
"""The digest of a file that was not there before."""
TRIAL = b"blat"
"""What `tempfile` writes to try a folder (its function `_get_default_tempdir`)."""
_ROOM = re.compile(r"shredvault-[a-z0-9_]{8}/(allowed_signers|revoked_keys|signature)")
_TRIAL = re.compile(r"[a-z0-9_]{8}")


class TemporaryFolder:
    """Notes the files of one temporary folder as they come and go, in the process that writes them."""

    def __init__(self, folder: Path, note: Callable[[str, str], object]) -> None:
        self._folder = folder
        self._note = note

    def told(self, path: str, removed: bool) -> None:  # noqa: FBT001, ARG002 - an audit hook's callback
        """A file is about to be written anew, or removed: what stands in it now is told by its digest."""
        place = Path(path)
        if place.is_relative_to(self._folder):
            self._note(str(place.relative_to(self._folder)), _digest_of_file(place))


def _digest_of_file(place: Path) -> str:
    """The digest of a file's content, of which nothing is left in this process's memory."""
    content = bytearray()
    with suppress(FileNotFoundError, IsADirectoryError), place.open("rb", buffering=0) as file:
        content = bytearray(place.stat().st_size)
        file.readinto(content)
        digest = hashlib.sha256(content).hexdigest()
        content[:] = bytes(len(content))
        return digest
    return NOT_YET


def digest_of(content: bytes) -> str:
    """The digest by which a file's content is known."""
    return hashlib.sha256(content).hexdigest()


def found_in(wrote: dict[str, set[str]], world: "World") -> Iterator[str]:
    """What was written that is not, byte for byte, one of the public files in its place.

    Args:
        wrote: for each place in the temporary folder, the digests that were seen there.
        world: whose policies and orders have the public files.
    """
    public = _public(world)
    for place, digests in sorted(wrote.items()):
        room = _ROOM.fullmatch(place)
        expected = public[room[1]] if room else {digest_of(TRIAL)} if _TRIAL.fullmatch(place) else None
        seen = digests - {NOT_YET}
        if expected is None:
            yield f"{place} was written into the temporary folder"
        elif not seen:
            yield f"{place} was written into the temporary folder, and nobody saw with what"
        elif not seen <= expected:
            yield f"{place} in the temporary folder had something else in it than it may have"


def _public(world: "World") -> dict[str, set[str]]:
    """Digests of what ssh-keygen is given, as the catalogue has it."""
    allowed, revoked, signatures = set(), set(), set()
    for document, approvals in world.rows("SELECT document, approvals FROM policies"):
        policy = Policy.decode(bytes(document) if isinstance(document, memoryview) else document)
        allowed.add(policy.allowed_signers)
        revoked.add(policy.revoked_keys)
        signatures |= _signatures(approvals)
    for (approvals,) in world.rows("SELECT approvals FROM orders"):
        signatures |= _signatures(approvals)
    found = {"allowed_signers": allowed, "revoked_keys": revoked, "signature": signatures}
    return {name: {digest_of(text.encode()) for text in texts} for name, texts in found.items()}


def _signatures(approvals: object) -> set[str]:
    stored = json.loads(approvals) if isinstance(approvals, str) else approvals
    assert isinstance(stored, list)
    return {one["signature"] for one in stored}
