"""Logs: one JSON line an event on standard error, never with patient data.

Only keys of `ALLOWED` leave the process; a value under any other key is replaced by its type. So a careless
`log.info("stored", patient=...)` can't leak a name. UIDs, names and identifiers of patients have no key here; an
instance is named by our own row id. Values are cut at 300 characters.

Python and libraries write to standard error too: tracebacks, warnings, complaints. These quote what they met. `guard`
lets through of what kind each is and where in our code it happened, and nothing of its words.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from typing import Any, Final

import structlog

from appliance.errors import ApplianceError
from appliance.mistakes import kinds, trail

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
            lambda _logger, _name, event: {"process": process, **event},  # of every thread; context is of one alone
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _only_allowed,
            structlog.processors.JSONRenderer(sort_keys=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # The libraries' own loggers print data sets and paths of peers; what matters of it our own lines say.
    for name in ("pynetdicom", "pydicom", "aiohttp", "waitress", "werkzeug", "botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """A logger for one module."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def guard() -> None:
    """Takes every way by which Python itself writes to standard error. Call once, first of all, in every process."""
    sys.excepthook = lambda kind, error, _: _tell(kind, error)
    threading.excepthook = _tell_of_thread
    sys.unraisablehook = lambda args: _tell(args.exc_type, args.exc_value)
    logging.captureWarnings(True)
    logging.raiseExceptions = False
    logging.getLogger().addHandler(_Library(logging.WARNING))


def _tell_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        _tell(args.exc_type, args.exc_value)


def _tell(kind: type[BaseException], error: BaseException | None) -> None:
    """That something went wrong which nobody foresaw: for the log of a process, or for the person at a terminal."""
    said, place = (kinds(error), trail(error)) if error is not None else (kind.__name__, "")
    with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
        if structlog.is_configured():
            get_logger().critical("a mistake of ours", error_id=ApplianceError.id, exception=said, code=place)
            return
        problem = ApplianceError()
        sys.stderr.write(f"appliance: {problem.id}: {problem.message} ({said} at {place})\n")
        sys.stderr.write(f"  What to do: {problem.hint} If nothing is, tell the maintainers the line above.\n")


class _Library(logging.Handler):
    """What libraries and asyncio log for themselves."""

    def emit(self, record: logging.LogRecord) -> None:
        """Of an error its kind and place; else only who complained, and only in a process that has a log."""
        kind, error = (record.exc_info or (None, None))[:2]
        if kind is not None:
            _tell(kind, error)
        elif structlog.is_configured():
            get_logger().warning("a library complains", name=record.name)
