"""Deadlines, and calls that are made again."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo

from peermentor import DeadlineExceeded, PeermentorError, ResourceExhausted, Unavailable
from peermentor._retries import LAST_ATTEMPT, LONGEST_PAUSE, Schedule
from peermentor.v1 import assignments_pb2
from support.clients import Behaviour, fail, opened, scripted_server
from support.clock import CONTRACT_DAY
from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE
from support.ports import free_ports

BUSY = RetryInfo(retry_delay=Duration(nanos=300_000_000))


class Script:
    """Fails the first calls in a given way, and answers the others."""

    def __init__(self, failures: int, code: grpc.StatusCode, *details: Message) -> None:
        self.failures, self.code, self.details = failures, code, details
        self.times: list[float] = []
        self.requests: list[bytes] = []
        self.metadata: list[dict[str, str | bytes]] = []

    @property
    def keys(self) -> list[str | bytes | None]:
        return [each.get("idempotency-key") for each in self.metadata]

    def __call__(self, request: bytes, context: grpc.ServicerContext) -> Message:
        self.times.append(time.monotonic())
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if len(self.times) <= self.failures:
            fail(context, self.code, *self.details)
        return assignments_pb2.Assignment(assignment_id="asgn_001")


def test_a_call_that_is_safe_to_repeat_is_made_again(client_kind: str) -> None:
    script = Script(2, grpc.StatusCode.UNAVAILABLE)
    with scripted_server(script) as address, opened(client_kind, address) as client:
        assert client.assignments.get("asgn_001").assignment_id == "asgn_001"
    assert len(script.times) == 3


WRITES = [
    lambda c, **own: c.assignments.create(**NEW_ASSIGNMENT, **own),
    lambda c, **own: c.templates.create(**NEW_TEMPLATE, **own),
    lambda c: c.assignments.update("asgn_001", status="paused"),
    lambda c: c.assignments.update_last_contact("asgn_001", contact_date=CONTRACT_DAY),
    lambda c: c.templates.update("rt-001", name="Walk"),
]


@pytest.mark.parametrize("write", WRITES)
def test_all_attempts_of_a_write_have_one_key_and_two_calls_have_two(
    client_kind: str, write: Callable[[Any], object]
) -> None:
    script = Script(2, grpc.StatusCode.UNAVAILABLE)
    with scripted_server(script) as address, opened(client_kind, address) as client:
        write(client)
        write(client)
    first, second, third, other = script.keys
    assert first == second == third != other
    assert {UUID(str(key)).version for key in script.keys} == {4}


@pytest.mark.parametrize("write", WRITES)
def test_a_key_of_the_caller_is_the_only_one(
    client_kind: str, write: Callable[[Any], object]
) -> None:
    script = Script(1, grpc.StatusCode.UNAVAILABLE)
    own = {"Idempotency-Key": "mine-7"}
    with scripted_server(script) as address, opened(client_kind, address, metadata=own) as client:
        write(client)
    assert script.keys == ["mine-7"] * 2


@pytest.mark.parametrize("create", WRITES[:2])
@pytest.mark.parametrize("request_id", ["mine-7", ""])
def test_a_request_id_of_the_caller_is_the_key(
    client_kind: str, create: Callable[..., object], request_id: str
) -> None:
    script = Script(1, grpc.StatusCode.UNAVAILABLE)
    with scripted_server(script) as address, opened(client_kind, address) as client:
        create(client, request_id=request_id)
    assert script.keys == [None] * 2
    assert script.requests[0] == script.requests[1]


@pytest.mark.parametrize(
    "call",
    [lambda c: c.assignments.get("asgn_001"), lambda c: c.assignments.delete("asgn_001")],
)
def test_calls_that_need_no_key_have_none(client_kind: str, call: Callable[[Any], object]) -> None:
    script = Script(0, grpc.StatusCode.UNAVAILABLE)
    with scripted_server(script) as address, opened(client_kind, address) as client:
        call(client)
    assert script.keys == [None]


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(client_kind: str) -> None:
    script = Script(1, grpc.StatusCode.RESOURCE_EXHAUSTED, BUSY)
    with scripted_server(script) as address, opened(client_kind, address) as client:
        client.assignments.get("asgn_001")
    assert script.times[1] - script.times[0] >= 0.3


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda c: c.assignments.delete("asgn_001"), grpc.StatusCode.UNAVAILABLE),
        (lambda c: c.templates.delete("rt-001"), grpc.StatusCode.UNAVAILABLE),
        (lambda c: c.assignments.get("asgn_001"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (lambda c: c.assignments.get("asgn_001"), grpc.StatusCode.INTERNAL),
    ],
)
def test_other_calls_are_made_once(
    client_kind: str, call: Callable[[Any], object], code: grpc.StatusCode
) -> None:
    script = Script(9, code)
    with scripted_server(script) as address, opened(client_kind, address) as client:
        with pytest.raises(PeermentorError) as raised:
            call(client)
        assert raised.value.code is code
    assert len(script.times) == 1


def test_retries_end(client_kind: str) -> None:
    script = Script(9, grpc.StatusCode.UNAVAILABLE)
    with scripted_server(script) as address:
        with opened(client_kind, address, retries=1) as client, pytest.raises(Unavailable):
            client.assignments.get("asgn_001")
        assert len(script.times) == 2
        with opened(client_kind, address) as client, pytest.raises(Unavailable):
            client.assignments.get("asgn_001", timeout=0.05)
        assert len(script.times) == 3
        script.code, script.details = grpc.StatusCode.RESOURCE_EXHAUSTED, (BUSY,)
        with opened(client_kind, address) as client, pytest.raises(ResourceExhausted) as raised:
            client.assignments.get("asgn_001", timeout=0.2)
        assert raised.value.retry_after == 0.3


def test_every_call_has_a_deadline(client_kind: str) -> None:
    release = threading.Event()
    waits: list[float] = []

    def behaviour(_request: bytes, context: grpc.ServicerContext) -> Message:
        waits.append(context.time_remaining())
        release.wait(5)
        return assignments_pb2.Assignment()

    deaf: Behaviour = behaviour
    with scripted_server(deaf) as address:
        with opened(client_kind, address, timeout=0.3) as client:
            with pytest.raises(DeadlineExceeded, match=f"no answer from {address} in time"):
                client.assignments.get("asgn_001")
            with pytest.raises(DeadlineExceeded):
                client.assignments.get("asgn_001", timeout=0.1)
        release.set()
        with opened(client_kind, address) as client:
            client.assignments.get("asgn_001")
    assert waits[0] == pytest.approx(0.3, abs=0.2)
    assert waits[2] == pytest.approx(10, abs=1)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_deadline_is_positive_and_finite(client: Any, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be a positive number of seconds"):
        client.assignments.get("asgn_001", timeout=timeout)


def test_a_server_that_is_away_is_asked_again_until_the_deadline(client_kind: str) -> None:
    (port,) = free_ports(1)
    running = ExitStack()
    server = scripted_server(Script(0, grpc.StatusCode.UNAVAILABLE), port=port)
    timer = threading.Timer(2, running.enter_context, [server])
    timer.start()
    try:
        with opened(client_kind, f"127.0.0.1:{port}", timeout=60) as client:
            assert client.assignments.get("asgn_001").assignment_id == "asgn_001"
    finally:
        timer.join()
        running.close()


def test_a_server_that_was_long_away_is_found_by_the_next_call(client_kind: str) -> None:
    (port,) = free_ports(1)
    with opened(client_kind, f"127.0.0.1:{port}") as client:
        # By then gRPC makes no longer pauses.
        gone = time.monotonic() + 4
        while time.monotonic() < gone:
            with pytest.raises(Unavailable):
                client.assignments.get("asgn_001", timeout=2)
        with scripted_server(Script(0, grpc.StatusCode.UNAVAILABLE), port=port):
            client.assignments.get("asgn_001")


def test_each_repetition_is_logged_without_values(
    client_kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(2, grpc.StatusCode.UNAVAILABLE)
    caplog.set_level("DEBUG", "peermentor")
    with scripted_server(script) as address, opened(client_kind, address) as client:
        client.assignments.get("asgn_001")
    told = [record.getMessage() for record in caplog.records if record.name == "peermentor"]
    path = "/peermentor.v1.AssignmentService/GetAssignment"
    assert [line.rpartition(",")[0] for line in told] == [
        f"{path}: attempt {number} ended with UNAVAILABLE" for number in (1, 2)
    ]
    assert "asgn_001" not in "".join(told)


def test_pauses_grow_with_jitter_and_stay_bounded() -> None:
    error = Unavailable(grpc.StatusCode.UNAVAILABLE, "gone")
    schedules = [Schedule(1e6, 6) for _ in range(20)]
    rounds = [[schedule.pause_after(error) for schedule in schedules] for _ in range(7)]
    assert all(pause is None for pause in rounds.pop())
    longest = [max(pause or 0 for pause in pauses) for pauses in rounds]
    assert all(len(set(pauses)) > 10 for pauses in rounds)
    assert longest == sorted(longest[:4]) + longest[4:]
    assert max(longest) <= LONGEST_PAUSE


def test_without_a_count_the_deadline_alone_ends_retries() -> None:
    error = Unavailable(grpc.StatusCode.UNAVAILABLE, "gone")
    schedule = Schedule(1e6, None)
    pauses = [schedule.pause_after(error) for _ in range(3000)]
    assert all(pause and pause <= LONGEST_PAUSE for pause in pauses)
    # What is left after the last pause suffices for an attempt.
    assert (Schedule(LAST_ATTEMPT + 0.05, None).pause_after(error) or 9) <= 0.05
    assert Schedule(LAST_ATTEMPT, None).pause_after(error) is None
    error.retry_after = 5
    assert Schedule(5, None).pause_after(error) is None


def test_nothing_is_repeated_when_the_server_may_have_forgotten_its_key() -> None:
    error = Unavailable(grpc.StatusCode.UNAVAILABLE, "gone")
    schedule = Schedule(600, None, key_lasts=50)
    assert schedule.remaining() > 500
    assert schedule.pause_after(error)
    assert schedule.remaining() < 50
    late = Schedule(600, None, key_lasts=50, _started=time.monotonic() - 50)
    assert late.remaining() > 500
    assert late.pause_after(error) is None


@pytest.mark.parametrize(
    ("write", "seconds"), list(zip(WRITES, [86_000, 86_000, 50, 50, 50], strict=True))
)
def test_a_write_is_repeated_for_as_long_as_its_key_is_known(
    client_kind: str, write: Callable[[Any], object], seconds: float
) -> None:
    left: list[float] = []

    def behaviour(_request: bytes, context: grpc.ServicerContext) -> Message:
        left.append(context.time_remaining())
        if len(left) == 1:
            fail(context, grpc.StatusCode.UNAVAILABLE)
        return assignments_pb2.Assignment()

    with scripted_server(behaviour) as address, opened(client_kind, address, timeout=1e6) as client:
        write(client)
    # Of long times gRPC sends the first digits.
    assert left[0] > 900_000
    assert seconds / 2 < left[1] < seconds * 1.02


def test_a_call_that_nobody_answers_is_made_again_until_shortly_before_its_deadline(
    client_kind: str,
) -> None:
    script = Script(999, grpc.StatusCode.UNAVAILABLE)
    with scripted_server(script) as address, opened(client_kind, address) as client:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            client.assignments.get("asgn_001", timeout=3)
        # Past its deadline the error would be another one.
        assert time.monotonic() - started > 2
    assert len(script.times) >= 4


def test_a_call_has_options_of_its_own(client_kind: str) -> None:
    script = Script(99, grpc.StatusCode.UNAVAILABLE)
    own = {"X-Tenant": "7", "idempotency-key": "mine-7"}
    with (
        scripted_server(script) as address,
        opened(client_kind, address, metadata={"x-tenant": "1", "x-app": "a"}) as client,
    ):
        for call in (
            lambda: client.assignments.update("asgn_001", org_id="o", metadata=own, retries=1),
            # Nothing but the caller's word lets a deletion be repeated.
            lambda: client.assignments.delete("asgn_001", metadata=own, retries=1),
            lambda: list(client.assignments.list(metadata=own, retries=1)),
            lambda: client.templates.list(metadata=own, retries=1).page(1),
        ):
            with pytest.raises(Unavailable):
                call()
        assert script.keys == ["mine-7"] * 8
        assert {(each["x-tenant"], each["x-app"]) for each in script.metadata} == {("7", "a")}
        with pytest.raises(Unavailable):
            client.assignments.get("asgn_001", retries=0)
    assert script.metadata[-1]["x-tenant"] == "1"
    assert len(script.times) == 9


@pytest.mark.parametrize(
    ("own", "error", "message"),
    [
        ({"timeout": "5"}, TypeError, "timeout: a number of seconds is needed, not str"),
        ({"timeout": 0}, ValueError, "timeout must be a positive number"),
        ({"retries": 1.5}, TypeError, "retries: an int is needed, not float"),
        ({"retries": -1}, ValueError, "retries must be 0 or more"),
        ({"metadata": "ab"}, TypeError, "metadata: a mapping of names to texts is needed, not"),
        ({"metadata": {"x": 5}}, TypeError, "metadata 'x': a str is needed, not int"),
        ({"metadata": {"authorization": "a"}}, ValueError, "give token or the metadata"),
    ],
)
def test_wrong_options_of_a_call_are_refused_before_anything_is_sent(
    client_kind: str, own: dict[str, Any], error: type[Exception], message: str
) -> None:
    with opened(client_kind, "127.0.0.1:1", token="secret") as client:  # noqa: S106
        with pytest.raises(error, match=message):
            client.assignments.get("asgn_001", **own)
        with pytest.raises(error, match=message):
            client.templates.list(**own)
