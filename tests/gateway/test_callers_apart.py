"""What one gRPC caller does, no other one notices: each has a connection of its own here.

Behind the gateway all of them share a connection to the worker, and the worker's threads.
"""

import base64
import time
from collections.abc import Iterator
from contextlib import ExitStack
from queue import Queue
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from peermentor.v1.assignments_pb2 import GetAssignmentRequest, ListAssignmentsRequest
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import ListTemplatesRequest
from support.edges import Edge, edge_with
from support.factories import NEW_TEMPLATE
from support.gateways import native_address
from support.http2 import (
    LARGEST_WINDOW,
    Caller,
    Entries,
    block,
    get,
    grpc_headers,
    grpc_message,
)
from support.waiting import wait_until

LIST = "/peermentor.v1.AssignmentService/ListAssignments"
TEMPLATES = "/peermentor.v1.TemplateService/ListTemplates"
WATCH = "/grpc.health.v1.Health/Watch"
T = "/api/v1/recurring-templates"
# Until the whole request has come.
PATIENCE_S = 1.0


def lose_patience_soon(config: dict[str, Any]) -> None:
    for listener in config["static_resources"]["listeners"]:
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        assert manager["request_timeout"] == "10s"
        manager["request_timeout"] = f"{PATIENCE_S}s"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A gateway that does not wait for long, in front of a worker."""
    with edge_with(tmp_path_factory.mktemp("edge"), lose_patience_soon) as each:
        yield each


@pytest.fixture(scope="module")
def ports(edge: Edge) -> dict[str, str]:
    """Where the gateway takes gRPC."""
    return {"rest": str(edge.settings.rest_address), "grpc": native_address(edge.settings)}


@pytest.fixture(params=["rest", "grpc"])
def port(request: pytest.FixtureRequest, ports: dict[str, str]) -> str:
    """Each of both."""
    return ports[request.param]


def assert_others_are_served(edge: Edge, ports: dict[str, str]) -> None:
    for target in ports.values():
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(target, options) as channel:
            stub = AssignmentServiceStub(channel)
            for _ in range(2):
                # Most have a deadline, and other headers that the bad one may have had.
                stub.ListAssignments(ListAssignmentsRequest(), timeout=5)
    assert edge.answers()


# Headers ----------------------------------------------------------------------------------

# An entry of the table of headers is remembered with its fault.
ODD: dict[str, Entries] = {
    **{
        f"grpc-timeout {value!r}": [("grpc-timeout", value)]
        for value in ("1", "1.5S", "-1S", "123456789S", "", "1 S", "soon", "1s", "0x1S", b"\xff")
    },
    "two timeouts": [("grpc-timeout", "1S"), ("grpc-timeout", "2S")],
    **{f"te {value!r}": [("te", value)] for value in ("gzip", "", "trailers, gzip")},
    **{
        f"grpc-encoding {value!r}": [("grpc-encoding", value)]
        for value in ("bogus", "", "gzip, gzip", "GZIP", b"\xff")
    },
    "two encodings": [("grpc-encoding", "gzip"), ("grpc-encoding", "deflate")],
    "accepted encodings": [("grpc-accept-encoding", "bogus,,")],
    "accepted encodings of odd bytes": [("grpc-accept-encoding", b"\xff\xfe")],
    **{
        f"{name} that is no base64": [(name, "!!!")]
        for name in (
            "x-test-bin",
            "grpc-trace-bin",
            "grpc-tags-bin",
            "grpc-status-details-bin",
            "grpc-server-stats-bin",
            "lb-cost-bin",
            "endpoint-load-metrics-bin",
        )
    },
    "half of base64": [("x-test-bin", "a")],
    "base64, then none": [("x-test-bin", "AAAA,!!")],
    **{
        f"{name} that is none": [(name, "x")]
        for name in (
            "grpc-previous-rpc-attempts",
            "grpc-retry-pushback-ms",
            "grpc-status",
            "grpc-internal-encoding-request",
            "lb-token",
            "content-length",
        )
    },
    "message of an answer": [("grpc-message", "%zz")],
    **{
        f"content type {value!r}": [("content-type", value)]
        for value in ("application/grpc+json", "application/grpc;x=y", "application/grpcx", "x", "")
    },
    **{f"host {value!r}": [(":authority", value)] for value in ("", "a b", "a,b", b"\xff", "x:y")},
    **{f"scheme {value!r}": [(":scheme", value)] for value in ("ftp", "https", "")},
    **{f"method {value!r}": [(":method", value)] for value in ("PUT", "FOO", "")},
    **{
        f"path {value!r}": [(":path", value)]
        for value in ("/x", "/é.b/c", "", "/a.b/c?d", "/a.b/" + "c" * 9000)
    },
    "bytes beyond ASCII": [("x-test", b"\xff\xfe")],
    "control character": [("x-test", b"a\x01b")],
    "request id beyond ASCII": [("x-request-id", b"\xff")],
    "authorization beyond ASCII": [("authorization", b"\xff\x80")],
    "user agent beyond ASCII": [("user-agent", b"\xff")],
    "letters in upper case": [("X-Test", "a")],
    "space in a name": [("x test", "a")],
    "no name": [("", "a")],
    "odd but allowed name": [("x!#$%&'*+^`|~", "a")],
    "header of a connection": [("connection", "close")],
    "upgrade": [("upgrade", "h2c")],
    "8 KB of metadata": [("authorization", "a" * 8000)],
    "60 headers": [(f"x-test-{number}", "a") for number in range(50)],
}


@pytest.mark.parametrize("case", ODD)
def test_no_other_caller_notices_an_odd_header(
    case: str, port: str, edge: Edge, ports: dict[str, str]
) -> None:
    for _ in range(2):
        with Caller(port) as caller:
            stream = caller.call(grpc_headers(LIST, *ODD[case]), grpc_message())
            caller.wait_for_end(stream)
    assert_others_are_served(edge, ports)


@pytest.mark.parametrize(
    "trailer",
    [("grpc-timeout", "1"), ("te", "gzip"), ("grpc-encoding", "bogus"), ("x-test-bin", "!!")],
)
def test_no_other_caller_notices_an_odd_trailer(
    trailer: tuple[str, str], port: str, edge: Edge, ports: dict[str, str]
) -> None:
    with Caller(port) as caller:
        for _ in range(2):
            stream = caller.call(grpc_headers(LIST), grpc_message(), block([trailer]))
            caller.wait_for_end(stream)
    assert_others_are_served(edge, ports)


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc-web+proto"])
@pytest.mark.parametrize(
    ("header", "status", "reason"),
    [
        ({"grpc-timeout": "1"}, "3", "MALFORMED_REQUEST"),
        ({"grpc-timeout": "1.5S"}, "3", "MALFORMED_REQUEST"),
        ({"grpc-timeout": "123456789S"}, "3", "MALFORMED_REQUEST"),
        ({"grpc-encoding": "bogus"}, "12", None),
    ],
)
def test_what_grpc_could_not_read_is_refused_and_named(
    content_type: str, header: dict[str, str], status: str, reason: str | None, edge: Edge
) -> None:
    answer = edge.rest.post(
        LIST, headers={"content-type": content_type} | header, content=grpc_message()
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/grpc")
    assert answer.headers["grpc-status"] == status
    assert answer.headers["grpc-message"].startswith(f"{next(iter(header))}: must be ")
    if reason is not None:
        info = ErrorInfo()
        details = answer.headers["grpc-status-details-bin"]
        assert Status.FromString(decode(details)).details[0].Unpack(info)
        assert (info.reason, info.domain) == (reason, "peermentor")
    else:
        assert answer.headers["grpc-accept-encoding"] == "identity, deflate, gzip"


def decode(header: str) -> bytes:
    return base64.b64decode(header + "=" * (-len(header) % 4))


@pytest.mark.parametrize("value", ["1H", "99999999S", "5S", "5000m", "0n", "00000001M"])
def test_every_timeout_that_grpc_knows_is_taken(value: str, edge: Edge) -> None:
    headers = {"content-type": "application/grpc-web+proto", "grpc-timeout": value}
    answer = edge.rest.post(LIST, headers=headers, content=grpc_message())
    assert b"grpc-status:0" in answer.content or value == "0n"
    assert answer.headers.get("grpc-status") != "3"


def test_what_is_no_grpc_is_told_so(edge: Edge, ports: dict[str, str]) -> None:
    with Caller(ports["grpc"]) as caller:
        headers = grpc_headers(LIST, ("content-type", "text/plain"))
        caller.wait_for_end(caller.call(headers, grpc_message()))
    assert edge.stat("http.grpc.downstream_rq_4xx") > 0


# Requests without an end ------------------------------------------------------------------

MANY = 40


def test_requests_that_never_end_hold_no_worker(
    port: str, edge: Edge, ports: dict[str, str]
) -> None:
    with ExitStack() as stack:
        callers = [stack.enter_context(Caller(port)) for _ in range(MANY)]
        message = grpc_message(GetAssignmentRequest(assignment_id="a" * 50).SerializeToString())
        begun = [each.call(grpc_headers(LIST), message[:20], ends=False) for each in callers]
        assert edge.stat("cluster.peermentor.upstream_rq_active") == 0
        assert_others_are_served(edge, ports)
        for caller, stream in zip(callers, begun, strict=True):
            caller.wait_for_end(stream)


def test_who_does_not_end_a_request_is_told_that_it_took_too_long(edge: Edge) -> None:
    with edge.connect() as connection:
        connection.sendall(
            f"POST {LIST} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/grpc-web+proto"
            "\r\nContent-Length: 5\r\n\r\n".encode()
        )
        answer = connection.recv(65536)
    assert b" 200 OK" in answer
    assert b"grpc-status: 4\r\n" in answer
    assert b"the request took too long to arrive" in answer


def test_a_message_that_is_too_large_is_refused_before_a_worker(edge: Edge) -> None:
    headers = {"content-type": "application/grpc-web+proto"}
    answer = edge.rest.post(LIST, headers=headers, content=grpc_message(bytes(2**20 + 1)))
    assert answer.headers["grpc-status"] == "8"


# Streams ----------------------------------------------------------------------------------


def test_streams_take_nothing_from_calls(edge: Edge, ports: dict[str, str]) -> None:
    watching = [*[("grpc", WATCH)] * MANY, *[("rest", WATCH)] * MANY]
    with ExitStack() as stack:
        for port, method in watching:
            stack.enter_context(Caller(ports[port])).call(grpc_headers(method), grpc_message())
        wait_until(lambda: edge.stat("cluster.streams.upstream_rq_active") == 2 * MANY, 10)
        assert edge.stat("cluster.peermentor.upstream_rq_active") == 0
        assert_others_are_served(edge, ports)


def test_streams_are_not_held_back(port: str) -> None:
    """A watch tells at once, and reflection answers each question of a stream that goes on."""
    with grpc.insecure_channel(port) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(HealthCheckRequest(), timeout=10)
        assert next(watch).status == 1
        questions: Queue[reflection_pb2.ServerReflectionRequest] = Queue()
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = stub.ServerReflectionInfo(iter(questions.get, None), timeout=10)
        for _ in range(3):
            questions.put(reflection_pb2.ServerReflectionRequest(list_services=""))
            assert next(answers).list_services_response.service
        answers.cancel()
        watch.cancel()


# Slow readers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_page(edge: Edge) -> bytes:
    """A request whose answer has more than 3 MB."""
    large = NEW_TEMPLATE | {
        "notes_template": "🧑" * 5000,
        "mentor_ids": [f"{number:0128d}" for number in range(100)],
    }
    for _ in range(100):
        edge.rest.post(T, json=large).raise_for_status()
    return grpc_message(ListTemplatesRequest(limit=100).SerializeToString())


def idle_upstream(edge: Edge) -> bool:
    return edge.stat("cluster.peermentor.upstream_rq_active") == 0


def test_who_does_not_read_the_answer_holds_no_call(
    port: str, edge: Edge, ports: dict[str, str], large_page: bytes
) -> None:
    made = edge.stat("cluster.peermentor.upstream_rq_total")
    with ExitStack() as stack:
        for _ in range(30):
            caller = stack.enter_context(Caller(port, reads=False))
            caller.call(grpc_headers(TEMPLATES), large_page)
        # The worker has to make all of them.
        wait_until(lambda: edge.stat("cluster.peermentor.upstream_rq_total") >= made + 30, 30)
        wait_until(lambda: idle_upstream(edge), 60)
        assert_others_are_served(edge, ports)


@pytest.mark.parametrize(
    ("port_of", "over"), [("grpc", "gRPC"), ("rest", "gRPC"), ("rest", "REST")]
)
def test_nor_do_many_answers_on_a_connection_hold_others_up(
    port_of: str, over: str, edge: Edge, ports: dict[str, str], large_page: bytes
) -> None:
    """These fill all that lies between a worker and a caller, whose windows are wide open."""
    headers, data = (
        (grpc_headers(TEMPLATES), large_page) if over == "gRPC" else (get(f"{T}?limit=100"), b"")
    )
    made = edge.stat("cluster.peermentor.upstream_rq_total")
    with ExitStack() as stack:
        for _ in range(2):
            caller = Caller(ports[port_of], reads=False, window=LARGEST_WINDOW)
            stack.enter_context(caller)
            for _ in range(20):
                caller.call(headers, data)
        wait_until(lambda: edge.stat("cluster.peermentor.upstream_rq_total") >= made + 40, 30)
        time.sleep(2)  # Something waits by then, if anything does.
        assert_others_are_served(edge, ports)
