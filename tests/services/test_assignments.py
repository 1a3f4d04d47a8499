"""AssignmentService, as its callers see it: what only assignments have."""

import pytest

from peermentor.v1.assignments_pb2 import (
    Assignment,
    CreateAssignmentRequest,
    ListAssignmentsRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from support.assignments import ids, listed, overdue, update
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import NEW_ASSIGNMENT, instant, new_assignment


def test_a_new_assignment_is_active_and_has_had_no_contact_yet(
    assignments: AssignmentServiceStub,
) -> None:
    created = assignments.CreateAssignment(CreateAssignmentRequest(**NEW_ASSIGNMENT))

    assert created == Assignment(
        assignment_id="asgn_001",
        mentee_name="",
        peer_mentor_id="user_042",
        coordinator_id="user_007",
        org_id="org_03",
        status=Assignment.active,
        created_at=instant("2026-03-26T10:00:00Z"),
        updated_at=instant("2026-03-26T10:00:00Z"),
        mentee_id="user_088",
        start_date="2026-03-26",
    )
    for unset in (
        "last_contact_date",
        "days_since_contact",
        "reminder_sent_at",
        "escalation_sent_at",
    ):
        assert not created.HasField(unset)


def test_the_start_date_is_kept_as_given_and_may_lie_anywhere(
    assignments: AssignmentServiceStub,
) -> None:
    for day in ("0001-01-01", "2024-02-29", "9999-12-31"):
        assert new_assignment(assignments, start_date=day).start_date == day


def test_without_a_start_date_an_assignment_starts_today_in_utc(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    request = CreateAssignmentRequest(**NEW_ASSIGNMENT)
    request.ClearField("start_date")

    clock.set(CONTRACT_DAY.replace(hour=23, minute=59, second=59, microsecond=999_999))
    assert assignments.CreateAssignment(request).start_date == "2026-03-26"
    clock.advance(seconds=1)
    assert assignments.CreateAssignment(request).start_date == "2026-03-27"


def test_one_mentee_may_have_several_assignments_even_equal_ones(
    assignments: AssignmentServiceStub,
) -> None:
    assert new_assignment(assignments).assignment_id == "asgn_001"
    assert new_assignment(assignments).assignment_id == "asgn_002"


def test_an_assignment_may_come_back_to_life(assignments: AssignmentServiceStub) -> None:
    created = new_assignment(assignments, status=Assignment.cancelled)

    changed = update(assignments, created.assignment_id, status=Assignment.active)

    assert changed.status == Assignment.active


# --- ListAssignments ---


STATUSES = [
    ("asgn_001", Assignment.active),
    ("asgn_002", Assignment.paused),
    ("asgn_003", Assignment.completed),
    ("asgn_004", Assignment.cancelled),
]


def test_without_a_status_the_open_assignments_are_listed(
    assignments: AssignmentServiceStub,
) -> None:
    for _, status in STATUSES:
        new_assignment(assignments, status=status)

    answer = assignments.ListAssignments(ListAssignmentsRequest())

    assert ids(answer) == ["asgn_001", "asgn_002"]
    assert answer.pagination.total == 2


@pytest.mark.parametrize(("expected", "status"), STATUSES)
def test_a_status_lists_the_assignments_of_that_status_alone(
    assignments: AssignmentServiceStub, expected: str, status: Assignment.Status.ValueType
) -> None:
    for _, each in STATUSES:
        new_assignment(assignments, status=each)

    assert listed(assignments, status=status) == [expected]


@pytest.mark.parametrize("field", ["org_id", "coordinator_id", "peer_mentor_id", "mentee_id"])
def test_each_filter_lists_what_equals_it(assignments: AssignmentServiceStub, field: str) -> None:
    for value in ("here", "there", "here", "HERE", "he_e", "her%"):
        new_assignment(assignments, **{field: value})

    assert listed(assignments, **{field: "here"}) == ["asgn_001", "asgn_003"]
    assert overdue(assignments, **{field: "here"}) == ["asgn_001", "asgn_003"]
    assert listed(assignments, **{field: "her%"}) == ["asgn_006"]
    assert listed(assignments, **{field: "nowhere"}) == []


def test_filters_combine(assignments: AssignmentServiceStub) -> None:
    wanted = {"org_id": "o", "coordinator_id": "c", "peer_mentor_id": "p", "mentee_id": "m"}
    new_assignment(assignments, **wanted)
    new_assignment(assignments, **wanted, status=Assignment.paused)
    for field in wanted:
        new_assignment(assignments, **{**wanted, field: "other"})

    assert listed(assignments, **wanted) == ["asgn_001", "asgn_002"]
    assert listed(assignments, **wanted, status=Assignment.paused) == ["asgn_002"]
    assert overdue(assignments, **wanted) == ["asgn_001"]
