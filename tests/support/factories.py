"""What tests make and read: assignments, templates, refusals, and all that a database holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from sqlalchemy import select

from peermentor.v1.assignments_pb2 import (
    Assignment,
    CreateAssignmentRequest,
    UpdateAssignmentRequest,
    UpdateLastContactRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import CreateTemplateRequest, RecurringTemplate
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import metadata
from support.clock import CONTRACT_DAY

# The request examples of the contract.
NEW_ASSIGNMENT: dict[str, Any] = {
    "mentee_id": "user_088",
    "peer_mentor_id": "user_042",
    "coordinator_id": "user_007",
    "org_id": "org_03",
    "start_date": "2026-03-26",
}
NEW_TEMPLATE: dict[str, Any] = {
    "coordinator_id": "coord-119",
    "organization_id": "org-44",
    "name": "Bi-weekly Workshop",
    "activity_type": "workshop",
    "recurrence_rule": "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=WE",
    "duration_minutes": 90,
    "mentor_ids": ["mentor-482", "mentor-521", "mentor-533"],
    "notes_template": "Bi-weekly skills workshop",
}
# The same as storage takes them.
STORED_ASSIGNMENT = NEW_ASSIGNMENT | {"start_date": CONTRACT_DAY.date()}
STORED_TEMPLATE = NEW_TEMPLATE | {
    "is_active": True,
    "starts_on": CONTRACT_DAY.date(),
    "time_zone": "UTC",
    "excluded_dates": [],
}


def instant(text: str) -> Timestamp:
    """Return the message of an RFC 3339 instant."""
    message = Timestamp()
    message.FromJsonString(text)
    return message


def new_assignment(assignments: AssignmentServiceStub, **fields: Any) -> Assignment:
    """Create the contract's assignment with some fields of its own.

    `last_contact` and `status` are set by calls of their own.
    """
    last_contact, status = fields.pop("last_contact", None), fields.pop("status", None)
    request = CreateAssignmentRequest(**{**NEW_ASSIGNMENT, **fields})
    created = assignments.CreateAssignment(request)
    if last_contact is not None:
        created = contact(assignments, created.assignment_id, last_contact)
    if status is not None:
        created = assignments.UpdateAssignment(
            UpdateAssignmentRequest(assignment_id=created.assignment_id, status=status)
        )
    return created


def contact(
    assignments: AssignmentServiceStub,
    assignment_id: str,
    when: str,
    contact_type: str = "",
    **fields: Any,
) -> Assignment:
    """Tell the service of a contact."""
    return assignments.UpdateLastContact(
        UpdateLastContactRequest(
            assignment_id=assignment_id,
            contact_date=instant(when),
            contact_type=contact_type,
            **fields,
        )
    )


def new_template(templates: TemplateServiceStub, **fields: Any) -> RecurringTemplate:
    """Create the contract's template with some fields of its own."""
    return templates.CreateTemplate(CreateTemplateRequest(**{**NEW_TEMPLATE, **fields}))


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """How a call was refused; `violations` are the descriptions by the paths of the fields."""

    code: grpc.StatusCode
    reason: str
    domain: str
    message: str
    violations: dict[str, str]


def refused(call: Callable[[Any], object], request: object) -> RefusedCall:
    """Call with this request, which has to be refused."""
    with pytest.raises(grpc.RpcError) as raised:
        call(request)
    return explained(raised.value)


def explained(error: Any) -> RefusedCall:
    """Return how a call was refused that has raised this."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details come with {error.code()}: {error.details()}"
    return told(error.code(), status)


def told(code: grpc.StatusCode, status: Status) -> RefusedCall:
    """Return what a status with details tells."""
    info, bad_request, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status.details:
        assert any(map(detail.Unpack, (info, bad_request, retry))), detail.type_url
    return RefusedCall(
        code,
        info.reason,
        info.domain,
        status.message,
        {each.field: each.description for each in bad_request.field_violations},
    )


def refused_field(field: str, description: str) -> dict[str, Any]:
    """Return what REST answers when one field is refused."""
    return {
        "code": 3,
        "message": f"{field}: {description}",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "INVALID_FIELD",
                "domain": "peermentor",
                "metadata": {},
            },
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "field_violations": [{"field": field, "description": description}],
            },
        ],
    }


def contents(database: Database) -> dict[str, Sequence[Any]]:
    """Return every row of every table."""
    with database.read() as connection:
        return {
            table.name: connection.execute(select(table).order_by(*table.primary_key)).all()
            for table in metadata.sorted_tables
        }
