"""The command `shredvault`. Its manual is `shredvault --help`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; ends the process with one of the exit codes."""
    try:
        # Most of the first second is spent here; Ctrl-C is answered in it as later.
        from .app import main as run  # noqa: PLC0415

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
