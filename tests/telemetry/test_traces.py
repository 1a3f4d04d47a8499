"""Traces: from the gateway, or from the program that calls, to each statement."""

import io
import itertools
import json
import os
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import certifi
import grpc
import httpx
import pytest
import structlog
import trustme
from sqlalchemy import text

from peermentor import Client, InvalidArgument
from peermentor.v1.assignments_pb2 import CreateAssignmentRequest, ListAssignmentsRequest
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import ListTemplatesRequest
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server import trace_export
from peermentor_server.rpc.app import App
from peermentor_server.settings import Address, Settings
from peermentor_server.storage.engine.database import Database
from peermentor_server.telemetry import logs
from peermentor_server.trace_export import TraceExport
from support.apps import running_app
from support.databases import locked, migrated, url_of
from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE
from support.gateways import native_address, running_gateway
from support.names import FULL_NAME, NAMES
from support.otlp import Receiver, Span, receiving
from support.ports import free_ports
from support.waiting import wait_until

CALLER = "b7ad6b7169203331"
SERVICE = "peermentor.v1.AssignmentService"
SENDERS = {"peermentor", "peermentor-gateway"}
ORIGIN = "https://app.example.org"
SOON_MS = "20"
Log = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def sent_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let spans wait for others for a moment, and not for seconds."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", SOON_MS)


@pytest.fixture
def log() -> Iterator[Log]:
    """Returns the lines of the log so far."""
    written = io.StringIO()
    before, plain = structlog.get_config(), logs.plain.output
    logs.configure("info", "json", written)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    structlog.configure(**before)
    logs.plain.output = plain


@pytest.fixture(scope="module")
def shared_receiver() -> Iterator[Receiver]:
    """Receives the spans of all tests."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(shared_receiver: Receiver) -> Receiver:
    """Receives spans, and has none yet."""
    shared_receiver.bodies.clear()
    return shared_receiver


@pytest.fixture
def trace() -> str:
    """The id of a trace of the test's own."""
    return secrets.token_hex(16)


def sampled(trace: str) -> dict[str, str]:
    """Return what a caller sends that traces its call."""
    return {"traceparent": f"00-{trace}-{CALLER}-01"}


@dataclass(frozen=True)
class Service:
    """A server and a gateway that are traced."""

    app: App
    rest: httpx.Client
    native: str


@contextmanager
def traced(database: Database, traces: TraceExport, directory: Path) -> Iterator[Service]:
    """Serve a database, and send spans."""
    rest_port, admin_port = free_ports(2)
    with running_app(database, traces=traces) as app:
        settings = Settings(
            grpc_address=Address("127.0.0.1", app.port),
            rest_address=Address("127.0.0.1", rest_port),
            admin_address=Address("127.0.0.1", admin_port),
            cors_origins=(ORIGIN,),
        )
        with running_gateway(settings, directory, _send_soon, traces=traces) as rest:
            yield Service(app, rest, native_address(settings))


def _send_soon(config: dict[str, Any]) -> None:
    soon = {"tracing.opentelemetry.flush_interval_ms": 50}
    config["layered_runtime"]["layers"].append({"name": "soon", "static_layer": soon})


@pytest.fixture(scope="module")
def shared_service(
    database_url: str, shared_receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A server and a gateway, whose spans come to the receiver."""
    traces, directory = TraceExport(url=shared_receiver.url), tmp_path_factory.mktemp("traced")
    with migrated(database_url) as database, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", SOON_MS)
        with traced(database, traces, directory) as service:
            yield service


@pytest.fixture
def service(shared_service: Service, database: Database) -> Service:  # noqa: ARG001
    """The same, without rows."""
    return shared_service


def created(rest: httpx.Client, **fields: Any) -> str:
    answer = rest.post("/api/v1/assignments", json=NEW_ASSIGNMENT | fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["assignment_id"])


def served(receiver: Receiver, trace: str) -> list[Span]:
    """Return the span of a call that came without the gateway, and then those of its statements."""

    def is_there() -> bool:
        return (trace, "SERVER") in {(span.trace_id, span.kind) for span in receiver.spans}

    # It ends last.
    wait_until(is_there, 15)
    return receiver.trace(trace, 1)


def assert_chain(*spans: Span) -> None:
    """Each span is a child of the one before it."""
    for parent, child in itertools.pairwise(spans):
        assert (child.trace_id, child.parent_id) == (parent.trace_id, parent.id)


def test_a_rest_call_is_one_trace_from_the_gateway_to_each_statement(
    service: Service, receiver: Receiver, log: Log, kind: str, trace: str
) -> None:
    path = f"/api/v1/assignments/{created(service.rest)}/last-contact"
    request_id = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
    answer = service.rest.put(
        path,
        json={"contact_date": "2026-03-26T09:45:00Z", "contact_type": "message"},
        headers=sampled(trace) | {"x-request-id": request_id},
    )
    assert answer.status_code == 200
    # The gateway leaves it as it is, and does not write into it what it knows of traces.
    assert answer.headers["x-request-id"] == request_id

    gateway, call, *statements = receiver.trace(trace, 7)
    assert gateway.parent_id == CALLER
    assert (gateway.service, gateway.kind) == ("peermentor-gateway", "SERVER")
    assert gateway.name == f"/{SERVICE}/UpdateLastContact"
    assert_chain(gateway, call)
    assert (call.service, call.kind) == ("peermentor", "SERVER")
    assert call.name == f"{SERVICE}/UpdateLastContact"
    assert call.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": f"{SERVICE}/UpdateLastContact",
        "rpc.response.status_code": "OK",
        "request_id": request_id,
    }
    assert gateway.attributes["request_id"] == request_id
    assert [statement.name for statement in statements] == [
        "BEGIN",
        "SELECT assignments mentees",
        "UPDATE assignments",
        "INSERT contacts",
        "COMMIT",
    ]
    for statement in statements:
        assert_chain(call, statement)
        assert statement.kind == "CLIENT"
        assert statement.attributes == {
            "db.system.name": kind,
            "db.query.summary": statement.name,
        }
    ended = [each.message.end_time_unix_nano for each in (*statements, call)]
    assert ended == sorted(ended)

    lines = [line for line in log() if line.get("request_id") == request_id]
    assert [line["event"] for line in lines] == ["call", "audit"]
    assert {line["trace_id"] for line in lines} == {trace}


def test_a_read_has_a_span_for_its_statement(
    service: Service, receiver: Receiver, trace: str
) -> None:
    path = f"/api/v1/assignments/{created(service.rest)}"
    # The first one connects.
    for headers in ({}, sampled(trace)):
        assert service.rest.get(path, headers=headers).status_code == 200
    gateway, call, statement = receiver.trace(trace, 3)
    assert_chain(gateway, call, statement)
    assert statement.name == "SELECT assignments mentees"


PROGRAM = """\
import asyncio, sys
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcInstrumentorClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from peermentor import AsyncClient, Client

receiver, address, template = sys.argv[1], sys.argv[2], {template}
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(OTLPSpanExporter(receiver)))
GrpcInstrumentorClient().instrument()
GrpcAioInstrumentorClient().instrument()

async def awaited():
    async with AsyncClient(address) as client:
        await client.templates.create(**template)

with trace.get_tracer("program").start_as_current_span("nightly job"):
    with Client(address) as client:
        client.templates.create(**template)
    asyncio.run(awaited())
"""


def test_a_program_with_the_python_client_has_one_trace_to_each_statement(
    service: Service, receiver: Receiver
) -> None:
    subprocess.run(
        [sys.executable, "-c", PROGRAM.format(template=NEW_TEMPLATE), receiver.url, service.native],
        env={**os.environ, "OTEL_SERVICE_NAME": "program"},
        timeout=60,
        check=True,
    )
    wait_until(lambda: "nightly job" in {span.name for span in receiver.spans}, 15)
    [trace] = [span.trace_id for span in receiver.spans if span.name == "nightly job"]
    job, *others = receiver.trace(trace, 19)
    senders = ["program", "peermentor-gateway", "peermentor"]
    # One call of each client.
    for sent in (span for span in others if span.parent_id == job.id):
        [gateway] = (span for span in others if span.parent_id == sent.id)
        [call] = (span for span in others if span.parent_id == gateway.id)
        assert [each.service for each in (sent, gateway, call)] == senders
        assert [each.kind for each in (sent, gateway, call)] == ["CLIENT", "SERVER", "SERVER"]
        assert [span.name for span in others if span.parent_id == call.id] == [
            "BEGIN",
            "INSERT idempotency_keys",
            "INSERT templates",
            "UPDATE idempotency_keys",
            "DELETE idempotency_keys",
            "COMMIT",
        ]


def test_what_the_caller_does_not_trace_is_not_sent_but_named_in_the_log(
    service: Service, receiver: Receiver, log: Log, trace: str
) -> None:
    other = trace[::-1]
    unsampled = {"traceparent": f"00-{other}-{CALLER}-00"}
    assert service.rest.get("/api/v1/assignments", headers=unsampled).status_code == 200
    # What comes after it has come, and so would have it.
    assert service.rest.get("/api/v1/assignments", headers=sampled(trace)).status_code == 200
    receiver.trace(trace, 3)
    assert other not in {span.trace_id for span in receiver.spans}
    assert [line["trace_id"] for line in log() if line["event"] == "call"] == [other, trace]


def test_a_call_without_a_trace_begins_one(service: Service, receiver: Receiver, log: Log) -> None:
    for headers in ({"traceparent": "00-zz-b7ad6b7169203331-01"}, {}):
        assert service.rest.get("/api/v1/assignments", headers=headers).status_code == 200
    lines = [line for line in log() if line["event"] == "call"]
    of_malformed, own = (line["trace_id"] for line in lines)
    assert of_malformed != own
    gateway, call, _ = receiver.trace(own, 3)
    assert gateway.parent_id == ""
    assert_chain(gateway, call)


def test_a_web_page_may_name_its_trace(service: Service) -> None:
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "GET",
        "access-control-request-headers": "traceparent",
    }
    answer = service.rest.options("/api/v1/assignments", headers=asked)
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"content-type", "traceparent", "tracestate"} <= set(allowed)


def test_no_name_no_value_and_no_sql_is_sent(
    service: Service, receiver: Receiver, trace: str
) -> None:
    key = created(service.rest, mentee_name=FULL_NAME)
    sent: list[httpx.Response] = [
        service.rest.put(f"/api/v1/assignments/{key}", json={"mentee_name": NAMES[2]}),
        service.rest.post("/api/v1/recurring-templates", json=NEW_TEMPLATE),
        service.rest.get("/api/v1/assignments", params={"mentee_id": "user_088", "page": "2"}),
        service.rest.get("/api/v1/assignments/overdue", params={"org_id": "org_03"}),
        service.rest.get(f"/api/v1/assignments/{FULL_NAME}"),
        service.rest.get("/api/v1/nothing", params={"name": FULL_NAME}),
        service.rest.put(f"/api/v1/assignments/{key}", json={"status": FULL_NAME}),
        service.rest.delete(f"/api/v1/assignments/{key}"),
    ]
    codes = [answer.status_code for answer in sent]
    assert codes == [200, 200, 200, 200, 404, 404, 400, 200]
    with Client(service.native) as client:
        client.assignments.create(**NEW_ASSIGNMENT, mentee_name=FULL_NAME)
        with pytest.raises(InvalidArgument):
            client.assignments.create(**NEW_ASSIGNMENT | {"org_id": ""}, mentee_name=FULL_NAME)
    assert service.rest.get("/api/v1/assignments", headers=sampled(trace)).status_code == 200
    # Those before it came before it.
    receiver.trace(trace, 3)
    assert len([span for span in receiver.spans if "gateway" in span.service]) >= 12
    exported = b"".join(receiver.bodies).decode("utf-8", "replace")
    given = (NEW_ASSIGNMENT | NEW_TEMPLATE).values()
    values = [value for value in given if isinstance(value, str) and len(value) > 5]
    for secret in (
        *NAMES,
        quote(FULL_NAME),
        *values,
        key,
        "WHERE",
        "mentee_name",
        "assignments.id",
    ):
        assert secret not in exported
    # The control: that is where it would be.
    assert "SELECT assignments mentees" in exported


def test_what_callers_get_wrong_is_no_fault_of_ours(
    service: Service, receiver: Receiver, trace: str
) -> None:
    # The first one connects.
    for headers in ({}, sampled(trace)):
        missing = service.rest.get("/api/v1/assignments/asgn_999", headers=headers)
        assert missing.status_code == 404
    _, call, *_ = receiver.trace(trace, 3)
    assert call.attributes["rpc.response.status_code"] == "NOT_FOUND"
    assert call.attributes["request_id"] == missing.headers["x-request-id"]
    assert not call.is_error
    assert "error.type" not in call.attributes


def test_a_statement_and_a_call_that_fail_say_so(
    own: Database, receiver: Receiver, log: Log, trace: str
) -> None:
    with (
        running_app(own, traces=TraceExport(url=receiver.url)) as app,
        grpc.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        lists = TemplateServiceStub(channel).ListTemplates
        lists(ListTemplatesRequest())
        with own.write() as connection:
            connection.execute(text("DROP TABLE templates"))
        with pytest.raises(grpc.RpcError):
            lists(ListTemplatesRequest(), metadata=tuple(sampled(trace).items()))
        call, statement = receiver.trace(trace, 2)
    assert_chain(call, statement)
    assert (call.is_error, call.attributes["error.type"]) == (True, "INTERNAL")
    assert (statement.is_error, statement.name) == (True, "SELECT templates")
    assert statement.attributes["error.type"] in {"OperationalError", "UndefinedTable"}
    failed = [line for line in log() if line["level"] == "error"]
    assert {line["trace_id"] for line in failed} == {trace}


def test_writes_that_are_stored_together_stay_in_their_own_traces(
    own: Database, receiver: Receiver, log: Log, kind: str
) -> None:
    traces = [secrets.token_hex(16) for _ in range(5)]
    with (
        running_app(own, traces=TraceExport(url=receiver.url)) as app,
        grpc.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        creates = AssignmentServiceStub(channel).CreateAssignment
        with locked(url_of(own)):
            calls = [
                creates.future(
                    CreateAssignmentRequest(**NEW_ASSIGNMENT), metadata=tuple(sampled(each).items())
                )
                for each in traces
            ]
            # The first one waits for the database, the others for that one.
            time.sleep(0.3)
        for each in calls:
            each.result()
        found = [served(receiver, each) for each in traces]
    for call, *statements in found:
        assert [each.name for each in statements].count("INSERT assignments") == 1
        assert {each.parent_id for each in statements} == {call.id}
    # They have the end of their transaction in common on SQLite alone.
    has_end = ["COMMIT" in {span.name for span in spans} for spans in found]
    assert all(has_end) == (kind == "postgresql")
    lines = [line["trace_id"] for line in log() if line["event"] == "call"]
    assert sorted(lines) == sorted(traces)


def test_a_call_whose_caller_goes_is_cancelled(
    own: Database, receiver: Receiver, trace: str
) -> None:
    with (
        running_app(own, traces=TraceExport(url=receiver.url)) as app,
        grpc.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        locked(url_of(own)),
    ):
        call = AssignmentServiceStub(channel).CreateAssignment.future(
            CreateAssignmentRequest(**NEW_ASSIGNMENT), metadata=tuple(sampled(trace).items())
        )
        time.sleep(0.3)
        call.cancel()
        call_span, *_ = served(receiver, trace)
    assert call_span.attributes["rpc.response.status_code"] == "CANCELLED"


# --- Other receivers ---


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_receiver_with_tls_that_knows_its_senders_gets_all_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trace: str, host: str
) -> None:
    servers, clients = trustme.CA(), trustme.CA()
    servers.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours = clients.issue_cert("worker@example.org")
    ours.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    servers.issue_cert(host).configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with receiving(tls=context) as receiver, migrated(f"sqlite:///{tmp_path}/own.db") as database:
        environment = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.url.replace("127.0.0.1", host),
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20%25b",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem"),
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(tmp_path / "own.pem"),
            # Of other programs on the machine.
            "REQUESTS_CA_BUNDLE": certifi.where(),
            "HTTPS_PROXY": "http://127.0.0.1:9",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        traces = trace_export.read(environment)
        assert traces is not None
        with traced(database, traces, tmp_path) as service:
            answer = service.rest.get("/api/v1/assignments", headers=sampled(trace))
            assert answer.status_code == 200
            wait_until(lambda: {span.service for span in receiver.spans} == SENDERS, 15)
    assert {headers["api-key"] for headers in receiver.headers} == {"a %b"}


@contextmanager
def hanging() -> Iterator[tuple[str, threading.Event]]:
    """Give the URL of a receiver that takes spans and never answers, and when it has some."""
    has_some = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connections.append(listener.accept()[0])
                    has_some.set()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces", has_some
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


def test_no_call_waits_for_a_receiver_that_hangs_nor_does_the_end(
    own: Database, tmp_path: Path
) -> None:
    with hanging() as (url, has_some), traced(own, TraceExport(url=url), tmp_path) as service:
        key = created(service.rest)
        assert has_some.wait(15)
        # It has not answered yet, and never will.
        for _ in range(100):
            assert service.rest.get(f"/api/v1/assignments/{key}").status_code == 200
        begun = time.monotonic()
        service.app.stop(5)
        # It would wait for ten seconds for the answer, and the last spans for as long again.
        assert time.monotonic() - begun < 8


def test_a_receiver_that_is_away_is_told_of_once_and_when_it_is_back(
    own: Database, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}/v1/traces"

    def told() -> list[str]:
        # Others may still have something to say of theirs.
        return [f"{line['level']}: {line['event']}" for line in log() if line.get("url") == url]

    with (
        running_app(own, traces=TraceExport(url=url)) as app,
        grpc.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        lists = AssignmentServiceStub(channel).ListAssignments

        def call_until(condition: Callable[[], bool]) -> None:
            wait_until(lambda: lists(ListAssignmentsRequest()) is None or condition(), 20, 0.05)

        call_until(lambda: len(told()) > 0)
        with receiving(503, port) as receiver:
            call_until(lambda: len(receiver.bodies) > 2)
            assert told() == ["warning: traces not sent"]
            receiver.status = 200
            call_until(lambda: len(told()) > 1)
    assert told() == ["warning: traces not sent", "info: traces sent again"]
