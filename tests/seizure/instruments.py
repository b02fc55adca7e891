"""Instruments: what the test alone can see while the workload runs; the product's functions are wrapped.

* every seal of a key page and every wrap of a root key, by key id: the edges of the key graph
* every seal of a sheet, slip or document, and under which key
* every master that is made and destroyed, and whether a destruction was recorded before its master was dead
* every file that is opened to be written, renamed or removed (Python's audit events)

They take no copy of a key: what they see goes to a notebook as it is. `Notes` is the notebook of the test's own
process; one of another process (`tests.seizure.insider`) must leave nothing in that process's memory.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from keystore import Key, KeyPage, MasterState, PageName, Sealer, slots_of
from keystore.custodians import Assurance, Custodian
from tests.seizure.key_graph import Buffer, KeyGraph, PageAt, key_id
from vault.destruction import carrying_out as destruction

_WRITING = 0x3 | 0x40 | 0x200
"""O_WRONLY, O_RDWR, O_CREAT, O_TRUNC."""


class Notebook(Protocol):
    """What instruments write into."""

    destroyed: set[str]
    """Masters whose destruction was noted here."""

    def note(self, kind: str, *facts: Any) -> None:
        """Take one note. Buffers among the facts are keys, and are wiped soon after."""

    def has_page(self, key: Buffer, at: PageAt) -> bool:
        """Whether this seal is noted already."""


@dataclass
class Notes:
    """What the instruments saw."""

    graph: KeyGraph = field(default_factory=KeyGraph)
    made: set[str] = field(default_factory=set)
    destroyed: set[str] = field(default_factory=set)
    recorded_early: list[str] = field(default_factory=list)
    """Masters that lived when their destruction was recorded."""
    wrote: dict[str, set[str]] = field(default_factory=dict)
    """Places in the temporary folder that were written, and the digests of what was seen there."""

    def note(self, kind: str, *facts: Any) -> None:
        """Take one note."""
        getattr(self, f"_{kind}")(*facts)

    def has_page(self, key: Buffer, at: PageAt) -> bool:
        """Whether this seal is noted already."""
        return at in self.graph.pages.get(key_id(key), ())

    def _wrap(self, master: str, key: Buffer) -> None:
        self.graph.wrap(master, key)

    def _page(self, key: Buffer, tree: str, number: int, version: int, slots: list[int], keys: Buffer) -> None:
        children = [(slot, keys[32 * rank : 32 * rank + 32]) for rank, slot in enumerate(slots)]
        self.graph.page(key, PageAt(tree, number, version), children)

    def _seal(self, key: Buffer, bound_to: bytes) -> None:
        self.graph.seal(key, bytes(bound_to))

    def _made(self, master: str) -> None:
        self.made.add(master)

    def _destroyed(self, master: str) -> None:
        self.destroyed.add(master)

    def _early(self, master: str) -> None:
        self.recorded_early.append(master)

    def _wrote(self, place: str, digest: str) -> None:
        self.wrote.setdefault(place, set()).add(digest)


class WatchedCustodian:
    """A custodian whose wraps, births and deaths are noted."""

    def __init__(self, real: Custodian, notes: Notebook) -> None:
        self.real = real
        self._notes = notes

    @property
    def uri(self) -> str:
        return self.real.uri

    @property
    def assurance(self) -> Assurance:
        return self.real.assurance

    @property
    def ends_masters(self) -> bool:
        return self.real.ends_masters

    def create(self, name: str, ends_at: datetime | None = None) -> None:
        self._notes.note("made", name)
        self.real.create(name, ends_at)

    def wrap(self, name: str, key: Key, bound_to: bytes) -> bytes:
        self._notes.note("wrap", name, key.reveal())
        return self.real.wrap(name, key, bound_to)

    def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        key = self.real.unwrap(name, wrapped, bound_to)
        self._notes.note("wrap", name, key.reveal())
        return key

    def expires_at(self, name: str) -> datetime | None:
        return self.real.expires_at(name)

    def describe(self, name: str) -> MasterState:
        return self.real.describe(name)

    def destroy(self, name: str) -> None:
        self.real.destroy(name)
        self._notes.note("destroyed", name)

    def names(self) -> frozenset[str]:
        return self.real.names()


def instrument(put: Callable[[Any, str, Any], object], notes: Notebook) -> None:
    """Wrap the product's functions in this process; `put` is `setattr`, or something that takes it back later."""
    seal, open_page, make_sealer, record = KeyPage.seal, KeyPage.open, Sealer.__init__, destruction._record

    def page(at: PageName, key: Key, keys: KeyPage) -> None:
        place = PageAt(str(at.tree), at.number, at.version)
        if not notes.has_page(key.reveal(), place):
            live = list(slots_of(keys.bitmap))
            notes.note("page", key.reveal(), *place, live, memoryview(keys._keys)[: 32 * len(live)])

    def watched_seal(self: KeyPage, name: PageName, page_key: Key) -> bytearray:
        page(name, page_key, self)
        return seal(self, name, page_key)

    def watched_open(name: PageName, page_key: Key, sealed: bytes | bytearray | memoryview) -> KeyPage:
        opened = open_page(name, page_key, sealed)
        page(name, page_key, opened)
        return opened

    def watched_sealer(self: Sealer, key: Key, bound_to: bytes) -> None:
        if b"shredvault/key-page" not in bound_to[:32]:
            notes.note("seal", key.reveal(), bound_to)
        make_sealer(self, key, bound_to)

    def watched_record(vault: Any, frozen: Any, evidence: Any, assurance: Any) -> Any:
        if evidence.master not in notes.destroyed:
            notes.note("early", evidence.master)
        return record(vault, frozen, evidence, assurance)

    put(KeyPage, "seal", watched_seal)
    put(KeyPage, "open", watched_open)
    put(Sealer, "__init__", watched_sealer)
    put(destruction, "_record", watched_record)


_listeners: list[Callable[[str, bool], None]] = []
_hooked: list[bool] = []


@contextmanager
def watching_files(told: Callable[[str, bool], None]) -> Iterator[None]:
    """As `watch_files`, within the block."""
    watch_files(told)
    try:
        yield
    finally:
        _listeners.remove(told)


def watch_files(told: Callable[[str, bool], None]) -> None:
    """Call `told(path, removed)` before every file of this process is opened to be written, or removed."""
    if not _hooked:
        # An audit hook cannot be taken back; without listeners it does nothing.
        sys.addaudithook(_audit)
        _hooked.append(True)
    _listeners.append(told)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _listeners:
        return
    if event == "open" and isinstance(args[0], str | bytes) and isinstance(args[2], int) and args[2] & _WRITING:
        _tell(args[0], removed=False)
    elif event in ("sqlite3.connect", "os.remove"):
        _tell(args[0], removed=event == "os.remove", folder=args[1] if event == "os.remove" else -1)
    elif event in ("os.rename", "os.link"):
        _tell(args[0], removed=True, folder=args[2])
        _tell(args[1], removed=False, folder=args[3])


def _tell(path: Any, *, removed: bool, folder: int = -1) -> None:
    """Tell a path; a relative one stands in the folder that is open as descriptor `folder`."""
    place = Path(os.fsdecode(path))
    if folder >= 0 and not place.is_absolute():
        place = Path(f"/proc/self/fd/{folder}").readlink() / place
    for told in _listeners:
        told(str(place), removed)
