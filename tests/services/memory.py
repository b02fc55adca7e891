"""Looks for known values in the memory of processes: as they are, and as text."""

import base64
import ctypes
import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

import pytest

only_for_root = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0,
    reason="only root may read the memory of processes that are not dumpable",
)

# Looking for text with zeros in it, Python goes through memory, which is full of them, byte by byte.
_memmem = ctypes.CDLL(None).memmem
_memmem.restype = ctypes.c_void_p
_memmem.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]

_PIECE = 2 * 1024 * 1024
_PAGE = 4096


def forms(value: bytes) -> set[bytes]:
    """A value as it may stand in memory: raw, as digits, as base64 at each of three offsets, in UTF-16.

    Of base64 the characters that depend on what stands before and after are left out.
    """
    found = {value, value.hex().encode(), value.hex().upper().encode()}
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + value)[4:-4]
        found |= {text, text.replace(b"+", b"-").replace(b"/", b"_")}
    if value.isascii():
        found.add(value.decode("ascii").encode("utf-16-le"))
    found |= {value.hex().encode("utf-16-le")}
    return found


def regions(pid: int) -> Iterable[tuple[int, int]]:
    """Start and end of all memory that a process could have written: not its program and its libraries' code."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights, *_ = line.split()
        if rights.startswith("rw") and "[vvar]" not in line and "[vsyscall]" not in line:
            start, end = (int(number, 16) for number in span.split("-"))
            yield start, end


def present(pid: int, start: int, end: int) -> Iterable[tuple[int, int]]:
    """The parts of a region that were ever touched, by the kernel's page map: much of it is only reserved."""
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
        for at in range(start, end, _PIECE):
            upto = min(at + _PIECE, end)
            pagemap.seek(at // _PAGE * 8)
            pages = array("Q", pagemap.read((upto - at) // _PAGE * 8))
            for touched, run in groupby(range(len(pages)), lambda number: pages[number] >> 62 != 0):  # noqa: B023
                if touched:
                    numbers = list(run)
                    yield at + numbers[0] * _PAGE, at + (numbers[-1] + 1) * _PAGE


def contents(pid: int, overlap: int) -> Iterator[bytes]:
    """All memory of a process, stretch by stretch, each with so many bytes of the one before it."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in regions(pid):
            for at, upto in present(pid, start, end):
                memory.seek(max(start, at - overlap))
                try:
                    yield memory.read(upto - memory.tell())
                except OSError:
                    # A device's, or the kernel's own.
                    continue


def _holds(text: bytes, form: bytes) -> bool:
    return _memmem(text, len(text), form, len(form)) is not None


def found_in(pid: int, wanted: Mapping[str, bytes]) -> set[str]:
    """Names of the values that stand in the memory of a process."""
    needles = {name: forms(value) for name, value in wanted.items()}
    overlap = max(len(form) for every in needles.values() for form in every)
    found: set[str] = set()
    for text in contents(pid, overlap):
        found |= {name for name, every in needles.items() if any(_holds(text, form) for form in every)}
    return found
