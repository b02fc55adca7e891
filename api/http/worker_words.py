"""What a worker says to its supervisor, a byte at a time.

Apart from `worker`, which runs as a program and is imported by nobody.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ALIVE", "LEAVING", "PULSE_S", "READY"]

PULSE_S: Final = 0.5
"""It says something this often, in seconds."""
ALIVE: Final = b"."
READY: Final = b"r"
"""It listens."""
LEAVING: Final = b"n"
"""It takes nothing new: start another."""
