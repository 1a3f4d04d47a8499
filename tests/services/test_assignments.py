"""AssignmentService, as its callers see it: every RPC over a real channel."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import Row, select, update

from peermentor.v1.assignments_pb2 import (
    Assignment,
    CreateAssignmentRequest,
    DeleteAssignmentRequest,
    DeleteAssignmentResponse,
    GetAssignmentRequest,
    ListAssignmentsRequest,
    ListAssignmentsResponse,
    ListOverdueAssignmentsRequest,
    UpdateAssignmentRequest,
    UpdateLastContactRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.rpc.app import App
from peermentor_server.rules import texts
from peermentor_server.settings import Address, Settings
from peermentor_server.storage import tables
from peermentor_server.storage.engine.database import Database
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import (
    NEW_ASSIGNMENT,
    contact,
    contents,
    instant,
    new_assignment,
    refused,
)
from support.ports import free_ports


def get(assignments: AssignmentServiceStub, assignment_id: str) -> Assignment:
    return assignments.GetAssignment(GetAssignmentRequest(assignment_id=assignment_id))


def update_assignment(
    assignments: AssignmentServiceStub, assignment_id: str, **fields: Any
) -> Assignment:
    return assignments.UpdateAssignment(
        UpdateAssignmentRequest(assignment_id=assignment_id, **fields)
    )


def delete(assignments: AssignmentServiceStub, assignment_id: str) -> DeleteAssignmentResponse:
    return assignments.DeleteAssignment(DeleteAssignmentRequest(assignment_id=assignment_id))


def listed(assignments: AssignmentServiceStub, **request: Any) -> list[str]:
    return ids(assignments.ListAssignments(ListAssignmentsRequest(**request)))


def overdue(assignments: AssignmentServiceStub, **request: Any) -> list[str]:
    return ids(assignments.ListOverdueAssignments(ListOverdueAssignmentsRequest(**request)))


def ids(response: ListAssignmentsResponse) -> list[str]:
    return [each.assignment_id for each in response.data]


def history(database: Database) -> list[Row[Any]]:
    with database.read() as connection:
        query = select(tables.contacts).order_by(tables.contacts.c.id)
        return list(connection.execute(query).all())


def move(database: Database, key: int, new_key: int) -> None:
    """Give an assignment another key, to see one that would take thousands of calls."""
    column = tables.assignments.c.id
    with database.write() as connection:
        connection.execute(update(tables.assignments).where(column == key).values(id=new_key))


# --- CreateAssignment ---


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


def test_what_is_created_is_what_is_got_and_listed(assignments: AssignmentServiceStub) -> None:
    created = new_assignment(assignments, mentee_name="Bjørn Solberg")

    assert get(assignments, created.assignment_id) == created
    assert list(assignments.ListAssignments(ListAssignmentsRequest()).data) == [created]


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


def test_what_the_server_stamps_is_in_whole_seconds(
    assignments: AssignmentServiceStub, clock: SettableClock, database: Database
) -> None:
    clock.set(CONTRACT_DAY.replace(microsecond=999_999))
    created = new_assignment(assignments)
    clock.advance(seconds=60)
    changed = contact(assignments, created.assignment_id, "2026-03-26T09:45:00Z")

    assert changed.created_at == instant("2026-03-26T10:00:00Z")
    assert changed.updated_at == instant("2026-03-26T10:01:00Z")
    assert [row.recorded_at.isoformat() for row in history(database)] == [
        "2026-03-26T10:01:00+00:00"
    ]


def test_one_mentee_may_have_several_assignments_even_equal_ones(
    assignments: AssignmentServiceStub,
) -> None:
    assert new_assignment(assignments).assignment_id == "asgn_001"
    assert new_assignment(assignments).assignment_id == "asgn_002"


# --- The mentee's name ---


def test_a_name_given_with_a_new_assignment_counts_for_all_of_the_mentees(
    assignments: AssignmentServiceStub,
) -> None:
    first = new_assignment(assignments)
    other = new_assignment(assignments, mentee_id="user_089", mentee_name="Lars Eriksson")
    second = new_assignment(assignments, mentee_name="Bjørn Solberg")

    assert second.mentee_name == "Bjørn Solberg"
    assert get(assignments, first.assignment_id).mentee_name == "Bjørn Solberg"
    assert get(assignments, other.assignment_id).mentee_name == "Lars Eriksson"


def test_a_name_given_with_an_update_counts_for_all_of_the_mentees(
    assignments: AssignmentServiceStub,
) -> None:
    first = new_assignment(assignments, mentee_name="Bjorn")
    second = new_assignment(assignments)
    other = new_assignment(assignments, mentee_id="user_089", mentee_name="Lars Eriksson")

    changed = update_assignment(assignments, first.assignment_id, mentee_name="Bjørn Solberg")

    assert changed.mentee_name == "Bjørn Solberg"
    assert get(assignments, second.assignment_id).mentee_name == "Bjørn Solberg"
    assert get(assignments, other.assignment_id).mentee_name == "Lars Eriksson"


def test_a_name_already_known_is_that_of_later_assignments(
    assignments: AssignmentServiceStub,
) -> None:
    new_assignment(assignments, mentee_name="Bjørn Solberg")

    assert new_assignment(assignments, org_id="another").mentee_name == "Bjørn Solberg"


def test_ids_of_mentees_are_case_sensitive(assignments: AssignmentServiceStub) -> None:
    new_assignment(assignments, mentee_id="user_a", mentee_name="Lars Eriksson")

    assert new_assignment(assignments, mentee_id="USER_A").mentee_name == ""
    assert listed(assignments, mentee_id="user_a") == ["asgn_001"]
    assert listed(assignments, mentee_id="USER_A") == ["asgn_002"]


def test_an_empty_name_clears_it_in_an_update_and_in_a_new_assignment(
    assignments: AssignmentServiceStub,
) -> None:
    first = new_assignment(assignments, mentee_name="Bjørn Solberg")
    assert update_assignment(assignments, first.assignment_id, mentee_name="").mentee_name == ""

    update_assignment(assignments, first.assignment_id, mentee_name="Bjørn Solberg")
    assert new_assignment(assignments, mentee_name="").mentee_name == ""
    assert get(assignments, first.assignment_id).mentee_name == ""


def test_the_name_goes_with_the_mentees_last_assignment_and_not_before(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    first = new_assignment(assignments, mentee_name="Bjørn Solberg")
    second = new_assignment(assignments, status=Assignment.completed)

    delete(assignments, first.assignment_id)
    assert get(assignments, second.assignment_id).mentee_name == "Bjørn Solberg"

    delete(assignments, second.assignment_id)
    assert contents(database)["mentees"] == []
    assert new_assignment(assignments).mentee_name == ""


def test_the_names_of_other_mentees_stay_when_one_goes(assignments: AssignmentServiceStub) -> None:
    first = new_assignment(assignments, mentee_name="Bjørn Solberg")
    other = new_assignment(assignments, mentee_id="user_089", mentee_name="Lars Eriksson")

    delete(assignments, first.assignment_id)

    assert get(assignments, other.assignment_id).mentee_name == "Lars Eriksson"


# --- UpdateAssignment ---

CHANGES: list[tuple[str, Any]] = [
    ("status", Assignment.paused),
    ("status", Assignment.completed),
    ("status", Assignment.cancelled),
    ("peer_mentor_id", "user_055"),
    ("coordinator_id", "user_008"),
    ("org_id", "org_04"),
    ("start_date", "2026-04-01"),
    ("mentee_name", "Lars Eriksson"),
    ("reminder_sent_at", instant("2026-03-18T08:00:00Z")),
    ("escalation_sent_at", instant("2026-03-20T08:00:00Z")),
]


@pytest.mark.parametrize(("field", "value"), CHANGES)
def test_an_update_changes_the_field_it_names_and_leaves_the_rest(
    assignments: AssignmentServiceStub, clock: SettableClock, field: str, value: Any
) -> None:
    before = new_assignment(
        assignments, mentee_name="Bjørn Solberg", last_contact="2026-03-25T09:00:00Z"
    )
    clock.advance(minutes=5)

    after = update_assignment(assignments, before.assignment_id, **{field: value})

    expected = Assignment()
    expected.CopyFrom(before)
    change: dict[str, Any] = {field: value, "updated_at": instant("2026-03-26T10:05:00Z")}
    expected.MergeFrom(Assignment(**change))
    assert after == expected
    assert get(assignments, before.assignment_id) == expected


def test_an_update_changes_all_the_fields_it_names(assignments: AssignmentServiceStub) -> None:
    created = new_assignment(assignments)

    changed = update_assignment(
        assignments, created.assignment_id, status=Assignment.completed, peer_mentor_id="user_055"
    )

    assert changed.status == Assignment.completed
    assert changed.peer_mentor_id == "user_055"


def test_an_update_leaves_other_assignments_as_they_are(
    assignments: AssignmentServiceStub,
) -> None:
    created, other = new_assignment(assignments), new_assignment(assignments)

    update_assignment(assignments, created.assignment_id, org_id="org_04")

    assert get(assignments, other.assignment_id) == other


def test_an_assignment_may_come_back_to_life(assignments: AssignmentServiceStub) -> None:
    created = new_assignment(assignments, status=Assignment.cancelled)

    changed = update_assignment(assignments, created.assignment_id, status=Assignment.active)

    assert changed.status == Assignment.active


@pytest.mark.parametrize("mask", [None, FieldMask()])
def test_an_update_that_names_nothing_is_refused(
    assignments: AssignmentServiceStub, mask: FieldMask | None
) -> None:
    created = new_assignment(assignments)
    request = UpdateAssignmentRequest(assignment_id=created.assignment_id, update_mask=mask)

    call = refused(assignments.UpdateAssignment, request)

    assert call.code is grpc.StatusCode.INVALID_ARGUMENT
    assert call.violations.keys() == {"update_mask"}


def test_an_empty_mask_changes_every_field_with_a_value(
    assignments: AssignmentServiceStub,
) -> None:
    created = new_assignment(assignments)

    changed = update_assignment(
        assignments,
        created.assignment_id,
        org_id="org_04",
        coordinator_id="user_008",
        update_mask=FieldMask(),
    )

    assert (changed.org_id, changed.coordinator_id) == ("org_04", "user_008")


def test_a_value_that_the_mask_does_not_name_is_ignored_even_a_bad_one(
    assignments: AssignmentServiceStub,
) -> None:
    created = new_assignment(assignments)

    changed = update_assignment(
        assignments,
        created.assignment_id,
        org_id="org_04",
        coordinator_id="user_008",
        start_date="whenever",
        update_mask=FieldMask(paths=["org_id"]),
    )

    assert (changed.org_id, changed.coordinator_id) == ("org_04", "user_007")
    assert changed.start_date == "2026-03-26"


def test_a_field_named_twice_by_the_mask_is_changed_once(
    assignments: AssignmentServiceStub,
) -> None:
    created = new_assignment(assignments)

    changed = update_assignment(
        assignments,
        created.assignment_id,
        org_id="org_04",
        update_mask=FieldMask(paths=["org_id", "org_id"]),
    )

    assert changed.org_id == "org_04"


@pytest.mark.parametrize("field", ["reminder_sent_at", "escalation_sent_at", "mentee_name"])
def test_a_field_that_the_mask_names_without_a_value_is_cleared(
    assignments: AssignmentServiceStub, field: str
) -> None:
    created = new_assignment(assignments, mentee_name="Bjørn Solberg")
    before = update_assignment(
        assignments,
        created.assignment_id,
        reminder_sent_at=instant("2026-03-18T08:00:00Z"),
        escalation_sent_at=instant("2026-03-20T08:00:00Z"),
    )

    after = update_assignment(
        assignments, created.assignment_id, update_mask=FieldMask(paths=[field])
    )

    before.ClearField(field)  # type: ignore[arg-type]
    assert after == before


@pytest.mark.parametrize(
    "field", ["status", "peer_mentor_id", "coordinator_id", "org_id", "start_date"]
)
def test_a_field_that_cannot_be_empty_is_not_cleared_by_the_mask(
    assignments: AssignmentServiceStub, field: str
) -> None:
    created = new_assignment(assignments)
    request = UpdateAssignmentRequest(
        assignment_id=created.assignment_id, update_mask=FieldMask(paths=[field])
    )

    call = refused(assignments.UpdateAssignment, request)

    assert call.violations.keys() == {field}
    assert get(assignments, created.assignment_id) == created


@pytest.mark.parametrize(
    "path",
    [
        "nonsense",
        "",
        "*",
        "orgId",
        "org_id.x",
        "assignment_id",
        "mentee_id",
        "update_mask",
        "last_contact_date",
        "created_at",
        "id",
        "status\0",
    ],
)
def test_a_mask_that_names_anything_else_is_refused(
    assignments: AssignmentServiceStub, path: str
) -> None:
    created = new_assignment(assignments)
    request = UpdateAssignmentRequest(
        assignment_id=created.assignment_id,
        org_id="org_04",
        update_mask=FieldMask(paths=["org_id", path]),
    )

    call = refused(assignments.UpdateAssignment, request)

    assert call.violations.keys() == {"update_mask"}
    assert get(assignments, created.assignment_id) == created


def test_all_that_is_wrong_behind_a_mask_is_told_at_once(
    assignments: AssignmentServiceStub,
) -> None:
    created = new_assignment(assignments)
    request = UpdateAssignmentRequest(
        assignment_id=created.assignment_id,
        org_id="no good",
        update_mask=FieldMask(paths=["org_id", "status", "nonsense"]),
    )

    call = refused(assignments.UpdateAssignment, request)

    assert call.violations.keys() == {"org_id", "status", "update_mask"}


# --- DeleteAssignment ---


def test_a_deleted_assignment_is_gone(assignments: AssignmentServiceStub) -> None:
    created, other = new_assignment(assignments), new_assignment(assignments)

    answer = delete(assignments, created.assignment_id)

    assert answer == DeleteAssignmentResponse(deleted=True, assignment_id="asgn_001")
    call = refused(assignments.GetAssignment, GetAssignmentRequest(assignment_id="asgn_001"))
    assert call.code is grpc.StatusCode.NOT_FOUND
    assert listed(assignments) == [other.assignment_id]


def test_an_assignment_is_deleted_once(assignments: AssignmentServiceStub) -> None:
    created = new_assignment(assignments)
    delete(assignments, created.assignment_id)

    request = DeleteAssignmentRequest(assignment_id=created.assignment_id)
    call = refused(assignments.DeleteAssignment, request)

    assert call.code is grpc.StatusCode.NOT_FOUND


def test_the_contact_history_goes_with_the_assignment_and_no_other(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    new_assignment(assignments, last_contact="2026-03-20T08:00:00Z")
    new_assignment(assignments, last_contact="2026-03-21T08:00:00Z")

    delete(assignments, "asgn_001")

    assert [row.assignment_id for row in history(database)] == [2]


def test_ids_of_deleted_assignments_are_never_used_again(
    assignments: AssignmentServiceStub,
) -> None:
    created = [new_assignment(assignments).assignment_id for _ in range(3)]
    for assignment_id in created:
        delete(assignments, assignment_id)

    assert new_assignment(assignments).assignment_id == "asgn_004"


# --- Ids ---


@pytest.mark.parametrize(
    ("key", "assignment_id"),
    [(1, "asgn_001"), (999, "asgn_999"), (1000, "asgn_1000"), (2**63 - 1, f"asgn_{2**63 - 1}")],
)
def test_ids_have_three_digits_and_more_where_three_do_not_suffice(
    assignments: AssignmentServiceStub, database: Database, key: int, assignment_id: str
) -> None:
    new_assignment(assignments)
    move(database, 1, key)

    assert listed(assignments) == [assignment_id]
    assert get(assignments, assignment_id).assignment_id == assignment_id
    assert update_assignment(assignments, assignment_id, org_id="x").assignment_id == assignment_id
    assert contact(assignments, assignment_id, "2026-03-26T09:45:00Z").HasField("last_contact_date")
    assert delete(assignments, assignment_id).assignment_id == assignment_id


NOT_IDS = [
    "asgn_002",
    "asgn_1",
    "asgn_01",
    "asgn_0001",
    "asgn_000",
    "asgn_-01",
    "asgn_+01",
    "asgn_ 01",
    "asgn_0x1",
    "asgn_1e0",
    "ASGN_001",
    "Asgn_001",
    "asgn-001",
    "asgn001",
    "rt-001",
    "001",
    "1",
    " asgn_001",
    "asgn_001 ",
    "asgn_001\n",
    "asgn_001\0",
    "\0",
    "asgn_\u0660\u0660\u0661",
    "asgn_\uff10\uff10\uff11",
    "asgn_" + "9" * 30,
    f"asgn_{2**63}",
    "asgn_",
    "",
    "asgn_001' OR '1'='1",
    "%",
    "x" * 100_000,
]


def test_whatever_is_not_the_id_of_an_assignment_is_not_found(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    new_assignment(assignments)
    before = contents(database)

    for assignment_id in NOT_IDS:
        for method, request in about(assignments, assignment_id):
            call = refused(method, request)
            assert call.code is grpc.StatusCode.NOT_FOUND, ascii(assignment_id)
            assert (call.reason, call.domain) == ("ASSIGNMENT_NOT_FOUND", "peermentor")
            assert call.message == f"there is no assignment {texts.shown_id(assignment_id)}"

    assert contents(database) == before


def about(
    assignments: AssignmentServiceStub, assignment_id: str
) -> list[tuple[Callable[[Any], object], object]]:
    """Return a good call of each RPC that takes an id."""
    return [
        (assignments.GetAssignment, GetAssignmentRequest(assignment_id=assignment_id)),
        (
            assignments.UpdateAssignment,
            UpdateAssignmentRequest(assignment_id=assignment_id, mentee_name="x"),
        ),
        (assignments.DeleteAssignment, DeleteAssignmentRequest(assignment_id=assignment_id)),
        (
            assignments.UpdateLastContact,
            UpdateLastContactRequest(
                assignment_id=assignment_id, contact_date=instant("2026-03-26T09:45:00Z")
            ),
        ),
    ]


def test_a_request_without_an_id_finds_nothing(assignments: AssignmentServiceStub) -> None:
    new_assignment(assignments)

    call = refused(assignments.DeleteAssignment, DeleteAssignmentRequest())

    assert call.code is grpc.StatusCode.NOT_FOUND


# --- UpdateLastContact ---


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


def sent(assignments: AssignmentServiceStub, assignment_id: str) -> Assignment:
    return update_assignment(
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


# --- days_since_contact ---


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


def test_lists_are_in_ascending_order_of_ids(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    for _ in range(3):
        new_assignment(assignments)
    for key, new_key in ((1, 1000), (2, 999), (3, 998)):
        move(database, key, new_key)

    assert listed(assignments) == ["asgn_998", "asgn_999", "asgn_1000"]


# --- ListOverdueAssignments ---


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
    (port,) = free_ports(1)
    settings = Settings(grpc_address=Address("127.0.0.1", port), overdue_after_days=3)
    app = App(settings, database, clock)
    app.start()

    with grpc.insecure_channel(str(settings.grpc_address)) as channel:
        found = overdue(AssignmentServiceStub(channel))
    app.stop()

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


def test_overdue_assignments_are_described_in_full(assignments: AssignmentServiceStub) -> None:
    created = new_assignment(
        assignments, mentee_name="Ingrid Halvorsen", last_contact="2026-03-10T14:30:00Z"
    )

    answer = assignments.ListOverdueAssignments(ListOverdueAssignmentsRequest())

    assert list(answer.data) == [created]


# --- Pages, of both lists ---

Lister = Callable[..., ListAssignmentsResponse]

DATES = [None, "2026-03-01T00:00:00Z", "2026-03-01T00:00:00.000001Z", "2026-03-02T00:00:00Z"]


@pytest.fixture(params=["ListAssignments", "ListOverdueAssignments"])
def pages(request: pytest.FixtureRequest, assignments: AssignmentServiceStub) -> Lister:
    if request.param == "ListAssignments":
        return lambda **fields: assignments.ListAssignments(ListAssignmentsRequest(**fields))
    return lambda **fields: assignments.ListOverdueAssignments(
        ListOverdueAssignmentsRequest(**fields)
    )


def test_an_empty_list_has_one_empty_page(pages: Lister) -> None:
    answer = pages()

    assert ids(answer) == []
    assert (answer.pagination.page, answer.pagination.limit, answer.pagination.total) == (1, 20, 0)
    assert answer.next_page_token == ""


def test_a_page_has_twenty_by_default(pages: Lister, assignments: AssignmentServiceStub) -> None:
    for _ in range(21):
        new_assignment(assignments)

    first = pages()
    assert len(first.data) == 20
    assert (first.pagination.page, first.pagination.limit, first.pagination.total) == (1, 20, 21)

    second = pages(page=2)
    assert ids(second) == ["asgn_021"]
    assert (second.pagination.page, second.pagination.total) == (2, 21)
    assert second.next_page_token == ""


def test_a_page_has_a_hundred_at_most_and_says_so(
    pages: Lister, assignments: AssignmentServiceStub
) -> None:
    for _ in range(101):
        new_assignment(assignments)

    for limit in (100, 101, 2**31 - 1):
        answer = pages(limit=limit)
        assert len(answer.data) == 100
        assert (answer.pagination.limit, answer.pagination.total) == (100, 101)
        assert ids(pages(page=2, limit=limit)) == ["asgn_101"]


def test_numbered_pages_part_the_list(pages: Lister, assignments: AssignmentServiceStub) -> None:
    for _ in range(5):
        new_assignment(assignments)

    assert [ids(pages(page=number, limit=2)) for number in (1, 2, 3)] == [
        ["asgn_001", "asgn_002"],
        ["asgn_003", "asgn_004"],
        ["asgn_005"],
    ]


def test_a_page_that_ends_the_list_exactly_has_no_next_page(
    pages: Lister, assignments: AssignmentServiceStub
) -> None:
    for _ in range(4):
        new_assignment(assignments)

    assert pages(limit=2).next_page_token != ""
    assert pages(limit=2, page=2).next_page_token == ""
    assert pages(limit=4).next_page_token == ""


@pytest.mark.parametrize("page", [3, 100_000])
def test_a_page_past_the_end_is_empty_and_still_counts(
    pages: Lister, assignments: AssignmentServiceStub, page: int
) -> None:
    for _ in range(3):
        new_assignment(assignments)

    answer = pages(page=page, limit=100 if page > 3 else 2)

    assert ids(answer) == []
    assert (answer.pagination.page, answer.pagination.total) == (page, 3)
    assert answer.next_page_token == ""


def test_the_total_counts_what_meets_the_filters_on_every_page(
    pages: Lister, assignments: AssignmentServiceStub
) -> None:
    for number in range(6):
        new_assignment(assignments, org_id=f"org_{number % 2}")

    first = pages(org_id="org_0", limit=2)
    second = pages(org_id="org_0", limit=2, page_token=first.next_page_token)

    assert (first.pagination.total, second.pagination.total) == (3, 3)
    assert ids(first) + ids(second) == ["asgn_001", "asgn_003", "asgn_005"]


def test_tokens_walk_through_all_pages_and_count_them(
    pages: Lister, assignments: AssignmentServiceStub
) -> None:
    for last_contact in (None, None, None, *DATES[1:], DATES[1]):
        new_assignment(assignments, last_contact=last_contact)
    whole = ids(pages())

    seen, numbers, token = [], [], ""
    while True:
        answer = pages(limit=2, page_token=token)
        seen += ids(answer)
        numbers.append(answer.pagination.page)
        token = answer.next_page_token
        if not token:
            break

    assert seen == whole
    assert len(set(seen)) == 7
    assert numbers == [1, 2, 3, 4]


def test_a_token_goes_on_from_a_numbered_page_and_with_another_limit(
    pages: Lister, assignments: AssignmentServiceStub
) -> None:
    for _ in range(6):
        new_assignment(assignments)

    second = pages(page=2, limit=2)
    third = pages(limit=1, page_token=second.next_page_token)

    assert ids(third) == ["asgn_005"]
    assert (third.pagination.page, third.pagination.limit) == (3, 1)


def test_tokens_neither_skip_nor_repeat_while_others_insert_and_delete(
    pages: Lister, assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    dice = random.Random(7)
    clock.advance(days=60)
    lasting = {
        new_assignment(assignments, last_contact=dice.choice(DATES)).assignment_id
        for _ in range(20)
    }
    passing = [
        new_assignment(assignments, last_contact=dice.choice(DATES)).assignment_id
        for _ in range(20)
    ]

    seen: list[str] = []
    token = ""
    while True:
        answer = pages(limit=3, page_token=token)
        seen += ids(answer)
        token = answer.next_page_token
        if not token:
            break
        # The very row at which this page ended goes too, if it is one that may go.
        for gone in {seen[-1], dice.choice(passing)} & set(passing):
            delete(assignments, gone)
            passing.remove(gone)
        if dice.random() < 0.5:
            new_assignment(assignments, last_contact=dice.choice(DATES))

    assert len(seen) == len(set(seen))
    assert lasting <= set(seen)


def forged(token: str, change: Callable[[list[Any]], object]) -> str:
    content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    changed = change(content)
    return base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")


GARBAGE = [
    "x",
    "garbage!",
    "\0",
    " ",
    "\N{SNOWMAN}",
    "=",
    "AAAA",
    "A" * 100_000,
    base64.urlsafe_b64encode(b"[" * 300).decode(),
    base64.urlsafe_b64encode(b"[" + b"9" * 300 + b"]").decode(),
    base64.urlsafe_b64encode(b"\xff\xfe\x00").decode(),
    base64.urlsafe_b64encode(b"NaN").decode(),
    base64.urlsafe_b64encode(b"{}").decode(),
    base64.urlsafe_b64encode(b"[]").decode(),
    base64.urlsafe_b64encode(b"null").decode(),
]


def test_a_token_that_is_none_is_refused(pages: Lister) -> None:
    for token in GARBAGE:
        call = refused(lambda token: pages(page_token=token), token)
        assert call.code is grpc.StatusCode.INVALID_ARGUMENT, ascii(token)
        assert call.violations.keys() == {"page_token"}, ascii(token)


FORGERIES: dict[str, Callable[[list[Any]], object]] = {
    "another binding": lambda t: ["0" * 16, *t[1:]],
    "no binding": lambda t: [None, *t[1:]],
    "page 1": lambda t: [t[0], 1, *t[2:]],
    "page -1": lambda t: [t[0], -1, *t[2:]],
    "a page beyond int32": lambda t: [t[0], 2**31, *t[2:]],
    "a page of true": lambda t: [t[0], True, *t[2:]],
    "a page of text": lambda t: [t[0], "2", *t[2:]],
    "a page of 2.5": lambda t: [t[0], 2.5, *t[2:]],
    "key 0": lambda t: [*t[:2], 0, *t[3:]],
    "key -1": lambda t: [*t[:2], -1, *t[3:]],
    "a key beyond int64": lambda t: [*t[:2], 2**63, *t[3:]],
    "a key of true": lambda t: [*t[:2], True, *t[3:]],
    "a key of text": lambda t: [*t[:2], "1", *t[3:]],
    "a key of null": lambda t: [*t[:2], None, *t[3:]],
    "a contact of text": lambda t: [*t[:3], "yesterday", t[4]],
    "a contact of NUL": lambda t: [*t[:3], "\0", t[4]],
    "a contact of a number": lambda t: [*t[:3], 1, t[4]],
    "a contact without a zone": lambda t: [*t[:3], "2026-03-01T00:00:00", t[4]],
    "a contact before year 1": lambda t: [*t[:3], "0001-01-01T00:00:00+14:00", t[4]],
    "a total of -1": lambda t: [*t[:4], -1],
    "a total beyond int32": lambda t: [*t[:4], 2**31],
    "a total of text": lambda t: [*t[:4], "1"],
    "without a total": lambda t: t[:4],
    "too short": lambda t: t[:3],
    "too long": lambda t: [*t, None],
    "an object": lambda t: {"binding": t[0], "key": t[2]},
}


def test_a_token_made_by_hand_is_refused_rather_than_an_internal_error(
    pages: Lister, assignments: AssignmentServiceStub
) -> None:
    for _ in range(2):
        new_assignment(assignments)
    token = pages(limit=1).next_page_token

    for name, forge in FORGERIES.items():
        call = refused(lambda token: pages(page_token=token), forged(token, forge))
        assert call.code is grpc.StatusCode.INVALID_ARGUMENT, name
        assert call.violations.keys() == {"page_token"}, name


@pytest.mark.parametrize("key", [2**63 - 1, 1])
def test_a_token_made_by_hand_reaches_nothing_that_a_list_does_not_show(
    pages: Lister, assignments: AssignmentServiceStub, key: int
) -> None:
    for _ in range(3):
        new_assignment(assignments, org_id="mine")
    new_assignment(assignments, org_id="theirs")
    token = pages(limit=1, org_id="mine").next_page_token

    forge = forged(token, lambda t: [t[0], 2**31 - 1, key, *t[3:]])
    answer = pages(page_token=forge, org_id="mine")

    assert ids(answer) == ([] if key > 1 else ["asgn_002", "asgn_003"])
    assert answer.pagination.page == 2**31 - 1


OTHER_FILTERS: list[dict[str, Any]] = [
    {"org_id": "org_04"},
    {"org_id": "org_03", "coordinator_id": "user_007"},
    {"coordinator_id": "org_03"},
    {"org_id": "org_03", "status": Assignment.active},
    {},
]


def test_a_token_is_refused_with_other_filters_than_its_own(
    pages: Lister, assignments: AssignmentServiceStub
) -> None:
    for _ in range(2):
        new_assignment(assignments)
    token = pages(limit=1, org_id="org_03").next_page_token
    assert ids(pages(page_token=token, org_id="org_03")) == ["asgn_002"]

    for other in OTHER_FILTERS:
        call = refused(lambda fields: pages(page_token=token, **fields), other)
        assert call.violations.keys() == {"page_token"}, other


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


def test_a_token_of_one_list_is_refused_by_the_other(assignments: AssignmentServiceStub) -> None:
    for _ in range(2):
        new_assignment(assignments)
    of_all = assignments.ListAssignments(ListAssignmentsRequest(limit=1))
    of_overdue = assignments.ListOverdueAssignments(ListOverdueAssignmentsRequest(limit=1))

    for call in (
        refused(
            assignments.ListOverdueAssignments,
            ListOverdueAssignmentsRequest(page_token=of_all.next_page_token),
        ),
        refused(
            assignments.ListAssignments,
            ListAssignmentsRequest(page_token=of_overdue.next_page_token),
        ),
    ):
        assert call.violations.keys() == {"page_token"}


def test_a_token_and_a_page_do_not_go_together(
    pages: Lister, assignments: AssignmentServiceStub
) -> None:
    for _ in range(2):
        new_assignment(assignments)
    token = pages(limit=1).next_page_token

    call = refused(lambda page: pages(page=page, page_token=token), 2)

    assert call.violations.keys() == {"page"}


def test_an_empty_token_is_none(pages: Lister, assignments: AssignmentServiceStub) -> None:
    new_assignment(assignments)

    assert ids(pages(page=1, page_token="")) == ["asgn_001"]
