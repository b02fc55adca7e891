"""The HTTP face, version 1: filing for enrollment centers, reading for reviewers.

The only package that imports FastAPI. `create_app` builds the application, `run_server` serves it.
"""

from __future__ import annotations

from .app import create_app
from .server import background_server, run_server

__all__ = ["background_server", "create_app", "run_server"]
