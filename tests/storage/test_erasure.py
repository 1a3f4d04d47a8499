"""What is deleted leaves no trace in the files of SQLite."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from peermentor.v1.assignments_pb2 import DeleteAssignmentRequest
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.storage.engine.database import Database
from support.factories import contact, new_assignment

NAME = "Telltale Name of Nobody"


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True, scope="session")
def test_a_deleted_name_and_its_contacts_are_in_no_file(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    created = new_assignment(assignments, mentee_id="telltale_id", mentee_name=NAME)
    contact(assignments, created.assignment_id, "2026-03-25T10:00:00Z", "telltale_contact")
    assert found_in_files(database) == {NAME, "telltale_id", "telltale_contact"}
    assignments.DeleteAssignment(DeleteAssignmentRequest(assignment_id=created.assignment_id))
    assert found_in_files(database) == set()


def found_in_files(database: Database) -> set[str]:
    file = make_url(database.location).database
    assert file is not None
    content = b"".join(path.read_bytes() for path in Path(file).parent.glob("*.db*"))
    return {text for text in (NAME, "telltale_id", "telltale_contact") if text.encode() in content}
