"""Logs: one JSON line an event on standard error, never with patient data.

Only keys of `ALLOWED` leave the process; a value under any other key is replaced by its type. So a careless
`log.info("stored", patient=...)` can't leak a name. UIDs, names and identifiers of patients have no key here; an
instance is named by our own row id. Values are cut at 300 characters.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog

ALLOWED: Final = frozenset(
    """event level timestamp process pid error_id hint status address called_ae calling_ae association instance study
    parcel upload site bytes count seconds offset rate attempt reason state port path version signal worker codec
    method code exception limit name interface""".split()
)
_LONGEST: Final = 300


def _only_allowed(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: _short(value) if key in ALLOWED else f"<{type(value).__name__}>" for key, value in event.items()}


def _short(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    return str(value)[:_LONGEST]


def configure(process: str, *, level: int = logging.INFO) -> None:
    """Sets up this process's log. Call once, from the process's entry point."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _only_allowed,
            structlog.processors.JSONRenderer(sort_keys=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)
    # The libraries' own loggers print data sets and paths of peers; what matters of it our own lines say.
    for name in ("pynetdicom", "pydicom", "aiohttp", "waitress", "werkzeug"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """A logger for one module."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
