"""AssignmentService, as its callers see it: what only assignments have."""

import pytest

from peermentor.v1.assignments_pb2 import (
    Assignment,
    CreateAssignmentRequest,
    ListAssignmentsRequest,
    ListOverdueAssignmentsRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from support.assignments import ids, listed, overdue, update
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import NEW_ASSIGNMENT, contact, instant, new_assignment


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
        etag='"1-1"',
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


@pytest.mark.parametrize(
    ("field", "sent"), [("reminded", "reminder_sent_at"), ("escalated", "escalation_sent_at")]
)
def test_what_has_been_sent_in_this_cycle_is_a_filter_of_both_lists(
    assignments: AssignmentServiceStub, field: str, sent: str
) -> None:
    for _ in range(3):
        new_assignment(assignments, last_contact="2026-03-01T00:00:00Z")
    for assignment_id in ("asgn_001", "asgn_003"):
        update(assignments, assignment_id, **{sent: instant("2026-03-18T08:00:00Z")})
    # Another contact, though long ago, begins another cycle.
    contact(assignments, "asgn_003", "2026-03-02T00:00:00Z")

    for ask in (listed, overdue):
        assert ask(assignments, **{field: True}) == ["asgn_001"]
        assert ask(assignments, **{field: False}) == ["asgn_002", "asgn_003"]
        assert ask(assignments, **{field: False}, org_id="org_03", limit=1) == ["asgn_002"]
        assert ask(assignments, **{field: False}, org_id="another") == []
        assert ask(assignments) == ["asgn_001", "asgn_002", "asgn_003"]


def test_reminded_and_escalated_combine(assignments: AssignmentServiceStub) -> None:
    when = instant("2026-03-18T08:00:00Z")
    sent = [{"reminder_sent_at": when}, {"escalation_sent_at": when}]
    for fields in ({}, sent[0], sent[1], sent[0] | sent[1]):
        created = new_assignment(assignments)
        if fields:
            update(assignments, created.assignment_id, **fields)

    for ask in (listed, overdue):
        found = [
            ask(assignments, reminded=reminded, escalated=escalated)
            for reminded, escalated in ((False, False), (True, False), (False, True), (True, True))
        ]
        assert found == [["asgn_001"], ["asgn_002"], ["asgn_003"], ["asgn_004"]]


def test_what_was_changed_at_an_instant_was_not_changed_after_it(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    for _ in range(3):
        new_assignment(assignments)
        clock.advance(seconds=1)

    for ask in (listed, overdue):
        for after, expected in {
            "2026-03-26": ["asgn_001", "asgn_002", "asgn_003"],
            "2026-03-26T09:59:59.999999Z": ["asgn_001", "asgn_002", "asgn_003"],
            "2026-03-26T10:00:00Z": ["asgn_002", "asgn_003"],
            "2026-03-26T11:00:01+01:00": ["asgn_003"],
            "2026-03-27": [],
        }.items():
            assert ask(assignments, updated_after=after) == expected

    update(assignments, "asgn_001", status=Assignment.paused)
    assert listed(assignments, updated_after="2026-03-26T10:00:02Z") == ["asgn_001"]


def test_a_job_reminds_each_of_the_overdue_once(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    for _ in range(5):
        new_assignment(assignments)
    request = ListOverdueAssignmentsRequest(reminded=False, limit=2)
    reminded = []
    while True:
        page = assignments.ListOverdueAssignments(request)
        for each in ids(page):
            # From now on it is not in the list that is being gone through.
            update(assignments, each, reminder_sent_at=instant("2026-03-26T10:00:00Z"))
            reminded.append(each)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token

    assert reminded == [f"asgn_00{number}" for number in range(1, 6)]
    assert overdue(assignments, reminded=False) == []
    clock.advance(days=20)
    contact(assignments, "asgn_002", "2026-03-27T00:00:00Z")
    assert overdue(assignments, reminded=False) == ["asgn_002"]
