"""UpdateLastContact, the history of contacts, and the days since the last one."""

import grpc
import pytest

from peermentor.v1.assignments_pb2 import (
    Assignment,
    ListAssignmentsRequest,
    UpdateAssignmentRequest,
    UpdateLastContactRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.storage.engine.database import Database
from support.assignments import delete, get, history, update
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import contact, instant, new_assignment, refused


def test_a_contact_sets_the_last_contact_date(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    created = new_assignment(assignments)
    clock.advance(seconds=1)

    changed = contact(assignments, created.assignment_id, "2026-03-26T09:45:00Z", "message")

    assert changed.last_contact_date == instant("2026-03-26T09:45:00Z")
    assert changed.HasField("days_since_contact")
    assert changed.days_since_contact.value == 0
    assert changed.updated_at == instant("2026-03-26T10:00:01Z")
    assert changed.created_at == created.created_at
    assert get(assignments, created.assignment_id) == changed


def test_a_contact_changes_neither_the_status_nor_other_assignments(
    assignments: AssignmentServiceStub,
) -> None:
    created = new_assignment(assignments, status=Assignment.paused)
    other = new_assignment(assignments)

    changed = contact(assignments, created.assignment_id, "2026-03-26T09:45:00Z")

    assert changed.status == Assignment.paused
    assert get(assignments, other.assignment_id) == other


def test_fractions_of_a_contact_are_kept_to_the_microsecond(
    assignments: AssignmentServiceStub,
) -> None:
    created = new_assignment(assignments, last_contact="2026-03-26T09:45:00.123456789Z")

    stored = get(assignments, created.assignment_id).last_contact_date
    assert stored.ToJsonString() == "2026-03-26T09:45:00.123456Z"


def test_a_contact_before_1970_keeps_its_fraction(assignments: AssignmentServiceStub) -> None:
    created = new_assignment(assignments, last_contact="1969-12-31T23:59:59.750Z")

    stored = get(assignments, created.assignment_id).last_contact_date
    assert stored.ToJsonString() == "1969-12-31T23:59:59.750Z"


def test_a_contact_may_be_five_minutes_in_the_future_and_no_more(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    clock.set(CONTRACT_DAY.replace(microsecond=250_000))
    created = new_assignment(assignments)
    within, beyond = "2026-03-26T10:05:00.250Z", "2026-03-26T10:05:00.250001Z"

    changed = contact(assignments, created.assignment_id, within)
    assert changed.last_contact_date == instant(within)

    request = UpdateLastContactRequest(
        assignment_id=created.assignment_id, contact_date=instant(beyond)
    )
    call = refused(assignments.UpdateLastContact, request)
    assert call.violations.keys() == {"contact_date"}
    assert get(assignments, created.assignment_id) == changed


def test_a_contact_needs_its_date(assignments: AssignmentServiceStub) -> None:
    created = new_assignment(assignments)
    request = UpdateLastContactRequest(assignment_id=created.assignment_id, contact_type="message")

    call = refused(assignments.UpdateLastContact, request)

    assert call.violations.keys() == {"contact_date"}


# --- The reminder cycle ---


def sent(assignments: AssignmentServiceStub, assignment_id: str) -> Assignment:
    return update(
        assignments,
        assignment_id,
        reminder_sent_at=instant("2026-03-18T08:00:00Z"),
        escalation_sent_at=instant("2026-03-20T08:00:00Z"),
    )


def test_a_later_contact_starts_a_new_reminder_cycle(assignments: AssignmentServiceStub) -> None:
    created = new_assignment(assignments, last_contact="2026-03-10T14:30:00Z")
    sent(assignments, created.assignment_id)

    changed = contact(assignments, created.assignment_id, "2026-03-10T14:30:00.000001Z")

    assert not changed.HasField("reminder_sent_at")
    assert not changed.HasField("escalation_sent_at")


def test_the_first_contact_starts_a_new_reminder_cycle(assignments: AssignmentServiceStub) -> None:
    created = new_assignment(assignments)
    sent(assignments, created.assignment_id)

    changed = contact(assignments, created.assignment_id, "2026-03-01T00:00:00Z")

    assert not changed.HasField("reminder_sent_at")
    assert not changed.HasField("escalation_sent_at")


@pytest.mark.parametrize("when", ["2026-03-10T14:30:00Z", "2026-03-10T14:29:59Z"])
def test_the_same_date_or_an_earlier_one_is_a_correction_and_keeps_the_cycle(
    assignments: AssignmentServiceStub, when: str
) -> None:
    created = new_assignment(assignments, last_contact="2026-03-10T14:30:00Z")
    before = sent(assignments, created.assignment_id)

    changed = contact(assignments, created.assignment_id, when)

    assert changed.last_contact_date == instant(when)
    assert changed.reminder_sent_at == before.reminder_sent_at
    assert changed.escalation_sent_at == before.escalation_sent_at


# --- Contacts told late ---


def test_of_contacts_told_late_the_latest_stays_if_the_caller_says_so(
    assignments: AssignmentServiceStub, clock: SettableClock, database: Database
) -> None:
    new_assignment(assignments, last_contact="2026-03-25T08:00:00Z")
    before = assignments.UpdateAssignment(
        UpdateAssignmentRequest(
            assignment_id="asgn_001", reminder_sent_at=instant("2026-03-26T08:00:00Z")
        )
    )
    clock.advance(hours=1)

    for when in ("2026-03-05T08:00:00Z", "2026-03-25T08:00:00Z", "2026-03-25T08:00:00Z"):
        answer = contact(assignments, "asgn_001", when, "call", only_if_later=True)
        assert answer.last_contact_date == before.last_contact_date
        assert answer.reminder_sent_at == before.reminder_sent_at
    later = "2026-03-25T08:00:00.000001Z"
    answer = contact(assignments, "asgn_001", later, "call", only_if_later=True)

    assert answer.last_contact_date == instant(later)
    assert not answer.HasField("reminder_sent_at")
    assert [row.contact_date.day for row in history(database)] == [25, 5, 25, 25]


@pytest.mark.parametrize("only_if_later", [None, False])
def test_a_contact_told_late_is_a_correction_otherwise(
    assignments: AssignmentServiceStub, only_if_later: bool | None
) -> None:
    new_assignment(assignments, last_contact="2026-03-25T08:00:00Z")

    early = "2026-03-05T08:00:00Z"
    answer = contact(assignments, "asgn_001", early, only_if_later=only_if_later)

    assert answer.last_contact_date == instant(early)


def test_the_first_contact_is_later_than_none(assignments: AssignmentServiceStub) -> None:
    new_assignment(assignments)

    first = "2026-03-05T08:00:00Z"
    answer = contact(assignments, "asgn_001", first, only_if_later=True)

    assert answer.last_contact_date == instant(first)


def test_a_contact_told_late_of_no_assignment_is_not_found(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    request = UpdateLastContactRequest(
        assignment_id="asgn_001", contact_date=instant("2026-03-05T08:00:00Z"), only_if_later=True
    )
    assert refused(assignments.UpdateLastContact, request).code is grpc.StatusCode.NOT_FOUND
    assert history(database) == []


# --- The history ---


def test_what_the_history_stamps_is_in_whole_seconds(
    assignments: AssignmentServiceStub, clock: SettableClock, database: Database
) -> None:
    clock.set(CONTRACT_DAY.replace(microsecond=999_999))

    new_assignment(assignments, last_contact="2026-03-26T09:45:00Z")

    [row] = history(database)
    assert row.recorded_at.isoformat() == "2026-03-26T10:00:00+00:00"


def test_every_contact_is_kept_with_its_type_and_when_it_was_recorded(
    assignments: AssignmentServiceStub, clock: SettableClock, database: Database
) -> None:
    new_assignment(assignments)
    contact(assignments, "asgn_001", "2026-03-26T09:45:00Z", "message")
    clock.advance(hours=1)
    contact(assignments, "asgn_001", "2026-03-20T08:00:00.5Z", "call")
    clock.advance(hours=1)
    contact(assignments, "asgn_001", "2026-03-20T08:00:00.5Z")

    kept = [
        (
            row.assignment_id,
            row.contact_date.isoformat(),
            row.contact_type,
            row.recorded_at.isoformat(),
        )
        for row in history(database)
    ]
    assert kept == [
        (1, "2026-03-26T09:45:00+00:00", "message", "2026-03-26T10:00:00+00:00"),
        (1, "2026-03-20T08:00:00.500000+00:00", "call", "2026-03-26T11:00:00+00:00"),
        (1, "2026-03-20T08:00:00.500000+00:00", "", "2026-03-26T12:00:00+00:00"),
    ]


def test_a_contact_that_is_told_again_stands_in_the_history_once(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    created = new_assignment(assignments)
    told = [
        ("2026-03-20T08:00:00Z", "call"),
        ("2026-03-20T08:00:00Z", "call"),
        ("2026-03-20T08:00:00Z", "message"),
        ("2026-03-21T08:00:00Z", "message"),
        # Back to an earlier one is a correction, not a repetition.
        ("2026-03-20T08:00:00Z", "message"),
    ]

    for when, contact_type in told:
        contact(assignments, created.assignment_id, when, contact_type)

    kept = [(row.contact_date.day, row.contact_type) for row in history(database)]
    assert kept == [(20, "call"), (20, "message"), (21, "message"), (20, "message")]


def test_the_contact_history_goes_with_the_assignment_and_no_other(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    new_assignment(assignments, last_contact="2026-03-20T08:00:00Z")
    new_assignment(assignments, last_contact="2026-03-21T08:00:00Z")

    delete(assignments, "asgn_001")

    assert [row.assignment_id for row in history(database)] == [2]


# --- Days since the last contact ---


@pytest.mark.parametrize(
    ("last_contact", "now", "expected"),
    [
        ("2026-03-10T14:30:00Z", "2026-03-26T10:00:00Z", 16),
        ("2026-03-10T14:30:00Z", "2026-03-26T00:00:00Z", 16),
        ("2026-03-10T14:30:00Z", "2026-03-25T23:59:59Z", 15),
        ("2026-03-25T23:59:00Z", "2026-03-26T00:01:00Z", 1),
        ("2026-03-26T00:00:00Z", "2026-03-26T23:59:59Z", 0),
        ("2024-02-28T12:00:00Z", "2024-03-01T12:00:00Z", 2),
        ("0001-01-01T00:00:00Z", "2026-03-26T10:00:00Z", 739_700),
    ],
)
def test_days_since_contact_are_calendar_days_in_utc(
    assignments: AssignmentServiceStub,
    clock: SettableClock,
    last_contact: str,
    now: str,
    expected: int,
) -> None:
    clock.set(instant(now).ToDatetime(CONTRACT_DAY.tzinfo))
    created = new_assignment(assignments, last_contact=last_contact)

    assert created.days_since_contact.value == expected
    assert get(assignments, created.assignment_id).days_since_contact.value == expected
    (only,) = assignments.ListAssignments(ListAssignmentsRequest()).data
    assert only.days_since_contact.value == expected


def test_a_contact_that_is_tomorrow_by_another_clock_counts_as_today(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    clock.set(CONTRACT_DAY.replace(hour=23, minute=58))

    created = new_assignment(assignments, last_contact="2026-03-27T00:01:00Z")

    assert created.HasField("days_since_contact")
    assert created.days_since_contact.value == 0
