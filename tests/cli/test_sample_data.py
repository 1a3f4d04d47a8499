"""The sample data: what the contract's examples show, in a database that was empty."""

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from peermentor.v1.assignments_pb2 import (
    CreateAssignmentRequest,
    DeleteAssignmentRequest,
    GetAssignmentRequest,
    ListAssignmentsRequest,
    ListOverdueAssignmentsRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import (
    GetTemplateRequest,
    ListTemplatesByCoordinatorRequest,
    ListTemplatesByOrganizationRequest,
    ListTemplatesRequest,
)
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server.cli import sample_data
from peermentor_server.cli.sample import SAMPLE
from peermentor_server.storage import assignments as assignment_storage
from peermentor_server.storage.engine.database import Database
from support.databases import empty
from support.factories import contents, new_assignment, new_template


@pytest.fixture
def loaded(database: Database) -> tuple[int, int]:
    """The sample data, and how much of it there is."""
    return sample_data.load(database)


def _shown(message: Any) -> dict[str, Any]:
    shown: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return shown


def test_it_tells_how_much_it_has_loaded(loaded: tuple[int, int]) -> None:
    assert loaded == (47, 8)


@pytest.mark.usefixtures("loaded")
def test_47_assignments_are_open(assignments: AssignmentServiceStub) -> None:
    listed = assignments.ListAssignments(ListAssignmentsRequest(limit=100))
    assert listed.pagination.total == len(listed.data) == 47
    assert [each.assignment_id for each in listed.data] == [f"asgn_{n:03}" for n in range(1, 48)]


@pytest.mark.usefixtures("loaded")
def test_lars_is_as_in_the_contract(assignments: AssignmentServiceStub) -> None:
    lars = assignments.GetAssignment(GetAssignmentRequest(assignment_id="asgn_001"))
    assert _shown(lars) == {
        "assignment_id": "asgn_001",
        "mentee_id": "user_086",
        "mentee_name": "Lars Eriksson",
        "peer_mentor_id": "user_042",
        "coordinator_id": "user_007",
        "org_id": "org_03",
        "status": "active",
        "start_date": "2026-01-15",
        "last_contact_date": "2026-03-10T14:30:00Z",
        "days_since_contact": 16,
        "reminder_sent_at": "2026-03-18T08:00:00Z",
        "created_at": "2026-01-15T09:00:00Z",
        "updated_at": "2026-03-18T08:00:01Z",
        "etag": '"3-1.16"',
    }


@pytest.mark.usefixtures("loaded")
def test_ingrid_is_as_in_the_contract(assignments: AssignmentServiceStub) -> None:
    ingrid = assignments.GetAssignment(GetAssignmentRequest(assignment_id="asgn_002"))
    shown = _shown(ingrid)
    assert shown["mentee_name"] == "Ingrid Halvorsen"
    assert shown["peer_mentor_id"] == "user_019"
    assert shown["status"] == "active"
    assert shown["created_at"] == "2026-02-20T11:00:00Z"
    assert not {"last_contact_date", "days_since_contact"} & shown.keys()


@pytest.mark.usefixtures("loaded")
def test_three_are_overdue_and_ingrid_is_the_first(assignments: AssignmentServiceStub) -> None:
    overdue = assignments.ListOverdueAssignments(ListOverdueAssignmentsRequest())
    assert overdue.pagination.total == 3
    assert overdue.data[0].mentee_name == "Ingrid Halvorsen"
    assert "Lars Eriksson" in [each.mentee_name for each in overdue.data]


@pytest.mark.usefixtures("loaded")
def test_everybody_has_a_name_and_nobody_twice(assignments: AssignmentServiceStub) -> None:
    listed = assignments.ListAssignments(ListAssignmentsRequest(limit=100)).data
    assert all(each.mentee_name for each in listed)
    assert len({each.mentee_name for each in listed}) == len(listed)
    assert len({each.mentee_id for each in listed}) == len(listed)


@pytest.mark.usefixtures("loaded")
def test_nothing_lies_in_the_future(assignments: AssignmentServiceStub) -> None:
    listed = assignments.ListAssignments(ListAssignmentsRequest(limit=100)).data
    for each in listed:
        assert each.created_at.ToJsonString() <= each.updated_at.ToJsonString() < "2026-03-26T10"
        if each.HasField("last_contact_date"):
            assert each.created_at.ToJsonString() <= each.last_contact_date.ToJsonString()


@pytest.mark.usefixtures("loaded")
def test_the_next_assignment_is_48_and_its_mentee_is_known_by_name(
    assignments: AssignmentServiceStub,
) -> None:
    created = new_assignment(assignments)
    assert created.assignment_id == "asgn_048"
    assert created.mentee_name == "Bjørn Solberg"


@pytest.mark.usefixtures("loaded")
def test_the_first_template_is_as_in_the_contract(templates: TemplateServiceStub) -> None:
    first = templates.GetTemplate(GetTemplateRequest(id="rt-001"))
    assert _shown(first) == {
        "id": "rt-001",
        "coordinator_id": "coord-119",
        "organization_id": "org-44",
        "name": "Weekly Peer Session Template",
        "activity_type": "peer_session",
        "recurrence_rule": "RRULE:FREQ=WEEKLY;BYDAY=MO",
        "duration_minutes": 60,
        "mentor_ids": ["mentor-482", "mentor-510"],
        "notes_template": "Regular Monday group session",
        "is_active": True,
        "starts_on": "2026-01-15",
        "time_zone": "UTC",
        "created_at": "2026-01-15T08:00:00Z",
        "updated_at": "2026-03-01T10:00:00Z",
        "etag": '"2"',
    }


@pytest.mark.usefixtures("loaded")
def test_templates_are_eight_of_two_coordinators(templates: TemplateServiceStub) -> None:
    assert templates.ListTemplates(ListTemplatesRequest()).pagination.total == 8
    of_coordinator = templates.ListTemplatesByCoordinator(
        ListTemplatesByCoordinatorRequest(coordinator_id="coord-119")
    )
    assert of_coordinator.pagination.total == 5
    of_organization = templates.ListTemplatesByOrganization(
        ListTemplatesByOrganizationRequest(organization_id="org-44")
    )
    assert [(each.id, each.name) for each in of_organization.data[:2]] == [
        ("rt-001", "Weekly Peer Session Template"),
        ("rt-003", "Monthly Review"),
    ]
    assert of_organization.data[1].coordinator_id == "coord-205"


@pytest.mark.usefixtures("loaded")
def test_the_next_template_is_9(templates: TemplateServiceStub) -> None:
    assert new_template(templates).id == "rt-009"


@pytest.mark.usefixtures("loaded")
def test_every_template_would_be_accepted_as_it_is(templates: TemplateServiceStub) -> None:
    """Its fields keep the rules that callers must keep."""
    for each in templates.ListTemplates(ListTemplatesRequest()).data:
        given = {
            name: value
            for name, value in _shown(each).items()
            if name not in {"id", "created_at", "updated_at", "etag"}
        }
        assert new_template(templates, **given).recurrence_rule == each.recurrence_rule


# --- In the place of what `serve` suggests to make ---


def test_the_sample_is_in_nobodys_way(
    database: Database, assignments: AssignmentServiceStub
) -> None:
    told = "2026-03-26T09:45:00Z"
    new_assignment(assignments, **SAMPLE, last_contact=told, status="paused")
    assert sample_data.load(database) == (47, 8)
    loaded = contents(database)
    empty(database)
    sample_data.load(database)
    fresh = contents(database)
    # Of the history alone the keys are not the same.
    del loaded["contacts"], fresh["contacts"]
    assert loaded == fresh


@pytest.mark.parametrize("count", [2, 60])
def test_nor_is_it_when_it_was_made_often(
    count: int, database: Database, assignments: AssignmentServiceStub
) -> None:
    made = [assignments.CreateAssignment(CreateAssignmentRequest(**SAMPLE)) for _ in range(count)]
    assignments.DeleteAssignment(DeleteAssignmentRequest(assignment_id=made[0].assignment_id))
    assert sample_data.load(database) == (47, 8)
    listed = assignments.ListAssignments(ListAssignmentsRequest(limit=100)).data
    # An id that was deleted is never given again.
    assert [each.assignment_id for each in listed] == [f"asgn_{n:03}" for n in range(2, 49)]
    assert [each.mentee_name for each in listed[:2]] == ["Lars Eriksson", "Ingrid Halvorsen"]


def test_nor_is_it_without_its_name(database: Database, assignments: AssignmentServiceStub) -> None:
    nameless = {name: value for name, value in SAMPLE.items() if name != "mentee_name"}
    for _ in range(2):
        assignments.CreateAssignment(CreateAssignmentRequest(**nameless))
    assert sample_data.load(database) == (47, 8)
    listed = assignments.ListAssignments(ListAssignmentsRequest(limit=100)).data
    assert [each.assignment_id for each in listed] == [f"asgn_{n:03}" for n in range(1, 48)]


def test_a_request_for_the_sample_is_not_answered_with_another(
    database: Database, assignments: AssignmentServiceStub
) -> None:
    request = CreateAssignmentRequest(**SAMPLE, request_id="a-request-of-its-own")
    assignments.CreateAssignment(request)
    sample_data.load(database)
    assert assignments.CreateAssignment(request).assignment_id == "asgn_048"


@pytest.mark.usefixtures("loaded")
def test_the_sample_may_come_afterwards(assignments: AssignmentServiceStub) -> None:
    made = assignments.CreateAssignment(CreateAssignmentRequest(**SAMPLE))
    assert made.assignment_id == "asgn_048"


def test_the_sample_with_something_else_is_data(
    database: Database, assignments: AssignmentServiceStub
) -> None:
    assignments.CreateAssignment(CreateAssignmentRequest(**SAMPLE))
    new_assignment(assignments, mentee_id="user_089")
    _assert_refused(database)


@pytest.mark.parametrize("field", sorted(SAMPLE))
def test_what_is_not_quite_the_sample_is_data(
    field: str, database: Database, assignments: AssignmentServiceStub
) -> None:
    other = {"start_date": "2026-03-27"}.get(field, "other")
    assignments.CreateAssignment(CreateAssignmentRequest(**(SAMPLE | {field: other})))
    _assert_refused(database)


# --- Not into a database with data ---


@pytest.mark.usefixtures("loaded")
def test_it_loads_once(database: Database) -> None:
    before = contents(database)
    with pytest.raises(sample_data.NotEmpty):
        sample_data.load(database)
    assert contents(database) == before


def test_it_does_not_mix_with_an_assignment(
    database: Database, assignments: AssignmentServiceStub
) -> None:
    new_assignment(assignments, mentee_name="Ann Somebody")
    _assert_refused(database)


def test_it_does_not_mix_with_a_template(
    database: Database, templates: TemplateServiceStub
) -> None:
    new_template(templates)
    _assert_refused(database)


def test_it_does_not_replace_names_that_were_imported(database: Database) -> None:
    with database.write() as connection:
        assignment_storage.name_mentee(connection, "org_03", "user_088", "Ann Somebody")
    _assert_refused(database)


def _assert_refused(database: Database) -> None:
    before = contents(database)
    with pytest.raises(sample_data.NotEmpty):
        sample_data.load(database)
    assert contents(database) == before


def test_it_loads_everything_or_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sample_data, "_templates", fail)
    before = contents(database)
    with pytest.raises(ZeroDivisionError):
        sample_data.load(database)
    assert contents(database) == before
