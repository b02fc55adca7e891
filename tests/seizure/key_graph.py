"""The exact key graph: which key was ever sealed under which, by key id, as the instruments noted it.

Nodes are masters (by name) and keys (by id, the SHA-256 of the value). An edge says that somebody who has the one key,
and every blob ever written, has the other. Nothing is left out because it was superseded, deleted, or never taken.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

KeyId = bytes
Buffer: TypeAlias = bytes | bytearray | memoryview
Place = tuple[int, int]
"""A record's place: cohort and slot."""


class PageAt(NamedTuple):
    """What a page key sealed: tree, page number (0 is a root page), version."""

    tree: str
    number: int
    version: int


def key_id(value: Buffer) -> KeyId:
    return hashlib.sha256(value).digest()


@dataclass
class KeyGraph:
    values: dict[KeyId, bytes] = field(default_factory=dict)
    wraps: dict[str, set[KeyId]] = field(default_factory=dict)
    """Master to the root keys that were wrapped under it."""
    children: dict[KeyId, set[KeyId]] = field(default_factory=dict)
    pages: dict[KeyId, set[PageAt]] = field(default_factory=dict)
    places: dict[Place, set[KeyId]] = field(default_factory=dict)
    sealed: dict[KeyId, set[bytes]] = field(default_factory=dict)
    """Key to the contexts of the sheets, slips and documents it sealed."""
    versions: set[tuple[str, int]] = field(default_factory=set)

    def key(self, value: Buffer) -> KeyId:
        name = key_id(value)
        self.values.setdefault(name, bytes(value))
        return name

    def wrap(self, master: str, root_key: Buffer) -> None:
        self.wraps.setdefault(master, set()).add(self.key(root_key))

    def page(self, page_key: Buffer, at: PageAt, children: Iterable[tuple[int, Buffer]]) -> None:
        parent = self.key(page_key)
        if at in self.pages.setdefault(parent, set()):
            return
        self.pages[parent].add(at)
        if not at.number:
            self.versions.add((at.tree, at.version))
        below = self.children.setdefault(parent, set())
        for slot, value in children:
            child = self.key(value)
            below.add(child)
            if at.number:
                self.places.setdefault((at.number, slot), set()).add(child)

    def seal(self, key: Buffer, context: bytes) -> None:
        self.sealed.setdefault(self.key(key), set()).add(context)

    def reachable(self, masters: Iterable[str]) -> set[KeyId]:
        """Every key that somebody with these masters, and all blobs, has."""
        seen: set[KeyId] = set()
        waiting = [root for master in masters for root in self.wraps.get(master, ())]
        while waiting:
            key = waiting.pop()
            if key not in seen:
                seen.add(key)
                waiting.extend(self.children.get(key, ()))
        return seen

    def above(self, keys: Collection[KeyId]) -> set[KeyId]:
        """Every key on any path that ever led to these keys."""
        parents: dict[KeyId, list[KeyId]] = {}
        for parent, below in self.children.items():
            for child in below:
                parents.setdefault(child, []).append(parent)
        seen: set[KeyId] = set()
        waiting = list(keys)
        while waiting:
            for parent in parents.get(waiting.pop(), ()):
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
        return seen

    def reused(self) -> dict[KeyId, set[PageAt]]:
        """Page keys that sealed more than one version of one page: none may."""
        return {key: pages for key, pages in self.pages.items() if len(pages) > 1}
