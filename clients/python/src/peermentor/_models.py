"""What the service answers with, as typed values.

Written by clients/generator from protos/; never edited.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal, Self, TypeAlias, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from peermentor._options import expect
from peermentor._values import Model
from peermentor.v1 import pagination_pb2
from peermentor.v1 import assignments_pb2
from peermentor.v1 import error_reason_pb2
from peermentor.v1 import templates_pb2

__all__ = [
    "Assignment",
    "AssignmentStatus",
    "AssignmentStatusName",
    "ErrorReason",
    "ErrorReasonName",
    "RecurringTemplate",
]

_EnumT = TypeVar("_EnumT", bound=StrEnum)


def _instant(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)


def _unwrapped(message: Any) -> Any:
    return message.value


def _present(message: Any, name: str, read: Callable[[Any], Any]) -> Any:
    # A server older than this package does not send what it does not know.
    return read(getattr(message, name)) if message.HasField(name) else None


def _day(name: str, text: str) -> Any:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _member(enum: type[_EnumT], names: Any, number: int) -> _EnumT:
    # A server newer than this package may send what it does not know yet.
    members = list(enum)
    return enum(names.Name(number)) if number in names.values() else members[0]



class AssignmentStatus(StrEnum):
    """Where an assignment stands. Active and paused ones are open."""

    UNSPECIFIED = "unspecified"
    """Never stored, and refused in a request."""
    ACTIVE = "active"
    """Mentor and mentee are expected to be in contact."""
    PAUSED = "paused"
    """Suspended for a time; open, but never overdue."""
    COMPLETED = "completed"
    """Ended as planned."""
    CANCELLED = "cancelled"
    """Ended early."""


AssignmentStatusName: TypeAlias = Literal["active", "paused", "completed", "cancelled"]
"""The members of AssignmentStatus as plain strings."""


class ErrorReason(StrEnum):
    """The stable reasons of errors. The google.rpc.ErrorInfo of an error carries one of them,
    without the prefix `ERROR_REASON_`, with the domain `peermentor`. Branch on these and on
    the status code, never on the text of a message.
    """

    UNSPECIFIED = "UNSPECIFIED"
    """Never sent."""
    INVALID_FIELD = "INVALID_FIELD"
    """INVALID_ARGUMENT: the fields in the accompanying google.rpc.BadRequest are refused."""
    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    """INVALID_ARGUMENT: the bytes of the request are no message of the expected type."""
    ASSIGNMENT_NOT_FOUND = "ASSIGNMENT_NOT_FOUND"
    """NOT_FOUND: there is no assignment of this id."""
    TEMPLATE_NOT_FOUND = "TEMPLATE_NOT_FOUND"
    """NOT_FOUND: there is no template of this id."""
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    """UNAVAILABLE: the database does not answer. Nothing is known to be stored; try again."""
    INTERNAL = "INTERNAL"
    """INTERNAL: a fault of the server. The metadata holds the `request_id` that its log names."""
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    """ALREADY_EXISTS: this `request_id` has created something else within the last day."""
    OVERLOADED = "OVERLOADED"
    """RESOURCE_EXHAUSTED: too many calls at once; none of this one was done. The accompanying
    google.rpc.RetryInfo says when to come back.
    """


ErrorReasonName: TypeAlias = Literal["INVALID_FIELD", "MALFORMED_REQUEST", "ASSIGNMENT_NOT_FOUND", "TEMPLATE_NOT_FOUND", "DATABASE_UNAVAILABLE", "INTERNAL", "REQUEST_ID_REUSED", "OVERLOADED"]
"""The members of ErrorReason as plain strings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment(Model):
    """A peer mentor who accompanies a mentee, looked after by a coordinator."""

    _message: ClassVar = assignments_pb2.Assignment
    assignment_id: str
    """`asgn_` and a number of at least three digits, given by the server: `asgn_001`.
    Never used twice.
    """
    mentee_name: str = field(repr=False)
    """The mentee's name, kept once per mentee; empty when unknown."""
    peer_mentor_id: str
    """Who mentors."""
    coordinator_id: str
    """Who looks after the pair."""
    org_id: str
    """The organization both belong to."""
    status: AssignmentStatus
    """Where the assignment stands."""
    last_contact_date: datetime | None
    """The last contact of mentor and mentee. Null: never."""
    days_since_contact: int | None
    """UTC calendar days from `last_contact_date` to today: 0 is today. Null: never contacted."""
    reminder_sent_at: datetime | None
    """When the reminder of this cycle went out. Null: not yet."""
    escalation_sent_at: datetime | None
    """When the escalation of this cycle went out. Null: not yet."""
    created_at: datetime
    """When the assignment was created."""
    updated_at: datetime
    """When the assignment was last changed."""
    mentee_id: str
    """Who is mentored."""
    start_date: date
    """The first day, as `YYYY-MM-DD`."""

    @classmethod
    def from_message(cls, message: assignments_pb2.Assignment) -> Self:
        """Read the message of peermentor.v1."""
        expect("message", message, assignments_pb2.Assignment, "a message Assignment")
        return cls(
            assignment_id=message.assignment_id,
            mentee_name=message.mentee_name,
            peer_mentor_id=message.peer_mentor_id,
            coordinator_id=message.coordinator_id,
            org_id=message.org_id,
            status=_member(AssignmentStatus, assignments_pb2.Assignment.Status, message.status),
            last_contact_date=_present(message, "last_contact_date", _instant),
            days_since_contact=_present(message, "days_since_contact", _unwrapped),
            reminder_sent_at=_present(message, "reminder_sent_at", _instant),
            escalation_sent_at=_present(message, "escalation_sent_at", _instant),
            created_at=_present(message, "created_at", _instant),
            updated_at=_present(message, "updated_at", _instant),
            mentee_id=message.mentee_id,
            start_date=_day("start_date", message.start_date),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringTemplate(Model):
    """An activity that comes again by a rule."""

    _message: ClassVar = templates_pb2.RecurringTemplate
    id: str
    """`rt-` and a number of at least three digits, given by the server: `rt-001`. Never
    used twice.
    """
    coordinator_id: str
    """Who keeps the template."""
    organization_id: str
    """The organization it belongs to."""
    name: str
    """What it is called."""
    activity_type: str
    """What kind of activity it is, in the caller's words, such as `peer_session`."""
    recurrence_rule: str
    """When it comes again: one RRULE of RFC 5545, exactly as it was given."""
    duration_minutes: int
    """How long it takes, in minutes."""
    mentor_ids: tuple[str, ...]
    """The mentors who take part, in the order given."""
    notes_template: str
    """What to begin the notes of each activity with; empty when there is nothing."""
    is_active: bool
    """Whether activities are to be made from it."""
    created_at: datetime
    """When the template was created."""
    updated_at: datetime
    """When the template was last changed."""

    @classmethod
    def from_message(cls, message: templates_pb2.RecurringTemplate) -> Self:
        """Read the message of peermentor.v1."""
        expect("message", message, templates_pb2.RecurringTemplate, "a message RecurringTemplate")
        return cls(
            id=message.id,
            coordinator_id=message.coordinator_id,
            organization_id=message.organization_id,
            name=message.name,
            activity_type=message.activity_type,
            recurrence_rule=message.recurrence_rule,
            duration_minutes=message.duration_minutes,
            mentor_ids=tuple(message.mentor_ids),
            notes_template=message.notes_template,
            is_active=message.is_active,
            created_at=_present(message, "created_at", _instant),
            updated_at=_present(message, "updated_at", _instant),
        )

