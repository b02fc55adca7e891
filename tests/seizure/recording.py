"""The recording: every state of every file and object the adversary could have copied, each distinct piece kept once.

A state is cut into pieces of 16 KiB. A piece is kept with the first 512 bytes of the next one, so that nothing of up to
512 bytes that ever stood in any state is cut in two, and 10,000 records are affordable: a volume that grows, or a
database of which two pages changed, costs two or three pieces a step. What is compressed is kept inflated as well.
"""

import hashlib
import os
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.vault.databases import read_beside
from vault.home import CATALOGUE

STRIDE = 16 * 1024
OVERLAP = 512
INFLATED_MAX = 16 * 1024 * 1024
_GZIP = b"\x1f\x8b\x08"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_WORTH_KEEPING = 32
_INFLATED = "!inflated@"


class Origin(NamedTuple):
    """Where a piece was first seen: the step, the source (`home`, `bucket`, `custodian` ...), the name, the offset."""

    step: int
    source: str
    name: str
    offset: int


@dataclass
class _State:
    size: int
    pieces: list[bytes]


@dataclass
class Recording:
    """Grows in `folder`, which is no part of what is recorded."""

    folder: Path
    step: int = 0
    bytes_seen: int = 0
    bytes_kept: int = 0
    states: dict[tuple[str, str], dict[int, _State]] = field(default_factory=dict)
    _places: dict[bytes, tuple[int, int, Origin]] = field(default_factory=dict)
    _marks: dict[Path, tuple[int, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self._pieces = (self.folder / "pieces").open("w+b", buffering=1 << 20)

    def close(self) -> None:
        """Close the file of pieces."""
        self._pieces.close()

    def take(self, source: str, name: str, data: bytes) -> None:
        """Keep one state."""
        self.bytes_seen += len(data)
        digests = []
        for offset in range(0, max(len(data), 1), STRIDE):
            piece = data[offset : offset + STRIDE + OVERLAP]
            digest = hashlib.sha256(piece).digest()
            digests.append(digest)
            if digest not in self._places:
                self._keep(digest, piece, Origin(self.step, source, name, offset))
                self._inflate(source, name, data, offset, piece)
        self.states.setdefault((source, name), {})[self.step] = _State(len(data), digests)

    def take_folder(self, source: str, folder: Path, but_not: Collection[str] = ()) -> None:
        """Keep the state of every file below a folder that has changed since it was last taken."""
        for parent, _, names in os.walk(folder):
            for name in names:
                path = Path(parent, name)
                if name in but_not or path.is_symlink() or not path.is_file():
                    continue
                self.take_file(source, path, str(path.relative_to(folder)))

    def take_file(self, source: str, path: Path, name: str) -> None:
        """Keep the state of one file. One that has gone since it was listed is passed over."""
        try:
            found = path.stat()
            mark = (found.st_ino, found.st_size, found.st_mtime_ns)
            if self._marks.get(path) == mark:
                return
            data = read_beside(path) if path.name.startswith(CATALOGUE) else path.read_bytes()
        except FileNotFoundError:
            return
        self.take(source, name, data)
        self._marks[path] = mark

    def tail(self, source: str, path: Path) -> None:
        """Keep what was appended to a file that only grows (a log), and a stretch before it."""
        inode, taken, _ = self._marks.get(path, (0, 0, 0))
        with path.open("rb") as file:
            file.seek(max(taken - OVERLAP, 0))
            data = file.read()
            end = file.tell()
        if end > taken:
            self.take(source, f"{path.name}@{taken}", data)
            self._marks[path] = (inode, end, 0)

    def pieces(self, but_not: Collection[str] = ()) -> Iterator[tuple[Origin, bytes]]:
        """Every piece ever kept, but for those that were seen in these sources only."""
        self._pieces.flush()
        with (self.folder / "pieces").open("rb") as file:
            for start, size, origin in sorted(self._places.values()):
                if origin.source not in but_not:
                    file.seek(start)
                    yield origin, file.read(size)

    def state(self, source: str, name: str, step: int) -> bytes:
        """One state again, whole, as it was at (or last before) a step."""
        history = self.states[source, name]
        found = history[max(at for at in history if at <= step)]
        out = bytearray()
        for digest in found.pieces:
            start, size, _ = self._places[digest]
            self._pieces.flush()
            out += os.pread(self._pieces.fileno(), size, start)[:STRIDE]
        return bytes(out[: found.size])

    def newest(self, source: str) -> Iterator[tuple[str, bytes]]:
        """The last state of everything of a source; what could be inflated in it is no state of its own."""
        for at, name in list(self.states):
            if at == source and _INFLATED not in name:
                yield name, self.state(source, name, self.step)

    def every(self, source: str) -> Iterator[tuple[str, bytes]]:
        """Every state of everything of a source; what could be inflated in it is no state of its own."""
        for (at, name), history in list(self.states.items()):
            if at == source and _INFLATED not in name:
                for step in history:
                    yield name, self.state(source, name, step)

    def _keep(self, digest: bytes, piece: bytes, origin: Origin) -> None:
        self._places[digest] = (self._pieces.tell(), len(piece), origin)
        self._pieces.write(piece)
        self.bytes_kept += len(piece)

    def _inflate(self, source: str, name: str, data: bytes, offset: int, piece: bytes) -> None:
        if _INFLATED in name:
            return
        for head, bits in ((_GZIP, 31), *((head, 15) for head in _ZLIB)):
            at = piece.find(head)
            while at >= 0:
                inflated = inflate(data, offset + at, bits)
                if len(inflated) >= _WORTH_KEEPING:
                    self.take(source, f"{name}{_INFLATED}{offset + at}", inflated)
                at = piece.find(head, at + 1)


def inflate(data: bytes, at: int, bits: int) -> bytes:
    """What can be inflated from a place on; nothing where it is no compressed stream."""
    stream = zlib.decompressobj(bits)
    out = bytearray()
    try:
        while at < len(data) and not stream.eof and len(out) < INFLATED_MAX:
            out += stream.decompress(data[at : at + 4096])
            at += 4096
    except zlib.error:
        return bytes(out)
    return bytes(out)
