"""The line that every call leaves in the log: its method, id, code and duration, no contents."""

import json
from typing import Protocol

import grpc
import structlog

from peermentor_server.rpc.errors import STATUS_OF
from peermentor_server.rpc.lanes import Caller
from peermentor_server.rules.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    DomainError,
    InternalFault,
    TooManyAttempts,
)
from peermentor_server.rules.principals import Principal
from peermentor_server.telemetry import logs

# What is ours to mend stands out; what callers got wrong does not.
_LEVELS = {
    grpc.StatusCode.DEADLINE_EXCEEDED: "warning",
    grpc.StatusCode.UNAVAILABLE: "warning",
    grpc.StatusCode.INTERNAL: "error",
}
# Of whom nothing else is known than where they call from.
_OF_STRANGERS = {each.reason for each in (CredentialsMissing, CredentialsInvalid, TooManyAttempts)}
_log = structlog.get_logger("peermentor_server")


class Call(Protocol):
    """What is said of a call."""

    method: str
    request_id: str
    principal: Principal
    caller: Caller


def write(call: Call, seconds: float, error: DomainError | None, attempts: int) -> None:
    """Write the line of a call, which was begun so often."""
    duration_ms = round(seconds * 1000, 1)
    if error is None and attempts <= 1 and _write_ok(call, duration_ms):
        return
    code = STATUS_OF[error.kind] if error else grpc.StatusCode.OK
    details: dict[str, object] = {"method": call.method, "request_id": call.request_id}
    if call.principal.subject:
        details["subject"] = call.principal.subject
    if attempts > 1:
        details["attempts"] = attempts
    if error is not None:
        details["reason"] = error.reason
    if error is not None and error.reason in _OF_STRANGERS:
        details["peer"] = call.caller.address
    if isinstance(error, InternalFault):
        details["diagnosis"] = error.diagnosis
    elif error is not None and error.__cause__ is not None:
        details["cause"] = str(error.__cause__)
    level = getattr(_log, _LEVELS.get(code, "info"))
    level("call", code=code.name, duration_ms=duration_ms, **details)


def _write_ok(call: Call, duration_ms: float) -> bool:
    request_id, subject = call.request_id, call.principal.subject
    if '"' in request_id or "\\" in request_id:
        return False
    by = f'"subject": {json.dumps(subject)}, ' if subject else ""
    return logs.plain.write(
        f'"code": "OK", "duration_ms": {duration_ms}, "method": "{call.method}", '
        f'"request_id": "{request_id}", {by}"event": "call"'
    )
