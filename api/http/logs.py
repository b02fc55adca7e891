"""Logs: one JSON object a line, with an allow-list of fields, so that nothing personal gets in by accident."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

__all__ = ["FIELDS", "configure", "log"]

FIELDS: Final = frozenset(
    {
        "event",
        "level",
        "time",
        "method",
        "route",
        "status",
        "duration_ms",
        "request_id",
        "token_id",
        "record_id",
        "error",
        "where",
        "address",
    }
)
"""All that a line may hold. Routes are templates; paths, which carry document names, are never logged."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def _allow(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: value for name, value in event.items() if name in FIELDS}


def configure(*, quiet: bool = False) -> None:
    """Write lines to standard error (`quiet`: errors only); silence the libraries, whose lines may hold paths."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR if quiet else logging.INFO),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _allow,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "botocore", "urllib3"):
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
