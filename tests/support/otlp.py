"""A receiver of spans (OTLP over HTTP) in the process of a test."""

import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

from support.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it came, with who sent it."""

    service: str
    message: Message

    @property
    def name(self) -> str:
        return self.message.name

    @property
    def trace_id(self) -> str:
        return self.message.trace_id.hex()

    @property
    def id(self) -> str:
        return self.message.span_id.hex()

    @property
    def parent_id(self) -> str:
        return self.message.parent_span_id.hex()

    @property
    def kind(self) -> str:
        return Message.SpanKind.Name(self.message.kind).removeprefix("SPAN_KIND_")

    @property
    def is_error(self) -> bool:
        return self.message.status.code == self.message.status.STATUS_CODE_ERROR

    @property
    def attributes(self) -> dict[str, str]:
        return {each.key: _text(each.value) for each in self.message.attributes}

    def __repr__(self) -> str:
        return f"<{self.service} {self.kind} {self.name} {self.attributes}>"


def _text(value: object) -> str:
    [text] = MessageToDict(value).values()  # type: ignore[arg-type]
    return str(text)


@dataclass(eq=False)
class Receiver:
    """What has come."""

    url: str
    status: int
    """With what each request is answered."""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        """All spans that have come."""
        requests = map(ExportTraceServiceRequest.FromString, list(self.bodies))
        return [
            Span(_service(resource.resource.attributes), span)
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def trace(self, trace_id: str, spans: int) -> list[Span]:
        """Return the spans of a trace when there are as many.

        Each comes after its parent, and brothers in the order in which they began.
        """

        def found() -> dict[str, Span]:
            return {span.id: span for span in self.spans if span.trace_id == trace_id}

        wait_until(lambda: len(found()) >= spans, 15)
        by_id = found()

        def place(span: Span) -> tuple[int, int]:
            depth, parent = 0, by_id.get(span.parent_id)
            while parent is not None:
                depth, parent = depth + 1, by_id.get(parent.parent_id)
            # The clocks of several processes are not compared.
            return depth, span.message.start_time_unix_nano

        return sorted(by_id.values(), key=place)


def _service(attributes: Iterable[KeyValue]) -> str:
    [name] = [each.value.string_value for each in attributes if each.key == "service.name"]
    return name


@contextmanager
def receiving(
    status: int = 200, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """Receive spans until the end of the block, and answer with this status."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
            receiver.bodies.append(b"".join(self._pieces()))
            self.send_response(receiver.status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def _pieces(self) -> Iterator[bytes]:
            # Envoy sends in chunks, workers in one piece.
            if length := self.headers["content-length"]:
                yield self.rfile.read(int(length))
                return
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            # Who connects and says nothing holds up no other.
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if tls is None else "https"
        receiver = Receiver(f"{scheme}://127.0.0.1:{server.server_port}/v1/traces", status)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
