"""The errors of the SDK."""

import pickle
import re
import traceback
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

import peermentor
from peermentor import (
    Internal,
    InvalidArgument,
    NotFound,
    PeermentorError,
    ResourceExhausted,
    Unavailable,
)
from peermentor._errors import CLASS_OF
from peermentor.v1 import assignments_pb2
from support.clients import fail, opened, scripted_server
from support.factories import NEW_TEMPLATE
from support.ports import free_ports

CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
CLASSES = {error.__name__ for error in PeermentorError.__subclasses__()}
TREE = CLASSES | {"Untrusted"}


def test_every_code_has_a_class_and_every_class_a_code() -> None:
    assert set(CLASS_OF) == set(CODES)
    assert {error.__name__ for error in CLASS_OF.values()} == CLASSES


def test_the_tree_is_drawn_and_exported() -> None:
    assert set(re.findall("[├└]── (\\w+)", PeermentorError.__doc__ or "")) == TREE
    assert set(peermentor.__all__) >= TREE


@pytest.mark.parametrize("code", CODES)
def test_every_code_arrives_as_its_class(client_kind: str, code: grpc.StatusCode) -> None:
    def behaviour(_request: bytes, context: grpc.ServicerContext) -> assignments_pb2.Assignment:
        fail(context, code, ErrorInfo(reason="BECAUSE"))
        return assignments_pb2.Assignment()

    with (
        scripted_server(behaviour) as address,
        opened(client_kind, address, retries=0) as client,
        pytest.raises(CLASS_OF[code]) as raised,
    ):
        client.assignments.get("asgn_001")
    error = raised.value
    assert (error.code, error.reason, error.message) == (code, "BECAUSE", "scripted")


BROKEN_DETAIL = AnyMessage(type_url=f"a/{ErrorInfo.DESCRIPTOR.full_name}", value=b"\xff")


@pytest.mark.parametrize("sent", [b"\xff", Status(details=[BROKEN_DETAIL]).SerializeToString()])
def test_details_that_cannot_be_read_leave_the_error(client_kind: str, sent: bytes) -> None:
    def behaviour(_request: bytes, context: grpc.ServicerContext) -> assignments_pb2.Assignment:
        context.set_trailing_metadata((("grpc-status-details-bin", sent),))
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("scripted")
        return assignments_pb2.Assignment()

    with (
        scripted_server(behaviour) as address,
        opened(client_kind, address) as client,
        pytest.raises(NotFound, match="scripted") as raised,
    ):
        client.assignments.get("asgn_001")
    assert (raised.value.reason, raised.value.retry_after) == ("", None)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(-5, 0.0), (2, 2.0), (-(10**15), 0.0), (10**15, 1e15)]
)
def test_a_server_may_ask_for_any_pause(client_kind: str, seconds: int, expected: float) -> None:
    def behaviour(_request: bytes, context: grpc.ServicerContext) -> assignments_pb2.Assignment:
        delay = Duration(seconds=seconds)
        fail(context, grpc.StatusCode.RESOURCE_EXHAUSTED, RetryInfo(retry_delay=delay))
        return assignments_pb2.Assignment()

    with (
        scripted_server(behaviour) as address,
        opened(client_kind, address, retries=1, timeout=1) as client,
        pytest.raises(ResourceExhausted) as raised,
    ):
        client.assignments.get("asgn_001")
    assert raised.value.retry_after == expected


def test_refused_fields_come_all_at_once(client: Any) -> None:
    with pytest.raises(InvalidArgument) as raised:
        client.templates.create(**{**NEW_TEMPLATE, "name": " ", "duration_minutes": 0})
    error = raised.value
    assert [each.field for each in error.field_violations] == ["name", "duration_minutes"]
    assert error.reason == peermentor.ErrorReason.INVALID_FIELD
    assert error.field_violations[1].description == "must be from 1 to 10080 minutes"
    assert f"[request {error.request_id}]" in str(error)


def test_the_request_id_is_the_callers_own_or_the_servers(client_kind: str, client: Any) -> None:
    with pytest.raises(NotFound) as raised:
        client.assignments.get("asgn_404")
    assert re.fullmatch("[0-9a-f-]{36}", raised.value.request_id)
    metadata = {"x-request-id": "mine-7"}
    with (
        opened(client_kind, client.address, metadata=metadata) as own,
        pytest.raises(NotFound) as raised,
    ):
        own.assignments.get("asgn_404")
    assert raised.value.request_id == "mine-7"


def test_a_refused_connection_says_what_to_check(client_kind: str) -> None:
    (port,) = free_ports(1)
    with (
        opened(client_kind, f"127.0.0.1:{port}", retries=1) as client,
        pytest.raises(Unavailable) as raised,
    ):
        client.assignments.get("asgn_001")
    assert f"no answer from 127.0.0.1:{port}: check that the server runs" in str(raised.value)
    assert "PEERMENTOR_ADDRESS" in raised.value.message
    assert "refused" in raised.value.message
    assert raised.value.request_id == ""


def test_a_traceback_names_an_error_as_it_is_imported() -> None:
    error = NotFound(grpc.StatusCode.NOT_FOUND, "there is none")
    assert traceback.format_exception_only(error) == ["peermentor.NotFound: there is none\n"]


def test_errors_cross_processes() -> None:
    error = Internal(grpc.StatusCode.DATA_LOSS, "gone")
    error.reason = "LOST"
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(copy), copy.code, copy.reason, str(copy)) == (
        Internal,
        grpc.StatusCode.DATA_LOSS,
        "LOST",
        "gone [LOST]",
    )
