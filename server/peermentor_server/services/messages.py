"""Rows to messages. With `checks`, the only places that know both shapes."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from peermentor.v1.assignments_pb2 import Assignment, AssignmentSummary, Contact
from peermentor.v1.pagination_pb2 import Pagination
from peermentor.v1.templates_pb2 import Occurrence, RecurringTemplate
from peermentor_server.rules import clock, etags, ids
from peermentor_server.rules.pages import Page, Position
from peermentor_server.storage.assignments import AssignmentRow
from peermentor_server.storage.contacts import ContactRow
from peermentor_server.storage.listing import Listing
from peermentor_server.storage.summaries import Summary
from peermentor_server.storage.templates import TemplateRow

R = TypeVar("R", bound=NamedTuple)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATUS = dict(Assignment.Status.items())


def assignment(message: Assignment, row: AssignmentRow, today: date) -> Assignment:
    """Describe a row of assignments as of today, in an empty message.

    Field by field: a message that is put together elsewhere and then copied takes twice as long.
    """
    message.assignment_id = ids.ASSIGNMENT.render(row.id)
    message.mentee_id = row.mentee_id
    message.mentee_name = row.mentee_name
    message.peer_mentor_id = row.peer_mentor_id
    message.coordinator_id = row.coordinator_id
    message.org_id = row.org_id
    message.status = _STATUS[row.status]
    message.start_date = row.start_date.isoformat()
    days = None
    if row.last_contact_date is not None:
        _put(message.last_contact_date, row.last_contact_date)
        days = clock.days_between(row.last_contact_date, today)
        message.days_since_contact.value = days
    message.etag = etags.render(row.state, days)
    if row.reminder_sent_at is not None:
        _put(message.reminder_sent_at, row.reminder_sent_at)
    if row.escalation_sent_at is not None:
        _put(message.escalation_sent_at, row.escalation_sent_at)
    _put(message.created_at, row.created_at)
    _put(message.updated_at, row.updated_at)
    return message


def template(message: RecurringTemplate, row: TemplateRow) -> RecurringTemplate:
    """Describe a row of templates, in an empty message."""
    message.id = ids.TEMPLATE.render(row.id)
    message.coordinator_id = row.coordinator_id
    message.organization_id = row.organization_id
    message.name = row.name
    message.activity_type = row.activity_type
    message.recurrence_rule = row.recurrence_rule
    message.duration_minutes = row.duration_minutes
    message.mentor_ids.extend(row.mentor_ids)
    message.notes_template = row.notes_template
    message.is_active = row.is_active
    message.starts_on = row.starts_on.isoformat()
    message.time_zone = row.time_zone
    if row.excluded_dates:
        message.excluded_dates.extend(row.excluded_dates)
    message.etag = etags.render(row.state)
    _put(message.created_at, row.created_at)
    _put(message.updated_at, row.updated_at)
    return message


def occurrence(message: Occurrence, moment: datetime) -> Occurrence:
    """Describe a moment, by its time zone too, in an empty message."""
    _put(message.starts_at, moment)
    message.local_time = moment.isoformat()
    return message


def contact(message: Contact, row: ContactRow) -> Contact:
    """Describe a row of contacts, in an empty message."""
    _put(message.contact_date, row.contact_date)
    message.contact_type = row.contact_type
    _put(message.recorded_at, row.recorded_at)
    return message


def summary(row: Summary, today: date) -> AssignmentSummary:
    """Describe figures of assignments as of today."""
    message = AssignmentSummary(
        open=row.open,
        paused=row.paused,
        overdue=row.overdue,
        never_contacted=row.never_contacted,
        recent_contacts=row.recent_contacts,
    )
    if row.longest_silent_since is not None:
        silence = clock.days_between(row.longest_silent_since, today)
        message.longest_silence_days.value = silence
    return message


def pagination(page: Page, total: int) -> Pagination:
    """Describe a page of a list of `total` resources."""
    return Pagination(page=page.number, limit=page.limit, total=total)


def next_page_token(page: Page, listing: Listing[R], position: Callable[[R], Position]) -> str:
    """Return the token of the page after this one, empty if there is none."""
    return page.next_token(position(listing.rows[-1]), listing.total) if listing.more else ""


def _put(timestamp: Timestamp, instant: datetime) -> None:
    since = instant - _EPOCH
    timestamp.seconds = since.days * 86_400 + since.seconds
    timestamp.nanos = since.microseconds * 1000
