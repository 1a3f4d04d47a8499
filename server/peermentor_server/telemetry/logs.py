"""Log lines: readable on a terminal, JSON elsewhere; never a name, a contact or a secret."""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from json import JSONEncoder
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from peermentor_server.telemetry.log_output import LogOutput, output_of

_process: dict[str, object] = {}
_trace_id: ContextVar[str] = ContextVar("trace_id", default="")


def name_worker(number: int) -> None:
    """Put the number of this worker into every line."""
    _process["worker"] = number


def name_trace(trace_id: str) -> None:
    """Put the id of a trace into every line of this context."""
    _trace_id.set(trace_id)


def configure(level: str, style: str, output: TextIO | None = None) -> None:
    """Send log lines of `level` and above to standard error, as `console` or `json`."""
    stream = output or sys.stderr
    json, colors = is_json(style, stream), _is_terminal(stream)
    writer = output_of(stream)
    structlog.configure(
        processors=[_Line(writer), *_renderers(json=json, colors=colors)],
        wrapper_class=structlog.make_filtering_bound_logger(_level(level)),
        logger_factory=_factory(writer),
        cache_logger_on_first_use=False,
    )
    plain.output = writer if json and _level(level) <= logging.INFO else None


class _PlainLines:
    """Lines whose fields are JSON already.

    For the one that every call writes: rendered by structlog it takes as long as all the rest
    of a small call.
    """

    # None where such lines would not go as they are.
    output: TextIO | LogOutput | None = None

    def write(self, fields: str) -> bool:
        """Write a line at level info, unless structlog has to."""
        output = self.output
        if output is None or (isinstance(output, LogOutput) and output.dropped):
            return False
        trace_id = _trace_id.get()
        trace = f', "trace_id": "{trace_id}"' if trace_id else ""
        worker = f', "worker": {_process["worker"]}' if _process else ""
        now = datetime.now(UTC).replace(tzinfo=None).isoformat()
        output.write(f'{{{fields}{trace}{worker}, "level": "info", "timestamp": "{now}Z"}}\n')
        return True


plain = _PlainLines()


def is_json(style: str, stream: TextIO | None) -> bool:
    """Tell whether a log of this style is JSON when it goes there."""
    return style == "json" or (style == "auto" and not _is_terminal(stream))


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


class _Line:
    """Adds what every line has."""

    def __init__(self, writer: object) -> None:
        self._output = writer if isinstance(writer, LogOutput) else None
        self._stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)

    def __call__(self, logger: object, level: str, line: EventDict) -> EventDict:
        line.update(_process)
        if trace_id := _trace_id.get():
            line["trace_id"] = trace_id
        output = self._output
        # The first line that comes through says how many before it did not.
        if output is not None and output.dropped:
            line["lines_dropped"], output.dropped = output.dropped, 0
        line["level"] = "error" if level == "exception" else level
        return self._stamp(logger, level, line)


def _factory(writer: Any) -> Any:
    # Without standard error there is nowhere to log to.
    if writer is None:
        return structlog.ReturnLoggerFactory()
    return structlog.WriteLoggerFactory(writer)


def _level(name: str) -> int:
    return logging.getLevelNamesMapping()[name.upper()]


_encoder = JSONEncoder(default=repr)


def _as_json(_logger: object, _method: str, line: EventDict) -> str:
    return _encoder.encode(line)


def _renderers(*, json: bool, colors: bool) -> list[Processor]:
    if json:
        return [structlog.processors.format_exc_info, _as_json]
    # Plain tracebacks: structlog's rich ones would show local variables, names among them.
    return [
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        )
    ]
