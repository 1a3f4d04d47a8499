"""Rows to messages. With `checks`, the only places that know both shapes."""

from datetime import UTC, date, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import Int32Value

from peermentor.v1.assignments_pb2 import Assignment
from peermentor.v1.pagination_pb2 import Pagination
from peermentor.v1.templates_pb2 import RecurringTemplate
from peermentor_server.rules import days, ids
from peermentor_server.rules.pages import Page

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def assignment(row: Any, today: date) -> Assignment:
    """Describe a row of assignments as of today."""
    last = row.last_contact_date
    return Assignment(
        assignment_id=ids.ASSIGNMENT.render(row.id),
        mentee_name=row.mentee_name,
        peer_mentor_id=row.peer_mentor_id,
        coordinator_id=row.coordinator_id,
        org_id=row.org_id,
        status=Assignment.Status.Value(row.status),
        last_contact_date=_timestamp(last),
        days_since_contact=last and Int32Value(value=days.days_between(last, today)),
        reminder_sent_at=_timestamp(row.reminder_sent_at),
        escalation_sent_at=_timestamp(row.escalation_sent_at),
        created_at=_timestamp(row.created_at),
        updated_at=_timestamp(row.updated_at),
        mentee_id=row.mentee_id,
        start_date=row.start_date.isoformat(),
    )


def template(row: Any) -> RecurringTemplate:
    """Describe a row of templates."""
    return RecurringTemplate(
        id=ids.TEMPLATE.render(row.id),
        coordinator_id=row.coordinator_id,
        organization_id=row.organization_id,
        name=row.name,
        activity_type=row.activity_type,
        recurrence_rule=row.recurrence_rule,
        duration_minutes=row.duration_minutes,
        mentor_ids=row.mentor_ids,
        notes_template=row.notes_template,
        is_active=row.is_active,
        created_at=_timestamp(row.created_at),
        updated_at=_timestamp(row.updated_at),
    )


def pagination(page: Page, total: int) -> Pagination:
    """Describe a page of a list of `total` resources."""
    return Pagination(page=page.number, limit=page.limit, total=total)


def _timestamp(instant: datetime | None) -> Timestamp | None:
    if instant is None:
        return None
    since = instant - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)
