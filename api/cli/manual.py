"""How the manual is written: docstrings are folded at the terminal's width, not at the source's."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Any, TypeVar

__all__ = ["described", "unfolded"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_AS_IT_STANDS = "\b\n"


def described(command: _Command) -> _Command:
    """Make a command's docstring fit for `--help`."""
    command.__doc__ = unfolded(command.__doc__ or "")
    return command


def unfolded(text: str) -> str:
    """Join the lines of each paragraph, except of those that begin with a line of only a backspace."""
    paragraphs = cleandoc(text).split("\n\n")
    return "\n\n".join(part if part.startswith(_AS_IT_STANDS) else " ".join(part.split()) for part in paragraphs)
