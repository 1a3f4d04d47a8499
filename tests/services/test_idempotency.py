"""Which calls may be made again, and that the service does so when the database broke off."""

from collections.abc import Iterator

import grpc
import pytest
from sqlalchemy import text

from peermentor.v1.assignments_pb2 import (
    CreateAssignmentRequest,
    DeleteAssignmentRequest,
    GetAssignmentRequest,
    ListAssignmentsRequest,
    UpdateAssignmentRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.services.idempotency import ALWAYS, WITH_KEY, is_repeatable
from peermentor_server.storage.engine.database import Database
from support.apps import own_server
from support.factories import NEW_ASSIGNMENT, contents, refused
from support.lua import contract

SERVICE = "/peermentor.v1.AssignmentService"
NEW = CreateAssignmentRequest(**NEW_ASSIGNMENT)
KEYED = CreateAssignmentRequest(**NEW_ASSIGNMENT, request_id="once")
KEY = (("idempotency-key", "once"),)


# --- The rule ---


def test_the_protos_say_which_calls_are_safe_to_repeat() -> None:
    assert {path.rpartition("/")[2] for path in ALWAYS} == {
        "GetAssignment",
        "GetAssignmentSummary",
        "GetTemplate",
        "GetTemplateCalendar",
        "ListAssignments",
        "ListContacts",
        "ListOccurrences",
        "ListOverdueAssignments",
        "ListTemplates",
        "ListTemplatesByCoordinator",
        "ListTemplatesByOrganization",
        "UpdateAssignment",
        "UpdateLastContact",
        "UpdateTemplate",
    }
    assert {path.rpartition("/")[2] for path in WITH_KEY} == {"CreateAssignment", "CreateTemplate"}


@pytest.mark.parametrize(
    ("method", "request_", "metadata", "expected"),
    [
        ("GetAssignment", GetAssignmentRequest(), (), True),
        ("UpdateAssignment", UpdateAssignmentRequest(), (), True),
        ("CreateAssignment", NEW, (), False),
        ("CreateAssignment", KEYED, (), True),
        ("CreateAssignment", NEW, KEY, True),
        ("DeleteAssignment", DeleteAssignmentRequest(), (), False),
        # The service knows no keys of deletions.
        ("DeleteAssignment", DeleteAssignmentRequest(), KEY, False),
        ("Unknown", NEW, KEY, False),
    ],
)
def test_a_call_is_safe_to_repeat_by_its_method_or_its_key(
    method: str, request_: object, metadata: tuple[tuple[str, str], ...], expected: bool
) -> None:
    assert is_repeatable(f"{SERVICE}/{method}", request_, metadata) is expected


def test_the_gateway_repeats_the_same_calls() -> None:
    """It has a list of its own, written from the same protos, for workers that are lost."""
    table = contract()["repeatable"]
    for word, expected in (("always", ALWAYS), ("with key", WITH_KEY)):
        assert {path for path, when in table.items() if when == word} == expected


# --- The service ---


@pytest.fixture
def stub(postgresql: Database) -> Iterator[AssignmentServiceStub]:
    """Calls the service on a database whose commits can be told to fail."""
    with own_server(postgresql) as channel:
        yield AssignmentServiceStub(channel)


# Sequences keep counting in transactions that are undone.
_FAIL_ONCE = """
    CREATE SEQUENCE commits;
    CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('commits') = 1 THEN {failure}; END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER fail_once AFTER INSERT OR UPDATE OR DELETE ON assignments
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_once();
"""
UNCERTAIN = "RAISE WARNING 'the commit may not survive'"
UNDONE = "RAISE EXCEPTION USING ERRCODE = '40001'"


def _fail_once(database: Database, failure: str) -> None:
    with database.write() as connection:
        for statement in _FAIL_ONCE.format(failure=failure).split(";\n    C"):
            connection.execute(text(statement if "SEQUENCE" in statement else f"C{statement}"))


def _commits(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(text("SELECT last_value FROM commits")).scalar_one())


@pytest.mark.parametrize("failure", [UNCERTAIN, UNDONE])
@pytest.mark.parametrize(("request_", "metadata"), [(KEYED, ()), (NEW, KEY)])
def test_a_create_with_a_key_is_made_once_whatever_became_of_its_first_commit(
    postgresql: Database,
    stub: AssignmentServiceStub,
    failure: str,
    request_: CreateAssignmentRequest,
    metadata: tuple[tuple[str, str], ...],
) -> None:
    _fail_once(postgresql, failure)
    stub.CreateAssignment(request_, metadata=metadata)
    assert len(contents(postgresql)["assignments"]) == 1


def test_a_create_without_a_key_is_not_repeated_when_it_may_have_been_made(
    postgresql: Database, stub: AssignmentServiceStub
) -> None:
    _fail_once(postgresql, UNCERTAIN)
    assert refused(stub.CreateAssignment, NEW).code is grpc.StatusCode.UNAVAILABLE
    assert len(contents(postgresql)["assignments"]) == 1
    assert _commits(postgresql) == 1


def test_a_create_without_a_key_is_repeated_when_it_was_certainly_not_made(
    postgresql: Database, stub: AssignmentServiceStub
) -> None:
    _fail_once(postgresql, UNDONE)
    stub.CreateAssignment(NEW)
    assert len(contents(postgresql)["assignments"]) == 1
    assert _commits(postgresql) == 2


def test_an_update_is_repeated_even_when_it_may_have_been_made(
    postgresql: Database, stub: AssignmentServiceStub
) -> None:
    created = stub.CreateAssignment(NEW)
    _fail_once(postgresql, UNCERTAIN)
    update = UpdateAssignmentRequest(assignment_id=created.assignment_id, org_id="org_04")
    assert stub.UpdateAssignment(update).org_id == "org_04"
    assert _commits(postgresql) == 2


def test_a_delete_is_not_repeated_when_it_may_have_been_made(
    postgresql: Database, stub: AssignmentServiceStub
) -> None:
    created = stub.CreateAssignment(NEW)
    _fail_once(postgresql, UNCERTAIN)
    delete = DeleteAssignmentRequest(assignment_id=created.assignment_id)
    assert refused(stub.DeleteAssignment, delete).code is grpc.StatusCode.UNAVAILABLE
    assert stub.ListAssignments(ListAssignmentsRequest()).pagination.total == 0
    # And is when it was certainly not.
    other = stub.CreateAssignment(NEW)
    with postgresql.write() as connection:
        connection.execute(text("SELECT setval('commits', 1, false)"))
        body = f"BEGIN IF nextval('commits') = 1 THEN {UNDONE}; END IF; RETURN NULL; END"
        function = f"FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"
        connection.execute(text(f"CREATE OR REPLACE {function}"))
    assert stub.DeleteAssignment(DeleteAssignmentRequest(assignment_id=other.assignment_id)).deleted
