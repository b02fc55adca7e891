"""What a person sees: tables on standard output, progress on standard error, and only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from getpass import getpass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from vault.catalogue.locked import Remaining

__all__ = [
    "counting",
    "facts",
    "is_interactive",
    "locked_objects",
    "note",
    "print_json",
    "say",
    "somebody",
    "stepping",
    "table",
    "when",
]

# The steps of `vault.destruction.carrying_out`, in their order.
_STEP_WORDS: Final = {
    "intent": "writing down the intent",
    "create master": "making the new master key",
    "stage": "rewriting the key tree and reading it back",
    "condemn": "condemning",
    "fence": "waiting for every process to follow",
    "destroy master": "destroying the old master key",
    "record": "writing down what was observed",
}


def say(text: str) -> None:
    """Print a line on standard output."""
    Console(highlight=False, soft_wrap=True, markup=False).print(text)


def note(text: str) -> None:
    """Print a line on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(text)


def print_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    say(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    message = f"not a value for JSON: {type(value).__name__}"
    raise TypeError(message)


def when(instant: datetime | None) -> str:
    """An instant in UTC to the second, or a dash."""
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC") if instant else "-"


def locked_objects(locked: Remaining) -> str:
    """What object lock retains, as a part of a sentence."""
    parts = [f"{locked.count} locked objects"]
    if locked.until:
        parts.append(f"the last until {when(locked.until)}")
    if locked.on_legal_hold:
        parts.append(f"{locked.on_legal_hold} on legal hold")
    return ", ".join(parts)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers stand to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        right = bool(cells) and all(row[number].isdecimal() for row in cells)
        shown.add_column(column, justify="right" if right else "left", no_wrap=not right, overflow="fold")
    for row in cells:
        shown.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        # A file or a pipe has no width: nothing is cut or folded there.
        console = Console(highlight=False, markup=False, width=400)
    console.print(shown)


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns."""
    listed = [(name, str(value)) for name, value in pairs]
    width = max(len(name) for name, _ in listed)
    for name, value in listed:
        say(f"  {name:<{width}}  {value}")


def is_interactive() -> bool:
    """Whether somebody can be asked: standard input and standard error are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def somebody() -> Callable[[str], str] | None:
    """Who can be asked for what opens a custodian; None without a terminal."""
    return _ask_unseen if is_interactive() else None


@cache
def _ask_unseen(question: str) -> str:
    """Ask without echo, each question once. Nothing typed, or the end of the input, is an empty answer."""
    try:
        return getpass(question)
    except EOFError:
        return ""


@contextmanager
def stepping() -> Iterator[Callable[[str], None]]:
    """A bar for the steps of a destruction."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=len(_STEP_WORDS))

        def begun(step: str) -> None:
            bar.update(task, description=_STEP_WORDS[step], completed=list(_STEP_WORDS).index(step))

        yield begun


@contextmanager
def counting(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar that counts."""
    console = Console(stderr=True)
    if not console.is_terminal or total == 0:
        yield lambda _: None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
