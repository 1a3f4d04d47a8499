"""Mistaken and hostile gRPC calls, through the gateway and past it: one row, one call."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from peermentor.v1.assignments_pb2 import (
    CreateAssignmentRequest,
    GetAssignmentRequest,
    ListAssignmentsRequest,
    UpdateLastContactRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.settings import Settings
from support.edges import MIB, edge_with
from support.factories import NEW_ASSIGNMENT
from support.gateways import native_address

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
INTERNALS = re.compile(r"envoy|upstream|psycopg|sqlite|Traceback|127\.0\.0\.1", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """A call as bytes, and the expected status."""

    name: str
    method: str
    message: bytes
    code: grpc.StatusCode
    compression: grpc.Compression = grpc.Compression.NoCompression


def create(**fields: str) -> bytes:
    return CreateAssignmentRequest(**NEW_ASSIGNMENT | fields).SerializeToString()


def contact(seconds: int, nanos: int = 0) -> bytes:
    request = UpdateLastContactRequest(assignment_id="asgn_001")
    request.contact_date.seconds, request.contact_date.nanos = seconds, nanos
    return request.SerializeToString()


GET = GetAssignmentRequest(assignment_id="asgn_001").SerializeToString()
LIST = ListAssignmentsRequest().SerializeToString()

ROWS = [
    Row("5 MB", "CreateAssignment", create(mentee_name="a" * 5 * MIB), EXHAUSTED),
    Row(
        "2 MB in a gzip of 2 KB",
        "CreateAssignment",
        create(mentee_name="a" * 2 * MIB),
        EXHAUSTED,
        grpc.Compression.Gzip,
    ),
    Row(
        "2 MB deflated",
        "CreateAssignment",
        create(mentee_name="a" * 2 * MIB),
        EXHAUSTED,
        grpc.Compression.Deflate,
    ),
    Row("name of 1,000,000 letters", "CreateAssignment", create(mentee_name="a" * 10**6), INVALID),
    Row("noise", "CreateAssignment", b"\xff" * 100, INVALID),
    Row("cut message", "GetAssignment", GET[:-1], INVALID),
    Row("length of 2^63", "GetAssignment", b"\x0a" + b"\xff" * 8 + b"\x7f", INVALID),
    Row("10,000 groups deep", "GetAssignment", b"\x7b" * 10_000, INVALID),
    Row(
        "10,000 groups deep, closed", "GetAssignment", b"\x7b" * 10_000 + b"\x7c" * 10_000, INVALID
    ),
    Row("invalid UTF-8", "GetAssignment", b"\x0a\x02\xff\xfe", INVALID),
    Row("surrogate in UTF-8", "GetAssignment", b"\x0a\x03\xed\xa0\x80", INVALID),
    Row("NUL in a text", "CreateAssignment", create(mentee_name="a\0b"), INVALID),
    Row("NUL in an id", "CreateAssignment", create(org_id="a\0b"), INVALID),
    Row("page of 2^40", "ListAssignments", b"\x30\x80\x80\x80\x80\x80\x20", INVALID),
    Row(
        "status of an unknown number",
        "UpdateAssignment",
        GET + b"\x10\x63",
        INVALID,
    ),
    Row("year 10000", "UpdateLastContact", contact(253402300800), INVALID),
    Row("year 0", "UpdateLastContact", contact(-62135596801), INVALID),
    Row("last second there is", "UpdateLastContact", contact(2**63 - 1), INVALID),
    Row("first second there is", "UpdateLastContact", contact(-(2**63)), INVALID),
    Row("negative nanoseconds", "UpdateLastContact", contact(1_700_000_000, -1), INVALID),
    Row("2^31-1 nanoseconds", "UpdateLastContact", contact(1_700_000_000, 2**31 - 1), INVALID),
    Row("unknown method", "DropTables", LIST, grpc.StatusCode.UNIMPLEMENTED),
    Row("id that climbs", "GetAssignment", b"\x0a\x0b../asgn_001", grpc.StatusCode.NOT_FOUND),
]

IDS = [each.name for each in ROWS]


@pytest.fixture(params=["by the port for REST", "by the port for gRPC", "directly"])
def target(request: pytest.FixtureRequest, rest: httpx.Client, settings: Settings) -> str:
    """The address to call: two of the gateway, and the server's own."""
    if request.param == "directly":
        return str(settings.grpc_address)
    return native_address(settings) if "gRPC" in request.param else address_of(rest)


def address_of(gateway: httpx.Client) -> str:
    return f"{gateway.base_url.host}:{gateway.base_url.port}"


@pytest.mark.parametrize("case", ROWS, ids=IDS)
def test_refusal(case: Row, target: str) -> None:
    with grpc.insecure_channel(target) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            send(channel, case)
        assert raised.value.code() is case.code, raised.value.details()
        assert not INTERNALS.search(raised.value.details() or "")
        assert (
            list(AssignmentServiceStub(channel).ListAssignments(ListAssignmentsRequest()).data)
            == []
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
        ("x-envoy-max-retries", "99"),
        ("x-envoy-retry-grpc-on", "internal"),
        ("x-envoy-original-method", "DELETE"),
        ("x-envoy-original-path", "/api/v1/assignments/asgn_001"),
        ("x-envoy-force-trace", "1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-request-id", "a" * 4000),
    ],
)
def test_harmless_metadata(name: str, value: str, target: str) -> None:
    with grpc.insecure_channel(target) as channel:
        call = AssignmentServiceStub(channel).ListAssignments
        assert list(call(ListAssignmentsRequest(), metadata=((name, value),)).data) == []


@pytest.mark.parametrize("method", ["GetAssignment", "CreateAssignment", "DeleteAssignment"])
@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\0\xffa", b"\0\0\0\0\0" * 2, b"\0\1\0\0\0"])
def test_what_is_no_whole_message_is_refused_at_once(
    rest: httpx.Client, method: str, sent: bytes
) -> None:
    """A worker would wait for the rest of it, and others for its place."""
    answer = rest.post(
        f"/peermentor.v1.AssignmentService/{method}",
        content=sent,
        headers={"content-type": "application/grpc-web+proto"},
        timeout=3,
    )
    assert answer.headers["grpc-status"] == str(INVALID.value[0])


def test_a_call_without_a_message_is_refused_at_once(
    rest: httpx.Client, settings: Settings
) -> None:
    for address in (address_of(rest), native_address(settings)):
        with grpc.insecure_channel(address) as channel:
            call: Any = channel.stream_unary("/peermentor.v1.AssignmentService/GetAssignment")
            with pytest.raises(grpc.RpcError) as raised:
                call(iter(()), timeout=3)
            assert raised.value.code() is INVALID
            assert raised.value.details() == "the request must be one whole message"


def test_a_caller_cannot_shorten_the_time_that_the_gateway_gives(
    rest: httpx.Client, settings: Settings
) -> None:
    """Past the gateway a caller may say how long it waits; it alone is the worse for it."""
    hurried = (("x-envoy-expected-rq-timeout-ms", "1"),)
    with grpc.insecure_channel(address_of(rest)) as channel:
        call = AssignmentServiceStub(channel).ListAssignments
        assert list(call(ListAssignmentsRequest(), metadata=hurried).data) == []
    with grpc.insecure_channel(str(settings.grpc_address)) as channel:
        call = AssignmentServiceStub(channel).ListAssignments
        with pytest.raises(grpc.RpcError) as raised:
            call(ListAssignmentsRequest(), metadata=hurried)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        (tuple((f"x-test-{number}", "1") for number in range(200)), grpc.StatusCode.INTERNAL),
        ((("x-test", "a" * 100_000),), grpc.StatusCode.UNAVAILABLE),
        ((("x_test", "1"),), grpc.StatusCode.INTERNAL),
    ],
    ids=["200 entries", "entry of 100 KB", "underscore"],
)
def test_metadata_that_the_gateway_refuses(
    metadata: tuple[tuple[str, str], ...], code: grpc.StatusCode, rest: httpx.Client
) -> None:
    with grpc.insecure_channel(address_of(rest)) as channel:
        call = AssignmentServiceStub(channel).ListAssignments
        with pytest.raises(grpc.RpcError) as raised:
            call(ListAssignmentsRequest(), metadata=metadata)
        # The gateway resets the stream, or the connection: there is no text but gRPC's own.
        assert raised.value.code() is code
        assert list(call(ListAssignmentsRequest()).data) == []


def test_gzip_bombs_leave_no_memory_behind(tmp_path: Path) -> None:
    """Each has 25 KB and unfolds to 25 MB."""
    bomb = Row(
        "",
        "CreateAssignment",
        create(mentee_name="a" * 25 * MIB),
        EXHAUSTED,
        grpc.Compression.Gzip,
    )
    with edge_with(tmp_path) as edge:
        for address in (edge.settings.grpc_address, edge.settings.rest_address):
            with grpc.insecure_channel(str(address)) as channel:
                before = edge.memory()
                for _ in range(2):
                    with pytest.raises(grpc.RpcError) as raised:
                        send(channel, bomb)
                    assert raised.value.code() is EXHAUSTED
            after = edge.memory()
            assert all(after[name] < before[name] + 30 for name in before), (before, after)
            assert edge.answers()


def send(channel: grpc.Channel, case: Row) -> bytes:
    """Send bytes as they are."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/peermentor.v1.AssignmentService/{case.method}"
    )
    return call(case.message, timeout=20, compression=case.compression)
