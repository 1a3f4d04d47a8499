"""Asking the AssignmentService, in a line."""

from typing import Any

from sqlalchemy import Row

from peermentor.v1.assignments_pb2 import (
    Assignment,
    DeleteAssignmentRequest,
    DeleteAssignmentResponse,
    GetAssignmentRequest,
    ListAssignmentsRequest,
    ListAssignmentsResponse,
    ListOverdueAssignmentsRequest,
    UpdateAssignmentRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.storage.engine.database import Database
from support.factories import contents


def get(assignments: AssignmentServiceStub, assignment_id: str) -> Assignment:
    """Return an assignment."""
    return assignments.GetAssignment(GetAssignmentRequest(assignment_id=assignment_id))


def update(assignments: AssignmentServiceStub, assignment_id: str, **fields: Any) -> Assignment:
    """Change an assignment."""
    request = UpdateAssignmentRequest(assignment_id=assignment_id, **fields)
    return assignments.UpdateAssignment(request)


def delete(assignments: AssignmentServiceStub, assignment_id: str) -> DeleteAssignmentResponse:
    """Delete an assignment."""
    return assignments.DeleteAssignment(DeleteAssignmentRequest(assignment_id=assignment_id))


def listed(assignments: AssignmentServiceStub, **request: Any) -> list[str]:
    """Return the ids on a page."""
    return ids(assignments.ListAssignments(ListAssignmentsRequest(**request)))


def overdue(assignments: AssignmentServiceStub, **request: Any) -> list[str]:
    """Return the ids on a page of the overdue."""
    return ids(assignments.ListOverdueAssignments(ListOverdueAssignmentsRequest(**request)))


def ids(page: ListAssignmentsResponse) -> list[str]:
    """Return the ids on a page."""
    return [each.assignment_id for each in page.data]


def history(database: Database) -> list[Row[Any]]:
    """Return all contacts, in the order in which they were told."""
    return list(contents(database)["contacts"])
