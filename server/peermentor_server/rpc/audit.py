"""The line that every write leaves in the log, besides that of the call: who changed what.

It names fields and never holds what was written to them.
"""

import json
from typing import Any, Protocol

import structlog
from google.protobuf.message import Message

from peermentor_server.rules.principals import Principal
from peermentor_server.telemetry import logs

# Where an answer says what was changed, and of which organisation that is.
_IDS = ("assignment_id", "id", "deleted_id")
_ORGANIZATIONS = ("org_id", "organization_id")
_NO_CHANGES = {*_IDS, "request_id", "update_mask", "etag"}
_log = structlog.get_logger("peermentor_server")


class Call(Protocol):
    """What is said of a call."""

    method: str
    request: Any
    request_id: str
    principal: Principal
    organization: str


def write(call: Call, answer: Message) -> None:
    """Write the line of a write that is stored."""
    line = {
        "method": call.method,
        "request_id": call.request_id,
        "subject": call.principal.subject,
        "id": _first(answer, _IDS),
        "organization": call.organization or _first(answer, _ORGANIZATIONS),
        "fields": _fields(call.request),
    }
    if not logs.plain.write(json.dumps({**line, "event": "audit"})[1:-1]):
        _log.info("audit", **line)


def _first(message: Any, names: tuple[str, ...]) -> str:
    found = [getattr(message, name) for name in names if name in message.DESCRIPTOR.fields_by_name]
    return str(found[0]) if found else ""


def _fields(request: Any) -> list[str]:
    given = [field.name for field, _ in request.ListFields()]
    if "update_mask" in given:
        given = list(request.update_mask.paths)
    return sorted(set(given) - _NO_CHANGES)
