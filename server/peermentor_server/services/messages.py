"""Rows to messages. With `checks`, the only places that know both shapes."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import Int32Value

from peermentor.v1.assignments_pb2 import Assignment
from peermentor.v1.pagination_pb2 import Pagination
from peermentor.v1.templates_pb2 import RecurringTemplate
from peermentor_server.rules import days, ids
from peermentor_server.rules.pages import Page, Position
from peermentor_server.storage.assignments import AssignmentRow
from peermentor_server.storage.listing import Listing
from peermentor_server.storage.templates import TemplateRow

R = TypeVar("R", bound=NamedTuple)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATUS = dict(Assignment.Status.items())


def assignment(row: AssignmentRow, today: date) -> Assignment:
    """Describe a row of assignments as of today."""
    last = row.last_contact_date
    return Assignment(
        assignment_id=ids.ASSIGNMENT.render(row.id),
        mentee_name=row.mentee_name,
        peer_mentor_id=row.peer_mentor_id,
        coordinator_id=row.coordinator_id,
        org_id=row.org_id,
        status=_STATUS[row.status],
        last_contact_date=_timestamp(last),
        days_since_contact=None if last is None else _whole(days.days_between(last, today)),
        reminder_sent_at=_timestamp(row.reminder_sent_at),
        escalation_sent_at=_timestamp(row.escalation_sent_at),
        created_at=_timestamp(row.created_at),
        updated_at=_timestamp(row.updated_at),
        mentee_id=row.mentee_id,
        start_date=row.start_date.isoformat(),
    )


def template(row: TemplateRow) -> RecurringTemplate:
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


def next_page_token(page: Page, listing: Listing[R], position: Callable[[R], Position]) -> str:
    """Return the token of the page after this one, empty if there is none."""
    return page.next_token(position(listing.rows[-1]), listing.total) if listing.more else ""


def _whole(number: int) -> Int32Value:
    return Int32Value(value=number)


def _timestamp(instant: datetime | None) -> Timestamp | None:
    if instant is None:
        return None
    since = instant - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)
