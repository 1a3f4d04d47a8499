"""GetAssignmentSummary: how things stand with the open assignments."""

from typing import Any

import grpc

from peermentor.v1.assignments_pb2 import (
    Assignment,
    AssignmentSummary,
    GetAssignmentSummaryRequest,
    ListOverdueAssignmentsRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.storage.engine.database import Database
from support.apps import own_server
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import contact, new_assignment, refused


def summary(assignments: AssignmentServiceStub, **fields: Any) -> AssignmentSummary:
    return assignments.GetAssignmentSummary(GetAssignmentSummaryRequest(**fields))


def test_nothing_has_a_summary_too(assignments: AssignmentServiceStub) -> None:
    found = summary(assignments)

    assert found == AssignmentSummary()
    assert not found.HasField("longest_silence_days")


def test_a_summary_counts_the_open_assignments_and_their_contacts(
    assignments: AssignmentServiceStub,
) -> None:
    for fields in (
        {},
        {},
        {"last_contact": "2026-03-20T10:00:00Z"},
        {"last_contact": "2026-03-01T23:00:00Z"},
        {"last_contact": "2026-01-05T23:00:00Z", "status": Assignment.paused},
        {"status": Assignment.paused},
        {"last_contact": "2026-03-20T10:00:00Z", "status": Assignment.completed},
        {"last_contact": "2025-03-20T10:00:00Z", "status": Assignment.cancelled},
    ):
        new_assignment(assignments, **fields)
    contact(assignments, "asgn_003", "2026-03-21T10:00:00Z")

    found = summary(assignments)

    assert (found.open, found.paused) == (6, 2)
    assert (found.overdue, found.never_contacted) == (3, 2)
    assert found.recent_contacts == 3
    assert found.longest_silence_days.value == 25


def test_without_any_contact_there_is_no_longest_silence(
    assignments: AssignmentServiceStub,
) -> None:
    new_assignment(assignments)
    new_assignment(assignments, last_contact="2026-03-01T00:00:00Z", status=Assignment.paused)

    found = summary(assignments)
    assert (found.overdue, found.never_contacted) == (1, 1)
    assert not found.HasField("longest_silence_days")


def test_as_many_are_overdue_as_are_listed(
    assignments: AssignmentServiceStub, database: Database, clock: SettableClock
) -> None:
    for day in range(15, 25):
        new_assignment(assignments, last_contact=f"2026-03-{day}T23:59:59.999999Z")
    new_assignment(assignments)

    with own_server(database, clock, overdue_after_days=3) as channel:
        for stub, count in ((assignments, 1), (AssignmentServiceStub(channel), 9)):
            overdue = stub.ListOverdueAssignments(ListOverdueAssignmentsRequest())
            assert summary(stub).overdue == overdue.pagination.total == count


def test_contacts_are_recent_from_midnight_30_days_ago(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    new_assignment(assignments)
    for when in ("2026-02-23T23:59:59.999999Z", "2026-02-24T00:00:00Z", "2026-03-26T10:04:00Z"):
        contact(assignments, "asgn_001", when)

    assert summary(assignments).recent_contacts == 2
    clock.set(CONTRACT_DAY.replace(hour=23, minute=59))
    assert summary(assignments).recent_contacts == 2
    clock.advance(minutes=1)
    assert summary(assignments).recent_contacts == 1


def test_a_summary_is_of_an_organization_a_coordinator_or_both(
    assignments: AssignmentServiceStub,
) -> None:
    for org_id, coordinator_id in (("o1", "c1"), ("o1", "c2"), ("o1", "c2"), ("o2", "c2")):
        new_assignment(
            assignments,
            org_id=org_id,
            coordinator_id=coordinator_id,
            last_contact="2026-03-20T10:00:00Z",
        )

    for fields, count in (
        ({}, 4),
        ({"org_id": "o1"}, 3),
        ({"coordinator_id": "c2"}, 3),
        ({"org_id": "o1", "coordinator_id": "c2"}, 2),
        ({"org_id": "O1"}, 0),
    ):
        found = summary(assignments, **fields)
        assert (found.open, found.recent_contacts) == (count, count)


def test_wrong_ids_are_named(assignments: AssignmentServiceStub) -> None:
    request = GetAssignmentSummaryRequest(org_id="", coordinator_id="a b")
    call = refused(assignments.GetAssignmentSummary, request)

    assert call.code is grpc.StatusCode.INVALID_ARGUMENT
    assert call.violations.keys() == {"org_id", "coordinator_id"}
