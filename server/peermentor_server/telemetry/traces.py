"""Traces: a span for each call and for each of its statements, sent over HTTP (OTLP).

Imported only where they are wanted: it needs what the extra `otel` installs. The library reads
the standard variables OTEL_* itself, beside what it is told here.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import requests
import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from peermentor_server.telemetry import logs
from peermentor_server.trace_export import TraceExport

# What is ours to mend; what callers got wrong is not.
_FAULTS = {
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
}
_log = structlog.get_logger("peermentor_server")


class Traces:
    """What makes spans, and sends them from a thread of its own."""

    def __init__(self, export: TraceExport, database: str) -> None:
        """Trace calls that work with a `database` of this kind."""
        # It would write lines of its own, with whatever receivers and exceptions say.
        library = logging.getLogger("opentelemetry")
        library.addHandler(logging.NullHandler())
        library.propagate = False
        who = Resource.create({"service.name": export.service, "process.pid": os.getpid()})
        # At the exit of Python nothing would bound how long that takes: close() does.
        self._provider = TracerProvider(resource=who, shutdown_on_exit=False)
        session = requests.Session()
        # Else variables for other programs, of authorities and proxies, would go before its own;
        # and the gateway, which sends spans too, knows none of them.
        session.trust_env = False
        exporter = _Told(OTLPSpanExporter(export.url, session=session), export.url)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("peermentor_server")
        self._propagator = TraceContextTextMapPropagator()
        self._database = database

    @contextmanager
    def call(
        self, method: str, metadata: Iterable[tuple[str, str | bytes]]
    ) -> Iterator["CallSpan"]:
        """Trace a call in the block, as a part of what its caller says it is a part of.

        Lines of the log name the trace.
        """
        called = method.removeprefix("/")
        with self._tracer.start_as_current_span(
            called,
            self._propagator.extract(dict(metadata)),
            SpanKind.SERVER,
            {"rpc.system.name": "grpc", "rpc.method": called},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            logs.name_trace(format_trace_id(span.get_span_context().trace_id))
            yield CallSpan(span)

    def statement(self, name: str) -> Callable[[BaseException | None], None] | None:
        """Trace a statement that begins in a call; return what ends that."""
        if not trace.get_current_span().is_recording():
            return None
        attributes = {"db.system.name": self._database, "db.query.summary": name}
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)

        def end(error: BaseException | None) -> None:
            if error is not None:
                _fail(span, type(error).__name__)
            span.end()

        return end

    def close(self, patience_s: float) -> None:
        """Send what is left, for as long at most. A receiver that hangs is left to itself."""
        ending = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        ending.start()
        ending.join(patience_s)


class CallSpan:
    """The span of a call."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def tell(self, code: str, request_id: str) -> None:
        """Say how the call has ended, and under which id it is in the log."""
        self._span.set_attributes({"rpc.response.status_code": code, "request_id": request_id})
        if code in _FAULTS:
            _fail(self._span, code)


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


class _Told(SpanExporter):
    """Says in the log when spans cannot be sent any more, and when they can again."""

    def __init__(self, exporter: SpanExporter, url: str) -> None:
        self._exporter, self._url = exporter, url
        self._is_sending = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send some."""
        result = self._exporter.export(spans)
        is_sent = result is SpanExportResult.SUCCESS
        if is_sent and not self._is_sending:
            _log.info("traces sent again", url=self._url)
        elif self._is_sending and not is_sent:
            _log.warning("traces not sent", url=self._url)
        self._is_sending = is_sent
        return result

    def shutdown(self) -> None:
        """Send no more."""
        self._exporter.shutdown()
