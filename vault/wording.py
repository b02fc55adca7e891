"""Counts in sentences for people: `1 record is`, `2 records are`."""

from __future__ import annotations

__all__ = ["number_of"]


def number_of(count: int, noun: str, one: str = "", many: str = "") -> str:
    """A count with its noun, and with the verb that agrees with it where both its forms are given."""
    said = f"{count} {noun}" if count == 1 else f"{count} {_plural(noun)}"
    return f"{said} {one if count == 1 else many}".rstrip()


def _plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
