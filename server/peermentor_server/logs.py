"""Log lines: readable on a terminal, JSON elsewhere; never a name, a contact or a secret."""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor

_process: dict[str, object] = {}


def name_worker(number: int) -> None:
    """Put the number of this worker into every line."""
    _process["worker"] = number


def configure(level: str, style: str, output: TextIO | None = None) -> None:
    """Send log lines of `level` and above to standard error, as `console` or `json`."""
    output = output or sys.stderr
    json = style == "json" or (style == "auto" and not output.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_process,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_renderers(json=json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_level(level)),
        logger_factory=structlog.PrintLoggerFactory(output),
        cache_logger_on_first_use=False,
    )


def _add_process(_logger: object, _method: str, line: EventDict) -> EventDict:
    line.update(_process)
    return line


def _level(name: str) -> int:
    return logging.getLevelNamesMapping()[name.upper()]


def _renderers(*, json: bool) -> list[Processor]:
    if json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Plain tracebacks: structlog's rich ones would show local variables, names among them.
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]
