"""Creates that are repeated with the same request_id, as their callers see it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from sqlalchemy import func, select

from peermentor.v1.assignments_pb2 import (
    Assignment,
    CreateAssignmentRequest,
    DeleteAssignmentRequest,
    UpdateAssignmentRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import (
    CreateTemplateRequest,
    DeleteTemplateRequest,
    RecurringTemplate,
)
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server.rpc.app import App
from peermentor_server.settings import Address, Settings
from peermentor_server.storage import tables
from peermentor_server.storage.engine.database import Database
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import (
    NEW_ASSIGNMENT,
    NEW_TEMPLATE,
    contents,
    new_assignment,
    new_template,
    refused,
)
from support.ports import free_ports
from support.racing import at_once, errors

ID = "0c7c5ab2-3a0c-4ba6-9a39-6a8b6a1a8f0e"
ROUNDS = 10


def repeatable_assignment(**fields: Any) -> CreateAssignmentRequest:
    return CreateAssignmentRequest(**{**NEW_ASSIGNMENT, "request_id": ID, **fields})


def repeatable_template(**fields: Any) -> CreateTemplateRequest:
    return CreateTemplateRequest(**{**NEW_TEMPLATE, "request_id": ID, **fields})


def count(database: Database, table: Any) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


# --- The same request again ---


def test_a_repeat_is_answered_with_the_assignment_that_the_first_made(
    assignments: AssignmentServiceStub, clock: SettableClock, database: Database
) -> None:
    first = assignments.CreateAssignment(repeatable_assignment(mentee_name="Bjørn Solberg"))
    clock.advance(hours=1)
    again = assignments.CreateAssignment(repeatable_assignment(mentee_name="Bjørn Solberg"))

    assert again == first
    assert count(database, tables.assignments) == 1


def test_a_repeat_is_answered_with_the_template_that_the_first_made(
    templates: TemplateServiceStub, clock: SettableClock, database: Database
) -> None:
    first = templates.CreateTemplate(repeatable_template())
    clock.advance(hours=1)
    again = templates.CreateTemplate(repeatable_template())

    assert again == first
    assert count(database, tables.templates) == 1


def test_a_repeat_is_answered_with_the_assignment_as_it_is_by_then(
    assignments: AssignmentServiceStub,
) -> None:
    first = assignments.CreateAssignment(repeatable_assignment(mentee_name="Bjørn Solberg"))
    changed = assignments.UpdateAssignment(
        UpdateAssignmentRequest(
            assignment_id=first.assignment_id, mentee_name="B.", status=Assignment.paused
        )
    )

    again = assignments.CreateAssignment(repeatable_assignment(mentee_name="Bjørn Solberg"))

    assert again == changed
    assert (again.mentee_name, again.status) == ("B.", Assignment.paused)


def test_without_a_request_id_each_create_makes_one_more(
    assignments: AssignmentServiceStub, templates: TemplateServiceStub, database: Database
) -> None:
    assert new_assignment(assignments) != new_assignment(assignments)
    assert new_template(templates) != new_template(templates)
    assert contents(database)["idempotency_keys"] == []


def test_requests_of_different_ids_are_different_requests(
    assignments: AssignmentServiceStub,
) -> None:
    ids = [ID, ID.upper(), ID[:-1], "1"]
    made = {new_assignment(assignments, request_id=each).assignment_id for each in ids}
    assert len(made) == len(ids)


def test_an_id_of_one_rpc_says_nothing_to_the_other(
    assignments: AssignmentServiceStub, templates: TemplateServiceStub
) -> None:
    for _ in range(2):
        assert assignments.CreateAssignment(repeatable_assignment()).assignment_id == "asgn_001"
        assert templates.CreateTemplate(repeatable_template()).id == "rt-001"


def test_a_default_that_has_changed_since_makes_no_other_request(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    request = repeatable_assignment()
    request.ClearField("start_date")
    clock.set(CONTRACT_DAY.replace(hour=23, minute=59, second=59))
    first = assignments.CreateAssignment(request)
    clock.advance(seconds=2)

    assert assignments.CreateAssignment(request) == first
    assert first.start_date == "2026-03-26"


def test_a_rule_that_has_run_out_since_is_no_reason_to_refuse_a_repeat(
    templates: TemplateServiceStub, clock: SettableClock
) -> None:
    last = "FREQ=DAILY;UNTIL=20260326T100005Z"
    first = templates.CreateTemplate(repeatable_template(recurrence_rule=last))
    clock.advance(seconds=10)

    assert templates.CreateTemplate(repeatable_template(recurrence_rule=last)) == first
    other = repeatable_template(recurrence_rule=last, request_id="other")
    assert refused(templates.CreateTemplate, other).violations.keys() == {"recurrence_rule"}


# --- Other content ---


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mentee_id", "user_089"),
        ("peer_mentor_id", "user_043"),
        ("coordinator_id", "user_008"),
        ("org_id", "org_04"),
        ("start_date", "2026-03-27"),
        ("start_date", None),
        ("mentee_name", "Bjørn Solberg"),
        ("mentee_name", ""),
    ],
)
def test_an_assignment_of_other_content_is_refused(
    assignments: AssignmentServiceStub, database: Database, field: str, value: str | None
) -> None:
    assignments.CreateAssignment(repeatable_assignment())
    before = contents(database)

    call = refused(assignments.CreateAssignment, repeatable_assignment(**{field: value}))

    assert (call.code, call.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert contents(database) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("coordinator_id", "coord-205"),
        ("organization_id", "org-45"),
        ("name", "Monthly Review"),
        ("activity_type", "review"),
        ("recurrence_rule", "FREQ=DAILY"),
        ("duration_minutes", 91),
        ("mentor_ids", NEW_TEMPLATE["mentor_ids"][::-1]),
        ("notes_template", ""),
        ("is_active", False),
    ],
)
def test_a_template_of_other_content_is_refused(
    templates: TemplateServiceStub, database: Database, field: str, value: Any
) -> None:
    templates.CreateTemplate(repeatable_template())
    before = contents(database)

    call = refused(templates.CreateTemplate, repeatable_template(**{field: value}))

    assert (call.code, call.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert contents(database) == before


# --- What is remembered ---


def test_an_id_is_forgotten_after_a_day_and_not_before(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    made = []
    for seconds in (0, 86_399, 1, 86_399, 1):
        clock.advance(seconds=seconds)
        made.append(assignments.CreateAssignment(repeatable_assignment()).assignment_id)

    assert made == ["asgn_001", "asgn_001", "asgn_002", "asgn_002", "asgn_003"]


def test_after_a_day_an_id_may_stand_for_other_content(
    templates: TemplateServiceStub, clock: SettableClock
) -> None:
    templates.CreateTemplate(repeatable_template())
    clock.advance(days=1)

    other = templates.CreateTemplate(repeatable_template(name="Monthly Review"))

    assert (other.id, other.name) == ("rt-002", "Monthly Review")
    assert templates.CreateTemplate(repeatable_template(name="Monthly Review")) == other


def test_creates_delete_what_is_forgotten(
    assignments: AssignmentServiceStub, clock: SettableClock, database: Database
) -> None:
    for number in range(3):
        new_assignment(assignments, request_id=f"old-{number}")
    clock.advance(days=1)
    new_assignment(assignments, request_id="new")

    assert [row.request_id for row in contents(database)["idempotency_keys"]] == ["new"]


def test_what_is_remembered_holds_no_content(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    created = assignments.CreateAssignment(repeatable_assignment(mentee_name="Bjørn Solberg"))
    request = DeleteAssignmentRequest(assignment_id=created.assignment_id)
    assignments.DeleteAssignment(request)

    left = {name: rows for name, rows in contents(database).items() if rows}
    assert left.keys() == {"idempotency_keys"}
    for value in ("Bjørn", "Solberg", *NEW_ASSIGNMENT.values()):
        assert value not in str(left)


def test_what_was_made_and_deleted_is_not_made_again(
    assignments: AssignmentServiceStub, templates: TemplateServiceStub, database: Database
) -> None:
    assignment = assignments.CreateAssignment(repeatable_assignment())
    template = templates.CreateTemplate(repeatable_template())
    assignments.DeleteAssignment(DeleteAssignmentRequest(assignment_id=assignment.assignment_id))
    templates.DeleteTemplate(DeleteTemplateRequest(id=template.id))

    calls = [
        refused(assignments.CreateAssignment, repeatable_assignment()),
        refused(templates.CreateTemplate, repeatable_template()),
    ]

    assert [(call.code, call.reason) for call in calls] == [
        (grpc.StatusCode.NOT_FOUND, "ASSIGNMENT_NOT_FOUND"),
        (grpc.StatusCode.NOT_FOUND, "TEMPLATE_NOT_FOUND"),
    ]
    assert [call.message for call in calls] == [
        "the assignment that this request_id created has been deleted",
        "the template that this request_id created has been deleted",
    ]
    assert count(database, tables.assignments) == count(database, tables.templates) == 0


def test_a_create_that_is_refused_uses_no_id(
    assignments: AssignmentServiceStub, templates: TemplateServiceStub, database: Database
) -> None:
    refused(assignments.CreateAssignment, repeatable_assignment(org_id="no good"))
    refused(templates.CreateTemplate, repeatable_template(duration_minutes=0))
    assert contents(database)["idempotency_keys"] == []

    assert assignments.CreateAssignment(repeatable_assignment()).assignment_id == "asgn_001"
    assert templates.CreateTemplate(repeatable_template()).id == "rt-001"


# --- How an id is given ---


GOOD_IDS = ["1", "x" * 64, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "!~/\\{}"]
BAD_IDS = ["", "x" * 65, " ", "a b", "a\tb", "a\n", "\0", "\x7f", "ø", "\u200b", "\uff11"]


@pytest.mark.parametrize("request_id", GOOD_IDS)
def test_an_id_is_1_to_64_printable_ascii_characters(
    assignments: AssignmentServiceStub, templates: TemplateServiceStub, request_id: str
) -> None:
    for _ in range(2):
        assert new_assignment(assignments, request_id=request_id).assignment_id == "asgn_001"
        assert new_template(templates, request_id=request_id).id == "rt-001"


@pytest.mark.parametrize("request_id", BAD_IDS, ids=ascii)
def test_any_other_id_is_refused_with_all_else_that_is(
    assignments: AssignmentServiceStub,
    templates: TemplateServiceStub,
    database: Database,
    request_id: str,
) -> None:
    calls = [
        refused(
            assignments.CreateAssignment, repeatable_assignment(request_id=request_id, org_id="")
        ),
        refused(templates.CreateTemplate, repeatable_template(request_id=request_id, name="")),
    ]

    assert [call.code for call in calls] == [grpc.StatusCode.INVALID_ARGUMENT] * 2
    assert calls[0].violations.keys() == {"org_id", "request_id"}
    assert calls[1].violations.keys() == {"name", "request_id"}
    assert not any(contents(database).values())


def test_the_metadata_does_the_same_as_the_field(
    assignments: AssignmentServiceStub, templates: TemplateServiceStub
) -> None:
    assignment, template = repeatable_assignment(), repeatable_template()
    made: list[Any] = [
        assignments.CreateAssignment(assignment),
        templates.CreateTemplate(template),
    ]
    key = (("idempotency-key", ID),)
    both = [
        assignments.CreateAssignment(assignment, metadata=key),
        templates.CreateTemplate(template, metadata=key),
    ]
    assignment.ClearField("request_id")
    template.ClearField("request_id")
    alone = [
        assignments.CreateAssignment(assignment, metadata=key),
        templates.CreateTemplate(template, metadata=key * 2),
    ]

    assert both == made
    assert alone == made


@pytest.mark.parametrize("keys", [["other"], [""], [ID, "other"], [ID.upper()]])
def test_a_field_and_metadata_that_differ_are_refused(
    templates: TemplateServiceStub, database: Database, keys: list[str]
) -> None:
    metadata = tuple(("idempotency-key", key) for key in keys)
    create = partial(templates.CreateTemplate, metadata=metadata)

    call = refused(create, repeatable_template())

    assert call.code is grpc.StatusCode.INVALID_ARGUMENT
    assert call.violations.keys() == {"request_id"}
    assert not any(contents(database).values())


@pytest.mark.parametrize("keys", [[""], ["a b"], ["x" * 65], ["one", "two"]])
def test_bad_metadata_is_refused_by_the_name_of_the_field(
    assignments: AssignmentServiceStub, keys: list[str]
) -> None:
    metadata = tuple(("idempotency-key", key) for key in keys)
    create = partial(assignments.CreateAssignment, metadata=metadata)

    call = refused(create, CreateAssignmentRequest(**NEW_ASSIGNMENT))

    assert call.violations.keys() == {"request_id"}


# --- At the same moment ---


@pytest.fixture
def other_channel(
    settings: Settings, database: Database, clock: SettableClock
) -> Iterator[grpc.Channel]:
    """A channel to another server, on the same database as the first."""
    address = Address("127.0.0.1", free_ports(1)[0])
    own = Database(database.engine.url.render_as_string(hide_password=False))
    app = App(settings.model_copy(update={"grpc_address": address}), own, clock)
    app.start()
    with grpc.insecure_channel(str(address)) as other:
        yield other
    app.stop()
    own.close()


def test_twins_at_the_same_moment_make_one_assignment(
    channel: grpc.Channel, other_channel: grpc.Channel, database: Database
) -> None:
    stubs = [AssignmentServiceStub(each) for each in (channel, other_channel)] * 3
    for number in range(ROUNDS):
        request = repeatable_assignment(request_id=f"request-{number}", mentee_name="Bjørn")
        outcomes = at_once(*(partial(stub.CreateAssignment, request) for stub in stubs))
        assert errors(outcomes) == []
        assert len({each.assignment_id for each in outcomes}) == 1
    assert count(database, tables.assignments) == count(database, tables.idempotency_keys) == ROUNDS


def test_twins_at_the_same_moment_make_one_template(
    channel: grpc.Channel, other_channel: grpc.Channel, database: Database
) -> None:
    stubs = [TemplateServiceStub(each) for each in (channel, other_channel)] * 3
    for number in range(ROUNDS):
        request = repeatable_template(request_id=f"request-{number}")
        outcomes: list[RecurringTemplate] = at_once(
            *(partial(stub.CreateTemplate, request) for stub in stubs)
        )
        assert errors(outcomes) == []
        assert len({each.id for each in outcomes}) == 1
    assert count(database, tables.templates) == count(database, tables.idempotency_keys) == ROUNDS


def test_of_different_requests_with_one_id_at_the_same_moment_one_is_stored(
    channel: grpc.Channel, other_channel: grpc.Channel, database: Database
) -> None:
    first, second = (TemplateServiceStub(each) for each in (channel, other_channel))
    for number in range(ROUNDS):
        request_id = f"request-{number}"
        outcomes = at_once(
            partial(first.CreateTemplate, repeatable_template(request_id=request_id)),
            partial(second.CreateTemplate, repeatable_template(request_id=request_id, name="x")),
        )
        [error] = errors(outcomes)
        assert isinstance(error, grpc.RpcError)
        assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert count(database, tables.templates) == ROUNDS
