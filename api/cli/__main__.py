"""`python -m api.cli` is `shredvault`."""

from __future__ import annotations

from . import main

main()
