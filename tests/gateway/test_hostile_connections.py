"""Slow, idle and flooding callers, and a gateway that is short of connections or memory.

The gateway has shorter timeouts than in envoy.yaml here; all else is as it stands there.
"""

import http.client
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from peermentor.v1.assignments_pb2 import ListAssignmentsRequest
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.settings import Address, Settings
from support import openapi
from support.edges import MIB, Edge, edge_with, manager_of, monitors_of
from support.factories import NEW_TEMPLATE
from support.gateways import running_gateway
from support.http2 import (
    END_HEADERS,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    Kind,
    frame,
    get,
    header,
    send_until_cut,
    streams,
)
from support.ports import free_ports
from support.torture import either
from support.waiting import wait_until

A = "/api/v1/assignments"
T = "/api/v1/recurring-templates"
POST = f"POST {A} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
IDLE_CONNECTIONS = 5000


def shorten_timeouts(config: dict[str, Any]) -> None:
    manager = manager_of(config)
    common = manager["common_http_protocol_options"]
    for part, name, seconds, shortened in (
        (manager, "request_headers_timeout", "5s", "0.4s"),
        (manager, "request_timeout", "10s", "0.5s"),
        (manager, "stream_idle_timeout", "30s", "2s"),
        (common, "idle_timeout", "60s", "4s"),
    ):
        assert part[name] == seconds
        part[name] = shortened
    assert common["max_connection_duration"] == "600s"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A gateway with short timeouts."""
    with edge_with(tmp_path_factory.mktemp("edge"), shorten_timeouts) as each:
        yield each


# Slow callers -----------------------------------------------------------------------------

SLOW = {
    "headers never finished": (f"GET {A} HTTP/1.1\r\nHost: local".encode(), b""),
    "headers drop by drop": (f"GET {A} HTTP/1.1\r\nHost: localhost\r\nX: ".encode(), b"a"),
    "half a request line": (b"GET /api", b""),
    "body never sent": (POST + b"Content-Length: 100\r\n\r\n", b""),
    "body drop by drop": (POST + b"Content-Length: 1000\r\n\r\n{", b" "),
    "body without its end": (POST + b"Content-Length: 100\r\n\r\n{}", b""),
    "chunks never sent": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b""),
    "chunks without an end": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "body announced and never sent": (
        POST + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n",
        b"",
    ),
    "GET with a body never sent": (
        f"GET {A} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n".encode(),
        b"",
    ),
}


@pytest.mark.parametrize("case", SLOW)
def test_a_slow_request_is_answered_with_408(case: str, edge: Edge) -> None:
    beginning, drop = SLOW[case]
    with edge.connect() as connection:
        connection.sendall(beginning)
        connection.settimeout(0.05)
        answer = read_answer(connection, drop)
    assert answer.status_code == 408
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "code": 4,
        "message": "the request took too long to arrive",
        "details": [],
    }
    assert edge.answers()


def read_answer(connection: socket.socket, drop: bytes) -> httpx.Response:
    """Read one answer, and send `drop` again and again until it comes."""
    for _ in range(400):
        with suppress(TimeoutError):
            connection.recv(1, socket.MSG_PEEK)
            break
        connection.sendall(drop)
    else:
        raise AssertionError("no answer")
    connection.settimeout(10)
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    read = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
    openapi.check_refusal(read)
    return read


# Idle callers -----------------------------------------------------------------------------


@pytest.fixture
def many_files() -> Iterator[int]:
    """Let this process open as many files as it may; gives how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_5000_idle_connections_shut_nobody_out_and_are_closed(edge: Edge, many_files: int) -> None:
    # The gateway inherits this limit. Where it is low, as many as fit.
    count = min(IDLE_CONNECTIONS, many_files - 500)
    assert count >= 500, f"only {many_files} files may be open"
    before = edge.in_use()
    with ExitStack() as stack:
        idle = [stack.enter_context(edge.connect()) for _ in range(count)]
        wait_until(lambda: edge.stat("http.rest.downstream_cx_active") >= count, 10)
        assert edge.answers()
        taken = edge.in_use() - before
        wait_until(lambda: edge.stat("http.rest.downstream_cx_active") <= 1, 30)
        for each in idle:
            assert each.recv(1) == b""
    assert taken / count < 32 * 1024
    wait_until(lambda: edge.in_use() - before < taken / 4 + MIB, 20)
    assert edge.answers()


def test_beyond_its_limit_of_connections_the_gateway_closes_new_ones(tmp_path: Path) -> None:
    def allow_ten(config: dict[str, Any]) -> None:
        (monitor,) = monitors_of(config, "global_downstream_max_connections")
        monitor["max_active_downstream_connections"] = 10

    with edge_with(tmp_path, allow_ten) as edge, ExitStack() as stack:
        callers = [stack.enter_context(edge.connect()) for _ in range(30)]
        # The client of `edge` has one of the ten.
        wait_until(lambda: sum(map(is_closed, callers)) == 21, 10)
        assert edge.rest.get(A).status_code == 200
        for caller in callers:
            caller.close()
        wait_until(lambda: edge.stat("http.rest.downstream_cx_active") == 1, 10)
        assert edge.answers()


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


# Floods of HTTP/2 frames ------------------------------------------------------------------

FLOOD = int(either(20_000, 200_000))
REQUEST = get(A)
UPLOAD = REQUEST.replace(b"GET", b"PUT").replace(header(":path", A), header(":path", f"{A}/1"))
CANCEL = (8).to_bytes(4, "big")


def resets() -> Iterator[bytes]:
    for stream in streams():
        yield (
            frame(Kind.HEADERS, REQUEST, stream=stream, flags=END_HEADERS | END_STREAM)
            + frame(Kind.RST_STREAM, CANCEL, stream=stream)
        )


def resets_of_uploads() -> Iterator[bytes]:
    for stream in streams():
        yield (
            frame(Kind.HEADERS, UPLOAD, stream=stream, flags=END_HEADERS)
            + frame(Kind.RST_STREAM, CANCEL, stream=stream)
        )


def mistakes() -> Iterator[bytes]:
    """Make the gateway reset the streams itself: a window must not grow by 0."""
    for stream in streams():
        yield (
            frame(Kind.HEADERS, UPLOAD, stream=stream, flags=END_HEADERS)
            + frame(Kind.WINDOW_UPDATE, bytes(4), stream=stream)
        )


def headers_without_end() -> Iterator[bytes]:
    yield frame(Kind.HEADERS, REQUEST, stream=1)
    yield from repeat(frame(Kind.CONTINUATION, header("x-test", "a" * 1000), stream=1))


def empty_headers_without_end() -> Iterator[bytes]:
    yield frame(Kind.HEADERS, REQUEST, stream=1)
    yield from repeat(frame(Kind.CONTINUATION, stream=1))


def empty_bodies() -> Iterator[bytes]:
    yield frame(Kind.HEADERS, UPLOAD, stream=1, flags=END_HEADERS)
    yield from repeat(frame(Kind.DATA, stream=1))


def compressed_headers() -> Iterator[bytes]:
    """Name a header of 3,900 bytes 8,000 times over: 31 MB in each request of 8 KB."""
    stored = b"\x40" + header("x-test", "a" * 3900)[1:]
    for stream in streams():
        block = REQUEST + (stored if stream == 1 else b"") + b"\xbe" * 8000
        yield frame(Kind.HEADERS, block, stream=stream, flags=END_HEADERS | END_STREAM)


FLOODS: dict[str, Iterable[bytes]] = {
    "resets": resets(),
    "resets of uploads": resets_of_uploads(),
    "mistakes that are answered with resets": mistakes(),
    # A hundred at a time: the answers must be more than what the sockets hold.
    "pings": repeat(frame(Kind.PING, bytes(8)) * 100),
    "settings": repeat(frame(Kind.SETTINGS) * 100),
    "priorities": repeat(frame(Kind.PRIORITY, bytes(4) + b"\x10", stream=1)),
    "windows": repeat(frame(Kind.WINDOW_UPDATE, b"\0\0\0\1")),
    "headers without end": headers_without_end(),
    "empty headers without end": empty_headers_without_end(),
    "empty bodies": empty_bodies(),
    "compressed headers": islice(compressed_headers(), FLOOD // 50),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_its_connection_and_no_other(flood: str, edge: Edge) -> None:
    taken_up = edge.stat("http.rest.downstream_rq_http2_total")
    with edge.connect() as another:
        assert send_until_cut(edge.settings.rest_address, islice(FLOODS[flood], FLOOD)) is not None
        another.sendall(f"GET {A} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert read_answer(another, b"").status_code == 200
    assert edge.answers()
    # Of the requests of a flood only the first few reach the filters, or none.
    assert edge.stat("http.rest.downstream_rq_http2_total") - taken_up < 1000


# Short of memory --------------------------------------------------------------------------


def leaving(size: int) -> Callable[[dict[str, Any]], None]:
    """Return what lets the gateway have so many bytes of memory."""

    def change(config: dict[str, Any]) -> None:
        (monitor,) = monitors_of(config, "fixed_heap")
        monitor["max_heap_size_bytes"] = size

    return change


def test_callers_who_do_not_read_their_answers_soon_lose_them(tmp_path: Path) -> None:
    """Otherwise they would shut everybody out until their connections have been idle."""
    large = NEW_TEMPLATE | {
        "notes_template": "🧑" * 5000,
        "mentor_ids": [f"{number:0128d}" for number in range(100)],
    }
    with edge_with(tmp_path, leaving(32 * MIB)) as edge, ExitStack() as stack:
        for _ in range(100):
            edge.rest.post(T, json=large).raise_for_status()
        # 3.3 MB: what the sockets do not hold stays with the gateway.
        page = f"GET {T}?limit=100 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

        def ten_more_are_too_many() -> bool:
            for _ in range(10):
                caller = stack.enter_context(edge.connect(receive_bytes=4096))
                caller.sendall(page)
            time.sleep(0.5)  # the server is slower
            # Nobody has been idle yet for the minute that callers have otherwise.
            return edge.stat("http.rest.downstream_cx_idle_timeout") > 0

        wait_until(ten_more_are_too_many, 40)
        wait_until(edge.answers, 20)


def test_callers_who_do_not_read_many_smaller_answers_lose_them_too(tmp_path: Path) -> None:
    with edge_with(tmp_path, leaving(128 * MIB)) as edge, ExitStack() as stack:
        for _ in range(20):
            edge.rest.post(T, json=NEW_TEMPLATE | {"notes_template": "x" * 5000}).raise_for_status()
        # Each answer has 0.1 MB, of which no byte may be sent, and takes some more of memory.
        window = struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)
        for _ in range(4):
            caller = stack.enter_context(edge.connect())
            caller.sendall(PREFACE + frame(Kind.SETTINGS, window))
            for stream in islice(streams(), 100):
                caller.sendall(
                    frame(Kind.HEADERS, get(T), stream=stream, flags=END_HEADERS | END_STREAM)
                )
                time.sleep(0.01)  # as slowly as the memory of a real gateway fills
        assert edge.stat("envoy.overload_actions.reset_high_memory_stream.count") > 0
        wait_until(edge.answers, 60)


def test_without_memory_requests_are_refused_in_the_error_shape(tmp_path: Path) -> None:
    address, grpc_address, admin_address = (Address("127.0.0.1", port) for port in free_ports(3))
    settings = Settings(
        rest_address=address, grpc_address=grpc_address, admin_address=admin_address
    )
    with running_gateway(settings, tmp_path, leaving(1)) as rest:
        wait_until(lambda: rest.get("/").status_code == 503, 10)
        answer = rest.get(A)
        with grpc.insecure_channel(str(address)) as channel:
            call = AssignmentServiceStub(channel).ListAssignments
            with pytest.raises(grpc.RpcError) as raised:
                call(ListAssignmentsRequest(), timeout=10)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"code": 14, "message": "the service does not answer", "details": []}
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert raised.value.details() == "the service does not answer"
