"""gRPC and gRPC-Web on the gateway's port."""

import base64
import struct
from collections.abc import Iterator

import grpc
import httpx
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

from peermentor.v1.assignments_pb2 import (
    Assignment,
    CreateAssignmentRequest,
    GetAssignmentRequest,
    UpdateAssignmentRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from support.factories import NEW_ASSIGNMENT

NEW = CreateAssignmentRequest(**NEW_ASSIGNMENT)


@pytest.fixture
def through_gateway(rest: httpx.Client) -> Iterator[grpc.Channel]:
    """A gRPC channel to the gateway's port."""
    with grpc.insecure_channel(f"{rest.base_url.host}:{rest.base_url.port}") as channel:
        yield channel


def test_a_call_is_answered(through_gateway: grpc.Channel) -> None:
    stub = AssignmentServiceStub(through_gateway)
    created = stub.CreateAssignment(NEW)
    assert created.assignment_id == "asgn_001"
    assert stub.GetAssignment(GetAssignmentRequest(assignment_id="asgn_001")) == created


def test_an_etag_may_be_metadata(through_gateway: grpc.Channel) -> None:
    stub = AssignmentServiceStub(through_gateway)
    known = stub.CreateAssignment(NEW).etag
    request = UpdateAssignmentRequest(assignment_id="asgn_001", coordinator_id="another")
    stub.UpdateAssignment(request, metadata=(("if-match", known),))
    with pytest.raises(grpc.RpcError) as raised:
        stub.UpdateAssignment(request, metadata=(("if-match", known),))
    assert raised.value.code() is grpc.StatusCode.ABORTED


def test_an_error_keeps_its_details(through_gateway: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        AssignmentServiceStub(through_gateway).CreateAssignment(CreateAssignmentRequest())
    status = rpc_status.from_call(raised.value)
    info, bad_request = ErrorInfo(), BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad_request)
    assert info.reason == "INVALID_FIELD"
    assert len(bad_request.field_violations) == 4


def test_health_and_reflection_are_answered(through_gateway: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(through_gateway)
    answer = health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    services = ProtoReflectionDescriptorDatabase(through_gateway).get_services()
    assert "peermentor.v1.AssignmentService" in services


def test_an_unknown_method_is_unimplemented(through_gateway: grpc.Channel) -> None:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = through_gateway.unary_unary(
        "/peermentor.v1.AssignmentService/Nothing"
    )
    with pytest.raises(grpc.RpcError) as raised:
        call(b"")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", ["/nope", "/api/v1/assignments", "/api/v1/assignments/asgn_001"])
def test_a_path_that_is_no_method_is_unimplemented(
    path: str, through_gateway: grpc.Channel
) -> None:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = through_gateway.unary_unary(path)
    with pytest.raises(grpc.RpcError) as raised:
        call(b"", timeout=10)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert raised.value.details() == "the gateway refuses this call"


def test_a_host_that_is_not_served_is_denied(rest: httpx.Client) -> None:
    address = f"{rest.base_url.host}:{rest.base_url.port}"
    options = [("grpc.default_authority", "rebound.example.org")]
    with (
        grpc.insecure_channel(address, options=options) as channel,
        pytest.raises(grpc.RpcError) as raised,
    ):
        AssignmentServiceStub(channel).GetAssignment(GetAssignmentRequest(), timeout=10)
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "PEERMENTOR_REST_HOSTS" in (raised.value.details() or "")


def test_a_call_that_is_not_posted_is_unimplemented(rest: httpx.Client) -> None:
    path = "/peermentor.v1.AssignmentService/GetAssignment"
    response = rest.get(path, headers={"content-type": "application/grpc"})
    assert response.headers["grpc-status"] == "12"


@pytest.mark.parametrize(
    "content_type", ["application/grpc-web+proto", "application/grpc-web-text"]
)
def test_grpc_web_is_answered(content_type: str, rest: httpx.Client) -> None:
    message = NEW.SerializeToString()
    frame = struct.pack(">BI", 0, len(message)) + message
    text = content_type.endswith("-text")
    response = rest.post(
        "/peermentor.v1.AssignmentService/CreateAssignment",
        content=base64.b64encode(frame) if text else frame,
        headers={"content-type": content_type, "accept": content_type, "x-grpc-web": "1"},
    )
    body = decode_web_text(response.content) if text else response.content
    flag, length = struct.unpack(">BI", body[:5])
    assert flag == 0
    assert Assignment.FromString(body[5 : 5 + length]).assignment_id == "asgn_001"
    assert b"grpc-status:0" in body[5 + length :]


def decode_web_text(content: bytes) -> bytes:
    """Decode base64 that may be padded within, at the end of each frame."""
    groups = range(0, len(content), 4)
    return b"".join(base64.b64decode(content[start : start + 4]) for start in groups)
