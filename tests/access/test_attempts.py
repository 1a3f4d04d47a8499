"""Callers without valid credentials are put off; others are let in from wherever they call."""

from collections import Counter

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status
from structlog.testing import capture_logs

from peermentor.v1.assignments_pb2 import ListAssignmentsRequest
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.access.attempts import MAX_ADDRESSES, MAX_ATTEMPTS, Attempts
from peermentor_server.storage.engine.database import Database
from peermentor_server.timing import USUAL, Timing
from support.apps import own_server
from support.clock import SettableClock
from support.keys import bearer, new_key
from support.moves import Moves


class Now:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.time


def test_each_address_is_counted_for_a_period() -> None:
    now = Now()
    attempts = Attempts(Timing(attempts_s=60), now)
    usual = [0] * MAX_ATTEMPTS
    assert [attempts.count("one") for _ in range(MAX_ATTEMPTS + 2)] == [*usual, 1, 2]
    assert attempts.count("other") == 0
    now.time += 59
    assert attempts.count("one") == 3
    now.time += 1
    assert attempts.count("one") == 0


def test_the_addresses_of_an_ipv6_network_are_one() -> None:
    attempts = Attempts()
    for number in range(MAX_ATTEMPTS):
        assert attempts.count(f"[2001:db8::{number:x}]") == 0
    assert attempts.count("[2001:db8::ffff]") == 1
    assert attempts.count("[2001:db8:0:1::1]") == 0


def test_the_addresses_of_longest_ago_are_forgotten() -> None:
    attempts = Attempts(Timing(attempts_s=60), Now())
    for _ in range(MAX_ATTEMPTS):
        attempts.count("one")
    for number in range(MAX_ADDRESSES - 1):
        attempts.count(str(number))
    assert attempts.count("one") == 1
    for number in range(MAX_ADDRESSES):
        attempts.count(str(number))
    assert attempts.count("one") == 0


def test_who_has_no_valid_credentials_has_to_wait_and_who_has_does_not(
    own: Database, clock: SettableClock
) -> None:
    key = new_key(own, None)
    told: Counter[str] = Counter()
    moves = Moves()
    with own_server(own, clock, USUAL, access="required") as channel, capture_logs() as lines:
        stub = AssignmentServiceStub(channel)
        for number in range(3 * MAX_ATTEMPTS):
            wrong = () if number % 2 else bearer(f"{key}x")
            with pytest.raises(grpc.RpcError) as raised:
                stub.ListAssignments(ListAssignmentsRequest(), metadata=wrong)
            status = rpc_status.from_call(raised.value)
            info, *retry = status.details
            reason = ErrorInfo.FromString(info.value).reason
            told[reason] += 1
            if reason == "TOO_MANY_ATTEMPTS":
                assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert RetryInfo.FromString(retry[0].value).retry_delay.seconds == 60
            stub.ListAssignments(ListAssignmentsRequest(), metadata=bearer(key))
    assert told == {
        "CREDENTIALS_INVALID": MAX_ATTEMPTS / 2,
        "CREDENTIALS_MISSING": MAX_ATTEMPTS / 2,
        "TOO_MANY_ATTEMPTS": 2 * MAX_ATTEMPTS,
    }
    kinds = ("missing", "invalid", "put_off", "key")
    counted = [moves.of("peermentor_credentials_total", kind=kind) for kind in kinds]
    half = 3 * MAX_ATTEMPTS / 2
    assert counted == [half, half, 2 * MAX_ATTEMPTS, 3 * MAX_ATTEMPTS]
    # What follows the first of those that were put off is not logged.
    refused = [line["reason"] for line in lines if line.get("peer") == "127.0.0.1"]
    assert len(refused) == MAX_ATTEMPTS + 1
    assert refused[-1] == "TOO_MANY_ATTEMPTS"
