"""Log lines: JSON, one a line, and nothing in them but the fields on a list.

What is not on the list is dropped, whoever put it there. Of exceptions there are class names and our own
file:line only: the text of an exception, and the values in a traceback, may repeat what was submitted.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO, cast

import structlog

__all__ = ["FIELDS", "Log", "class_chain", "make_log", "our_frames", "routed"]

Log = structlog.typing.FilteringBoundLogger

FIELDS: Final = frozenset(
    {
        "duration_ms",
        "error_class",
        "event",
        "frames",
        "level",
        "logger",
        "method",
        "problem",
        "record_id",
        "request_id",
        "route",
        "status",
        "time",
        "token_id",
    }
)
"""Everything a log line may have."""
TEXT_CHARACTERS_MAX: Final = 300
_CHAIN_MAX: Final = 6
_FRAMES_MAX: Final = 12
_SOURCE: Final = Path(__file__).parents[2]
_PACKAGES: Final = tuple(str(_SOURCE / name) for name in ("api", "vault", "keystore"))


def make_log(stream: TextIO | None = None) -> Log:
    """A logger that writes to `stream`, or to standard error. Nothing global is configured."""
    return cast(
        "Log",
        structlog.wrap_logger(
            structlog.WriteLogger(stream or sys.stderr),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                _only_listed,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=True,
        ),
    )


def _only_listed(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep the listed fields, and of those only plain values, cut to a length."""
    kept: dict[str, Any] = {}
    for name, value in line.items():
        if name not in FIELDS or value is None:
            continue
        if isinstance(value, str):
            kept[name] = value[:TEXT_CHARACTERS_MAX]
        elif isinstance(value, int | float):
            kept[name] = value
        elif name == "frames":
            kept[name] = [str(frame)[:TEXT_CHARACTERS_MAX] for frame in value][:_FRAMES_MAX]
    return kept


def class_chain(error: BaseException) -> str:
    """Class names of an error and its causes: `ObjectStoreUnavailable < EndpointConnectionError`."""
    names: list[str] = []
    at: BaseException | None = error
    while at is not None and len(names) < _CHAIN_MAX:
        names.append(type(at).__name__)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return " < ".join(names)


def our_frames(error: BaseException) -> list[str]:
    """Where in our own code an error passed, outermost first: `vault/records/uploads.py:171`."""
    return [
        f"{Path(frame.f_code.co_filename).relative_to(_SOURCE)}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.startswith(_PACKAGES)
    ]


class _ToLog(logging.Handler):
    """Takes lines of the standard library's loggers: the message's template, never what would be put into it."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a line on."""
        error = record.exc_info[1] if record.exc_info else None
        self._log.log(
            record.levelno,
            record.msg.strip() if isinstance(record.msg, str) else type(record.msg).__name__,
            logger=record.name,
            error_class=class_chain(error) if error else None,
            frames=our_frames(error) if error else None,
        )


@contextmanager
def routed(log: Log, *names: str, level: int = logging.WARNING) -> Iterator[None]:
    """Send the lines of these loggers (`""` is the root) to `log` and nowhere else, within the block."""
    handler = _ToLog(log)
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, (handlers, propagate, old_level) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(old_level)
