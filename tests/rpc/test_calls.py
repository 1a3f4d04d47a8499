"""What surrounds every call: request ids, access lines, errors without internals, reflection."""

import asyncio
import io
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from grpc_status import rpc_status

from peermentor.v1.assignments_pb2 import GetAssignmentRequest, ListAssignmentsRequest
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.access.gate import Open
from peermentor_server.access.permissions import Requirement
from peermentor_server.rpc.app import SERVICES
from peermentor_server.rpc.calls import Calls
from peermentor_server.rpc.lanes import MAX_CALLS, Lane
from peermentor_server.rpc.stalls import StallWatch
from peermentor_server.rules.errors import (
    AssignmentNotFound,
    DatabaseUnavailable,
    InternalFault,
)
from peermentor_server.rules.principals import Permission
from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.driver_errors import DriverError
from peermentor_server.telemetry import logs
from peermentor_server.timing import USUAL, Timing
from support.factories import NEW_ASSIGNMENT, new_assignment
from support.moves import Moves
from support.names import FULL_NAME, assert_no_name_in
from support.waiting import wait_until

THREADS = 2
TELLTALE = "Bjørn Solberg, +47 000 00 000"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

Log = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Returns the lines of the log so far, written as they are in production."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    before = structlog.get_config()
    logs.configure("info", "json")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    structlog.configure(**before)


def _no_change(data: bytes) -> bytes:
    return data


@contextmanager
def _serving(
    behaviour: Callable[[bytes, grpc.ServicerContext], bytes],
    read: Callable[[bytes], Any] = _no_change,
    timing: Timing = USUAL,
) -> Iterator[grpc.Channel]:
    """Serve one method, peermentor.v1.Small/Call, as the service's own are served."""
    handler: Any = grpc.unary_unary_rpc_method_handler(behaviour, request_deserializer=read)
    lane = Lane("small", THREADS)
    started: Future[int] = Future()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        server = grpc.aio.server()
        required = {"/peermentor.v1.Small/Call": Requirement(Permission.READ, "")}
        calls = Calls(Open(), required, lambda *_: lane, StallWatch(), timing)
        call = calls.surrounded("/peermentor.v1.Small/Call", handler)
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("peermentor.v1.Small", {"Call": call})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        started.set_result(port)
        await stopping.wait()
        await server.stop(None)

    with ThreadPoolExecutor(1) as pool, asyncio.Runner(loop_factory=lambda: loop) as runner:
        serving = pool.submit(runner.run, serve())
        try:
            with grpc.insecure_channel(f"127.0.0.1:{started.result(timeout=5)}") as channel:
                yield channel
        finally:
            loop.call_soon_threadsafe(stopping.set)
            serving.result(timeout=10)
            lane.close()


def _raising(error: Exception) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def behaviour(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        raise error

    return behaviour


def _call(channel: grpc.Channel, *metadata: tuple[str, str | bytes]) -> tuple[Any, str]:
    """Call, and return the error, if any, with the request id of the trailing metadata."""
    method: Any = channel.unary_unary("/peermentor.v1.Small/Call")
    try:
        _, call = method.with_call(b"", metadata=metadata, timeout=5)
        error = None
    except grpc.RpcError as raised:
        call = error = raised
    trailing = dict(call.trailing_metadata() or ())
    return error, str(trailing["x-request-id"])


def _info(error: grpc.RpcError) -> ErrorInfo:
    status = rpc_status.from_call(error)
    assert status is not None
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


# --- Errors ---


def test_an_unexpected_error_shows_only_a_request_id(log: Log) -> None:
    with _serving(_raising(ZeroDivisionError(TELLTALE))) as channel:
        error, request_id = _call(channel)
    assert error.code() == grpc.StatusCode.INTERNAL
    assert error.details() == "internal error"
    assert TELLTALE.encode() not in _all_bytes(error)
    assert b"ZeroDivisionError" not in _all_bytes(error)
    info = _info(error)
    assert (info.reason, info.domain) == ("INTERNAL", "peermentor")
    assert dict(info.metadata) == {"request_id": request_id}
    failure, access = log()
    assert failure["request_id"] == access["request_id"] == request_id
    assert TELLTALE in failure["exception"]
    assert access["diagnosis"] == "ZeroDivisionError"


def _all_bytes(error: Any) -> bytes:
    """Return everything that reached the caller."""
    values = [value for _, value in error.trailing_metadata()]
    values += [value for _, value in error.initial_metadata()]
    values.append(error.details())
    return b"".join(value if isinstance(value, bytes) else value.encode() for value in values)


def test_a_fault_of_the_database_shows_only_a_request_id(log: Log) -> None:
    with _serving(_raising(InternalFault("UniqueViolation 23505"))) as channel:
        error, request_id = _call(channel)
    assert error.code() == grpc.StatusCode.INTERNAL
    assert b"Unique" not in _all_bytes(error)
    assert dict(_info(error).metadata) == {"request_id": request_id}
    [access] = log()
    assert access["diagnosis"] == "UniqueViolation 23505"


def test_an_outage_names_its_cause_in_the_log_alone(log: Log) -> None:
    outage = DatabaseUnavailable()
    outage.__cause__ = DriverError("OperationalError: connection to server failed")
    with _serving(_raising(outage)) as channel:
        error, _ = _call(channel)
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert b"OperationalError" not in _all_bytes(error)
    [access] = log()
    assert access["cause"] == "OperationalError: connection to server failed"


def test_errors_of_callers_need_no_request_id_in_their_details() -> None:
    with _serving(_raising(AssignmentNotFound())) as channel:
        error, _ = _call(channel)
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert dict(_info(error).metadata) == {}


def test_bytes_that_are_no_message_are_the_callers_error(log: Log) -> None:
    with _serving(lambda _request, _context: b"", read=_refuse_to_read) as channel:
        error, request_id = _call(channel)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert _info(error).reason == "MALFORMED_REQUEST"
    assert TELLTALE.encode() not in _all_bytes(error)
    [access] = log()
    assert (access["code"], access["request_id"]) == ("INVALID_ARGUMENT", request_id)


def _refuse_to_read(_data: bytes) -> Any:
    raise ValueError(TELLTALE)


# --- Deadlines and repetition ---


def _failing_first(*errors: Exception) -> tuple[Callable[..., bytes], list[float]]:
    """Return a method that raises these errors one by one before it answers, and its moments."""
    waiting = list(errors)
    moments: list[float] = []

    def behaviour(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        moments.append(time.monotonic())
        if waiting:
            raise waiting.pop(0)
        return b""

    return behaviour, moments


def test_a_call_that_was_certainly_not_stored_is_run_again(log: Log) -> None:
    behaviour, moments = _failing_first(*[DatabaseUnavailable(passing=True) for _ in range(3)])
    moves = Moves()
    with _serving(behaviour) as channel:
        error, _ = _call(channel)
    assert error is None
    assert len(moments) == 4
    # With pauses in between.
    assert moments[-1] - moments[0] >= 0.025 + 0.05 + 0.1
    [access] = log()
    assert (access["code"], access["attempts"]) == ("OK", 4)
    assert moves.of("peermentor_retries_total") == 3


@pytest.mark.parametrize(
    "error",
    [DatabaseUnavailable(), DatabaseUnavailable(passing=True, unknown_outcome=True)],
    ids=["lasting", "unknown"],
)
def test_a_call_is_not_run_again_when_that_helps_nobody_or_may_harm(error: Exception) -> None:
    behaviour, moments = _failing_first(error)
    with _serving(behaviour) as channel:
        raised, _ = _call(channel)
    assert raised.code() is grpc.StatusCode.UNAVAILABLE
    assert len(moments) == 1


def test_a_call_is_run_again_for_a_limited_time() -> None:
    failing = _raising(DatabaseUnavailable(passing=True))
    with _serving(failing, timing=Timing(call_s=0.5)) as channel:
        error, _ = _call(channel)
    # After its own time, not after the caller's.
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_a_call_whose_caller_has_gone_is_not_run_again() -> None:
    behaviour, moments = _failing_first(*[DatabaseUnavailable(passing=True) for _ in range(100)])
    moves = Moves()
    with _serving(behaviour) as channel:
        method: Any = channel.unary_unary("/peermentor.v1.Small/Call")
        call = method.future(b"", timeout=5)
        wait_until(lambda: len(moments) > 0, 5)
        call.cancel()
        time.sleep(0.7)
        made = len(moments)
        time.sleep(1)
    assert len(moments) == made
    # It waited once more, and then did not run.
    assert moves.of("peermentor_retries_total") == made - 1
    # The name of the code is that of go-grpc-prometheus, with one l.
    assert moves.of("grpc_server_handled_total", grpc_code="Canceled") == 1


def _deadline(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    return str(deadlines.remaining()).encode()


@pytest.mark.parametrize(("timeout", "most"), [(None, 3.5), (60, 3.5), (1.5, 1.5)])
def test_a_call_has_as_long_as_its_caller_waits_and_never_long(
    timeout: float | None, most: float
) -> None:
    with _serving(_deadline) as channel:
        method: Any = channel.unary_unary("/peermentor.v1.Small/Call")
        left = float(method(b"", timeout=timeout))
    # grpc rounds deadlines up.
    assert most - 1.4 < left <= most + 0.1


@pytest.mark.parametrize("timeout", [None, 0.4])
def test_a_call_whose_deadline_has_passed_is_not_started(log: Log, timeout: float | None) -> None:
    end = threading.Event()
    started: list[bytes] = []

    def behaviour(request: bytes, _context: grpc.ServicerContext) -> bytes:
        started.append(request)
        end.wait(10)
        return b""

    with _serving(behaviour, timing=Timing(call_s=0.5)) as channel:
        method: Any = channel.unary_unary("/peermentor.v1.Small/Call")
        running = [method.future(b"running", timeout=10) for _ in range(THREADS)]
        wait_until(lambda: len(started) == THREADS, 5)
        late = [method.future(b"late", timeout=timeout) for _ in range(5)]
        refused = [call.exception(timeout=5) for call in late]
        # Callers have begun to count before the server has.
        time.sleep(0.3)
        end.set()
        for call in running:
            call.result(timeout=5)
        # After all those that waited for a thread.
        method(b"next", timeout=5)
    assert started == [b"running", b"running", b"next"]
    if timeout is None:
        assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert {_info(error).reason for error in refused} == {"OVERLOADED"}
        lines = [line for line in log() if line["code"] == "RESOURCE_EXHAUSTED"]
        assert all(line["duration_ms"] > 300 for line in lines)
        assert len(lines) == 5
    else:
        # Whether they say so themselves or are told.
        assert {error.code() for error in refused} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        lines = [line for line in log() if line["code"] != "OK"]
        assert {line["reason"] for line in lines} <= {"DEADLINE_EXCEEDED"}


def test_a_caller_who_is_told_late_hears_of_the_own_deadline(log: Log) -> None:
    def behaviour(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        time.sleep(0.3)
        raise DatabaseUnavailable from TimeoutError("lock")

    with _serving(behaviour) as channel:
        method: Any = channel.unary_unary("/peermentor.v1.Small/Call")
        with pytest.raises(grpc.RpcError) as raised:
            method(b"", timeout=0.2)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: len(log()) == 1, 5)
    (line,) = log()
    assert (line["code"], line["reason"]) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert line["cause"] == "lock"


@pytest.mark.parametrize(
    ("patience_ms", "most"),
    [
        ("4500", 3.5),
        ("3000", 2.0),
        ("1200", 0.2),
        ("later", 3.5),
        ("9" * 400, 3.5),
        ("9" * 5000, 3.5),
    ],
)
def test_a_call_ends_a_second_before_the_gateway_gives_up(patience_ms: str, most: float) -> None:
    with _serving(_deadline) as channel:
        method: Any = channel.unary_unary("/peermentor.v1.Small/Call")
        metadata = (("x-envoy-expected-rq-timeout-ms", patience_ms),)
        left = float(method(b"", metadata=metadata))
    assert left <= most


def test_a_call_that_the_gateway_gives_up_at_once_is_not_begun() -> None:
    behaviour, moments = _failing_first()
    with _serving(behaviour) as channel:
        error, _ = _call(channel, ("x-envoy-expected-rq-timeout-ms", "900"))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert moments == []


# --- Request ids ---


@pytest.mark.parametrize("given", ["order-66", "a", "x" * 64, "two words", "~!@#$%^&*()"])
def test_a_request_id_of_the_caller_is_used(log: Log, given: str) -> None:
    with _serving(lambda _request, _context: b"") as channel:
        error, request_id = _call(channel, ("x-request-id", given))
    assert error is None
    assert request_id == given
    [access] = log()
    assert access["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "x" * 4000])
def test_a_request_id_that_cannot_stand_in_a_log_is_replaced(log: Log, given: str) -> None:
    with _serving(lambda _request, _context: b"") as channel:
        _, request_id = _call(channel, ("x-request-id", given))
    _assert_is_new(request_id)
    [access] = log()
    assert access["request_id"] == request_id


def _assert_is_new(request_id: str) -> None:
    assert re.fullmatch(UUID, request_id)


def test_a_call_without_a_request_id_gets_one_of_its_own() -> None:
    with _serving(lambda _request, _context: b"") as channel:
        ids = {_call(channel)[1] for _ in range(10)}
    assert len(ids) == 10
    for request_id in ids:
        _assert_is_new(request_id)


def test_an_unexpected_error_goes_by_the_request_id_of_the_caller(log: Log) -> None:
    with _serving(_raising(ZeroDivisionError())) as channel:
        error, request_id = _call(channel, ("x-request-id", "order-66"))
    assert request_id == _info(error).metadata["request_id"] == "order-66"
    assert {line["request_id"] for line in log()} == {"order-66"}


# --- Access lines ---


def test_each_call_writes_one_line(log: Log, assignments: AssignmentServiceStub) -> None:
    new_assignment(assignments, mentee_name=TELLTALE)
    assignments.ListAssignments(ListAssignmentsRequest(org_id="org_03"))
    with pytest.raises(grpc.RpcError):
        assignments.GetAssignment(GetAssignmentRequest(assignment_id="asgn_404"))
    with pytest.raises(grpc.RpcError):
        assignments.ListAssignments(ListAssignmentsRequest(limit=-1, org_id=TELLTALE))
    created, audited, listed, missed, refused = log()
    prefix = "/peermentor.v1.AssignmentService"
    assert audited["event"] == "audit"
    assert (created["method"], created["code"]) == (f"{prefix}/CreateAssignment", "OK")
    assert (listed["method"], listed["code"]) == (f"{prefix}/ListAssignments", "OK")
    assert (missed["method"], missed["code"]) == (f"{prefix}/GetAssignment", "NOT_FOUND")
    assert (refused["method"], refused["code"]) == (f"{prefix}/ListAssignments", "INVALID_ARGUMENT")
    for line in (created, listed, missed, refused):
        assert 0 <= line["duration_ms"] < 60_000
        assert line["event"] == "call"
        assert line["level"] == "info"
        _assert_is_new(line["request_id"])
        _assert_impersonal(line)


def _assert_impersonal(line: Mapping[str, Any]) -> None:
    """Nothing of a request or a row is in the line: no names, and no ids of people."""
    names = {"event", "level", "timestamp", "method", "code", "duration_ms", "request_id", "reason"}
    assert set(line) <= names
    values = [str(value) for value in line.values()]
    for private in (TELLTALE, *NEW_ASSIGNMENT.values()):
        assert not any(str(private) in value for value in values)


def test_a_line_says_nothing_of_what_its_call_or_the_one_before_kept_in_mind(log: Log) -> None:
    """Threads are used again, and so is what they keep."""

    def behaviour(request: bytes, _context: grpc.ServicerContext) -> bytes:
        if request:
            structlog.contextvars.bind_contextvars(mentee_name=request.decode())
        return b""

    with _serving(behaviour) as channel:
        method: Any = channel.unary_unary("/peermentor.v1.Small/Call")
        for request in (TELLTALE.encode(), b"", b""):
            method(request)
    lines = log()
    assert len(lines) == 3
    for line in lines:
        _assert_impersonal(line)


def test_health_checks_and_unknown_methods_write_no_lines(log: Log, channel: grpc.Channel) -> None:
    HealthStub(channel).Check(HealthCheckRequest())
    unknown: Any = channel.unary_unary("/peermentor.v1.AssignmentService/Nothing")
    with pytest.raises(grpc.RpcError) as raised:
        unknown(b"")
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert log() == []


# --- Reflection ---


def test_reflection_describes_every_service(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) == {
        *SERVICES,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_reflection_is_enough_to_make_a_call(channel: grpc.Channel) -> None:
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service = pool.FindServiceByName("peermentor.v1.AssignmentService")
    method = service.FindMethodByName("ListAssignments")
    assert "status" in method.input_type.fields_by_name
    call: Any = channel.unary_unary(f"/{service.full_name}/{method.name}")
    message: Any = GetMessageClass(method.output_type).FromString(call(b""))
    assert message.pagination.limit == 20


def test_open_reflection_streams_take_nothing_from_calls_and_health(
    channel: grpc.Channel, assignments: AssignmentServiceStub
) -> None:
    end = threading.Event()

    def one_request_and_no_end() -> Iterator[ServerReflectionRequest]:
        yield ServerReflectionRequest(list_services="")
        end.wait(30)

    reflect = ServerReflectionStub(channel).ServerReflectionInfo
    streams = [reflect(one_request_and_no_end()) for _ in range(2 * MAX_CALLS)]
    assert all(next(stream).list_services_response.service for stream in streams)
    health = HealthStub(channel).Check(HealthCheckRequest(), timeout=5)
    assert health.status == HealthCheckResponse.SERVING
    for _ in range(10):
        assignments.ListAssignments(ListAssignmentsRequest(), timeout=5)
    end.set()
    for stream in streams:
        stream.cancel()


def test_the_log_of_the_suite_is_looked_through_for_names(
    log: Log, assignments: AssignmentServiceStub
) -> None:
    """The look at the end of the suite sees what it is to see."""
    new_assignment(assignments, mentee_name=FULL_NAME)
    lines = log()
    assert lines
    assert_no_name_in("\n".join(map(json.dumps, lines)))
    with pytest.raises(AssertionError):
        assert_no_name_in(json.dumps({"event": f"created for {FULL_NAME}"}))
