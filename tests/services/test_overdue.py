"""ListOverdueAssignments: who is overdue, since when, and in which order."""

from typing import Any

import pytest

from peermentor.v1.assignments_pb2 import (
    Assignment,
    ListOverdueAssignmentsRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.storage.engine.database import Database
from support.apps import own_server
from support.assignments import ids, overdue
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import new_assignment, refused


def test_the_longest_silent_come_first_and_the_never_contacted_before_all(
    assignments: AssignmentServiceStub,
) -> None:
    new_assignment(assignments, last_contact="2026-03-02T00:00:00Z")
    new_assignment(assignments)
    new_assignment(assignments, last_contact="2026-03-01T23:59:59.999999Z")
    new_assignment(assignments, last_contact="2026-03-02T00:00:00Z")
    new_assignment(assignments)
    new_assignment(assignments, last_contact="2026-03-25T00:00:00Z")

    assert overdue(assignments) == ["asgn_002", "asgn_005", "asgn_003", "asgn_001", "asgn_004"]


def test_overdue_assignments_are_described_in_full(assignments: AssignmentServiceStub) -> None:
    created = new_assignment(
        assignments, mentee_name="Ingrid Halvorsen", last_contact="2026-03-10T14:30:00Z"
    )

    answer = assignments.ListOverdueAssignments(ListOverdueAssignmentsRequest())

    assert list(answer.data) == [created]


def test_started_before_leaves_out_newcomers(assignments: AssignmentServiceStub) -> None:
    new_assignment(assignments, start_date="2026-03-11")
    new_assignment(assignments, start_date="2026-03-12")

    assert overdue(assignments) == ["asgn_001", "asgn_002"]
    assert overdue(assignments, started_before="2026-03-12") == ["asgn_001"]


@pytest.mark.parametrize("status", [Assignment.paused, Assignment.completed, Assignment.cancelled])
def test_only_active_assignments_are_overdue(
    assignments: AssignmentServiceStub, status: Assignment.Status.ValueType
) -> None:
    new_assignment(assignments, status=status)
    active = new_assignment(assignments)

    assert overdue(assignments) == [active.assignment_id]
    assert overdue(assignments, status=Assignment.active) == [active.assignment_id]
    answer = assignments.ListOverdueAssignments(ListOverdueAssignmentsRequest(status=status))
    assert (ids(answer), answer.pagination.total) == ([], 0)


def test_overdue_filters_combine_with_the_cutoff_and_the_start(
    assignments: AssignmentServiceStub,
) -> None:
    new_assignment(assignments, start_date="2026-01-01", last_contact="2026-03-01T00:00:00Z")
    new_assignment(assignments, start_date="2026-01-01", last_contact="2026-03-19T00:00:00Z")
    new_assignment(assignments, start_date="2026-02-01", last_contact="2026-03-01T00:00:00Z")
    new_assignment(assignments, start_date="2026-01-01", org_id="another")

    found = overdue(
        assignments, cutoff_date="2026-03-10", started_before="2026-02-01", org_id="org_03"
    )

    assert found == ["asgn_001"]


# --- The cutoff ---


def test_by_default_the_cutoff_is_midnight_utc_fourteen_days_ago(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    new_assignment(assignments, last_contact="2026-03-11T23:59:59.999999Z")
    new_assignment(assignments, last_contact="2026-03-12T00:00:00Z")

    assert overdue(assignments) == ["asgn_001"]
    clock.set(CONTRACT_DAY.replace(hour=23, minute=59))
    assert overdue(assignments) == ["asgn_001"]
    clock.advance(minutes=1)
    assert overdue(assignments) == ["asgn_001", "asgn_002"]


def test_the_default_cutoff_is_a_setting_of_the_server(
    assignments: AssignmentServiceStub, database: Database, clock: SettableClock
) -> None:
    new_assignment(assignments, last_contact="2026-03-22T23:59:59Z")
    new_assignment(assignments, last_contact="2026-03-23T00:00:00Z")

    with own_server(database, clock, overdue_after_days=3) as channel:
        found = overdue(AssignmentServiceStub(channel))

    assert found == ["asgn_001"]


@pytest.mark.parametrize(
    "cutoff",
    [
        "2026-03-20",
        "2026-03-20T00:00:00Z",
        "2026-03-20t00:00:00z",
        "2026-03-20 00:00:00Z",
        "2026-03-20T00:00:00.000Z",
        "2026-03-20T01:00:00+01:00",
        "2026-03-19T18:30:00-05:30",
    ],
)
def test_a_cutoff_is_a_date_or_an_instant_and_contact_at_the_cutoff_is_in_time(
    assignments: AssignmentServiceStub, cutoff: str
) -> None:
    new_assignment(assignments, last_contact="2026-03-19T23:59:59.999999Z")
    new_assignment(assignments, last_contact="2026-03-20T00:00:00Z")

    assert overdue(assignments, cutoff_date=cutoff) == ["asgn_001"]


def test_a_cutoff_counts_to_the_microsecond(assignments: AssignmentServiceStub) -> None:
    new_assignment(assignments, last_contact="2026-03-20T12:00:00.000001Z")

    assert overdue(assignments, cutoff_date="2026-03-20T12:00:00.000001Z") == []
    assert overdue(assignments, cutoff_date="2026-03-20T12:00:00.000002Z") == ["asgn_001"]


def test_a_cutoff_may_lie_anywhere(assignments: AssignmentServiceStub) -> None:
    new_assignment(assignments, last_contact="2026-03-26T10:00:00Z")
    new_assignment(assignments)

    assert overdue(assignments, cutoff_date="0001-01-01") == ["asgn_002"]
    assert overdue(assignments, cutoff_date="9999-12-31") == ["asgn_002", "asgn_001"]


# --- Page tokens and the cutoff ---


OTHER_CUTOFFS: list[dict[str, Any]] = [
    {"cutoff_date": "2026-03-21"},
    {"cutoff_date": "2026-03-20T00:00:01Z"},
    {"cutoff_date": "2026-03-20", "started_before": "2026-04-01"},
    {},
]


def test_a_token_is_refused_with_another_cutoff_than_its_own(
    assignments: AssignmentServiceStub,
) -> None:
    for _ in range(2):
        new_assignment(assignments)
    first = assignments.ListOverdueAssignments(
        ListOverdueAssignmentsRequest(limit=1, cutoff_date="2026-03-20")
    )
    token = first.next_page_token
    the_same = "2026-03-20T01:00:00+01:00"
    assert overdue(assignments, page_token=token, cutoff_date=the_same) == ["asgn_002"]

    for other in OTHER_CUTOFFS:
        request = ListOverdueAssignmentsRequest(page_token=token, **other)
        call = refused(assignments.ListOverdueAssignments, request)
        assert call.violations.keys() == {"page_token"}, other


def test_a_token_of_the_default_cutoff_outlives_midnight(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    new_assignment(assignments)
    new_assignment(assignments)
    new_assignment(assignments, last_contact="2026-03-12T12:00:00Z")
    first = assignments.ListOverdueAssignments(ListOverdueAssignmentsRequest(limit=1))
    assert first.pagination.total == 2

    clock.advance(days=1)

    rest = overdue(assignments, page_token=first.next_page_token)
    assert rest == ["asgn_002", "asgn_003"]
