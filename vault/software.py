"""Which version of Shredvault this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["software_version"]


def software_version() -> str:
    """The version that is installed, `0` when it runs from a tree that was not installed."""
    try:
        return version("shredvault")
    except PackageNotFoundError:
        return "0"
