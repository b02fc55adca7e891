"""The memory of a live process, as whoever seizes the machine reads it: /proc/PID/mem."""

import re
from collections.abc import Iterator
from pathlib import Path

_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+\s*(.*)")
CHUNK = 1 << 20
OVERLAP = 512
_PAGE = 4096


def writable_regions(pid: int) -> Iterator[tuple[int, int]]:
    """The regions a process can have written to: heap, stacks, anonymous maps, data of libraries."""
    for line in Path(f"/proc/{pid}/maps").read_text("ascii", "replace").splitlines():
        found = _LINE.match(line)
        assert found, line
        if "w" in found[3] and found[4] not in ("[vvar]", "[vsyscall]"):
            yield int(found[1], 16), int(found[2], 16)


def chunks_of(pid: int) -> Iterator[bytes]:
    """The process's writable memory, in overlapping chunks; pages that were never touched are passed over."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in writable_regions(pid):
            for at in range(start, end, CHUNK):
                try:
                    memory.seek(at)
                    data = memory.read(min(CHUNK + OVERLAP, end - at))
                except (OSError, ValueError):
                    continue  # unmapped since the list was made, or a guard page
                if data.strip(b"\0"):
                    yield data
