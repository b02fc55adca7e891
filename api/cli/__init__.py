"""The command `shredvault`. Its manual is `shredvault --help`."""

from __future__ import annotations

from .app import main

__all__ = ["main"]
