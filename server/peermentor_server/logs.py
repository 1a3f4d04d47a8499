"""Log lines: readable on a terminal, JSON elsewhere; never a name, a contact or a secret."""

import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from peermentor_server.log_output import LogOutput, output_of

_process: dict[str, object] = {}


def name_worker(number: int) -> None:
    """Put the number of this worker into every line."""
    _process["worker"] = number


def configure(level: str, style: str, output: TextIO | None = None) -> None:
    """Send log lines of `level` and above to standard error, as `console` or `json`."""
    stream = output or sys.stderr
    json, colors = is_json(style, stream), _is_terminal(stream)
    writer = output_of(stream)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_process,
            *([_Dropped(writer)] if isinstance(writer, LogOutput) else []),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_renderers(json=json, colors=colors),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_level(level)),
        logger_factory=_factory(writer),
        cache_logger_on_first_use=False,
    )


def is_json(style: str, stream: TextIO | None) -> bool:
    """Tell whether a log of this style is JSON when it goes there."""
    return style == "json" or (style == "auto" and not _is_terminal(stream))


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _add_process(_logger: object, _method: str, line: EventDict) -> EventDict:
    line.update(_process)
    return line


class _Dropped:
    """Says in the first line that comes through how many before it did not."""

    def __init__(self, output: LogOutput) -> None:
        self._output = output

    def __call__(self, _logger: object, _method: str, line: EventDict) -> EventDict:
        if self._output.dropped:
            line["lines_dropped"], self._output.dropped = self._output.dropped, 0
        return line


def _factory(writer: Any) -> Any:
    # Without standard error there is nowhere to log to.
    if writer is None:
        return structlog.ReturnLoggerFactory()
    return structlog.WriteLoggerFactory(writer)


def _level(name: str) -> int:
    return logging.getLevelNamesMapping()[name.upper()]


def _renderers(*, json: bool, colors: bool) -> list[Processor]:
    if json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # Plain tracebacks: structlog's rich ones would show local variables, names among them.
    return [
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        )
    ]
