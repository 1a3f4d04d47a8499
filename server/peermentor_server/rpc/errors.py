"""Errors of the domain as callers get them: a gRPC status with google.rpc details."""

from collections.abc import Iterator

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from peermentor_server.rules.errors import (
    DomainError,
    InvalidFields,
    Kind,
    Overloaded,
    TooManyAttempts,
)

ERROR_DOMAIN = "peermentor"

STATUS_OF = {
    Kind.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Kind.ABORTED: grpc.StatusCode.ABORTED,
    Kind.RESOURCE_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
}


def serialized(error: DomainError, request_id: str) -> bytes:
    """Return the google.rpc.Status of an error, for grpc-status-details-bin."""
    status = Status(code=STATUS_OF[error.kind].value[0], message=error.message)
    for detail in _details(error, request_id):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return bytes(status.SerializeToString())


def _details(error: DomainError, request_id: str) -> Iterator[Message]:
    metadata = {"request_id": request_id} if error.kind is Kind.INTERNAL else {}
    yield ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=metadata)
    if isinstance(error, InvalidFields):
        violations = [
            BadRequest.FieldViolation(field=violation.field, description=violation.description)
            for violation in error.violations
        ]
        yield BadRequest(field_violations=violations)
    if isinstance(error, Overloaded | TooManyAttempts):
        yield RetryInfo(retry_delay=Duration(seconds=error.retry_after_s))
