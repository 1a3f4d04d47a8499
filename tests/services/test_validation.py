"""How the services refuse what is wrong: all of it at once, by field, and without storing any."""

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from peermentor.v1.assignments_pb2 import Assignment
from peermentor_server.storage.engine.database import Database
from support.clock import SettableClock
from support.factories import (
    NEW_ASSIGNMENT,
    NEW_TEMPLATE,
    contents,
    instant,
    refused,
)
from support.rpcs import GOOD, SERVICES, GoodRequests, Rpcs


def test_there_is_a_good_request_of_every_rpc(service: GoodRequests) -> None:
    assert set(GOOD) == {method.name for each in SERVICES for method in each.methods}
    for rpc in GOOD:
        if rpc.startswith("Update"):
            service.call(rpc, **({} if rpc == "UpdateLastContact" else {"coordinator_id": "x"}))
        elif not rpc.startswith("Delete"):
            service.call(rpc)


# --- How errors are told ---


def test_a_refused_field_is_told_by_its_path_with_a_stable_reason(service: GoodRequests) -> None:
    call = service.refuse("CreateAssignment", org_id="no good")

    assert call.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (call.reason, call.domain) == ("INVALID_FIELD", "peermentor")
    assert call.violations.keys() == {"org_id"}
    assert call.message == f"org_id: {call.violations['org_id']}"


def test_all_refused_fields_are_told_at_once(service: GoodRequests) -> None:
    assignment = service.refuse(
        "CreateAssignment",
        mentee_id="",
        peer_mentor_id="a b",
        coordinator_id="a/b",
        org_id="x" * 129,
        start_date="today",
        mentee_name="\a",
    )
    assert assignment.violations.keys() == {*NEW_ASSIGNMENT, "mentee_name"}

    template = service.refuse(
        "CreateTemplate",
        coordinator_id="",
        organization_id="",
        name="",
        activity_type="",
        recurrence_rule="",
        duration_minutes=0,
        mentor_ids=["m", "a b", "m", ""],
        notes_template="\0",
    )
    mentors = {"mentor_ids[1]", "mentor_ids[2]", "mentor_ids[3]"}
    assert template.violations.keys() == (set(NEW_TEMPLATE) - {"mentor_ids"}) | mentors

    listing = service.refuse(
        "ListOverdueAssignments",
        cutoff_date="",
        started_before="",
        status=Assignment.unspecified,
        org_id="",
        coordinator_id="",
        peer_mentor_id="",
        mentee_id="",
        page=0,
        limit=0,
    )
    assert listing.violations.keys() == {
        "cutoff_date",
        "started_before",
        "status",
        "org_id",
        "coordinator_id",
        "peer_mentor_id",
        "mentee_id",
        "page",
        "limit",
    }


def test_a_request_without_anything_is_told_all_that_is_required(channel: grpc.Channel) -> None:
    rpcs = Rpcs(channel)

    assignment = rpcs.refuse("CreateAssignment")
    template = rpcs.refuse("CreateTemplate")

    assert assignment.violations.keys() == set(NEW_ASSIGNMENT) - {"start_date"}
    assert template.violations.keys() == set(NEW_TEMPLATE) - {"mentor_ids", "notes_template"}
    assert template.violations["recurrence_rule"] == "is required and must not be blank"


def test_no_error_repeats_what_the_caller_sent(service: GoodRequests) -> None:
    sent = "Kari-Nordmann "
    for rpc, field in (
        ("CreateAssignment", "mentee_id"),
        ("CreateAssignment", "start_date"),
        ("ListOverdueAssignments", "cutoff_date"),
        ("CreateTemplate", "recurrence_rule"),
        ("ListAssignments", "page_token"),
    ):
        call = service.refuse(rpc, **{field: sent})
        assert "Kari" not in call.message + str(call.violations), (rpc, field)


# A client has room for 8 KiB of trailers; all violations of the largest request fit in.
def test_a_hundred_refused_mentors_are_told_within_what_a_client_can_receive(
    service: GoodRequests,
) -> None:
    fields: dict[str, Any] = dict.fromkeys(NEW_TEMPLATE)
    fields |= {"mentor_ids": ["not an id"] * 100, "notes_template": "\0"}

    call = service.refuse("CreateTemplate", **fields)

    assert call.code is grpc.StatusCode.INVALID_ARGUMENT
    assert call.violations.keys() == {
        *NEW_TEMPLATE,
        *(f"mentor_ids[{index}]" for index in range(20)),
    }
    assert "80" in call.violations["mentor_ids"]
    assert call.message.endswith("; and 23 more")


# --- Bytes that are no message ---


@pytest.mark.parametrize(
    "garbage",
    [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"not a message"],
    ids=["no tag", "cut off", "not UTF-8", "text"],
)
def test_bytes_that_are_no_message_are_an_error_of_the_caller(
    channel: grpc.Channel, service: GoodRequests, database: Database, garbage: bytes
) -> None:
    before = contents(database)
    # Their first field is a number: what is cut off or not UTF-8 stands elsewhere.
    by_number = {"ListAssignments", "ListTemplates"}

    for each in SERVICES:
        for method in each.methods:
            if method.name in by_number and garbage[:1] == b"\x0a":
                continue
            raw = channel.unary_unary(
                f"/{each.full_name}/{method.name}",
                request_serializer=bytes,
                response_deserializer=bytes,
            )
            call = refused(raw, garbage)
            assert call.code is grpc.StatusCode.INVALID_ARGUMENT, method.name
            assert (call.reason, call.domain) == ("MALFORMED_REQUEST", "peermentor")
            assert call.violations == {}

    assert contents(database) == before
    assert service.call("GetAssignment").assignment_id == "asgn_001"


# --- After a refusal ---

REFUSALS: list[tuple[str, dict[str, Any]]] = [
    ("CreateAssignment", {"mentee_name": "New Name", "org_id": ""}),
    ("CreateAssignment", {"mentee_id": "new", "start_date": "never"}),
    ("UpdateAssignment", {"mentee_name": "New Name", "status": 99}),
    ("UpdateAssignment", {"mentee_name": "New Name", "assignment_id": "asgn_999"}),
    ("UpdateAssignment", {"org_id": "new", "update_mask": FieldMask(paths=["org_id", "x"])}),
    ("UpdateAssignment", {"org_id": "new", "reminder_sent_at": Timestamp(nanos=-1)}),
    ("UpdateAssignment", {}),
    ("DeleteAssignment", {"assignment_id": "asgn_999"}),
    ("UpdateLastContact", {"contact_type": "\n"}),
    ("UpdateLastContact", {"contact_date": instant("2026-03-27T10:00:00Z")}),
    ("UpdateLastContact", {"assignment_id": "asgn_999"}),
    ("CreateTemplate", {"name": ""}),
    ("CreateTemplate", {"mentor_ids": ["m", "m"]}),
    ("UpdateTemplate", {"name": "New Name", "duration_minutes": 0}),
    ("UpdateTemplate", {"name": "New Name", "id": "rt-999"}),
    ("UpdateTemplate", {}),
    ("DeleteTemplate", {"id": "rt-999"}),
]


def test_a_refused_call_changes_nothing(
    service: GoodRequests, database: Database, clock: SettableClock
) -> None:
    service.call("UpdateLastContact")
    service.call("UpdateAssignment", mentee_name="Bjørn Solberg")
    before = contents(database)
    clock.advance(seconds=1)

    for rpc, fields in REFUSALS:
        service.refuse(rpc, **fields)
        assert contents(database) == before, (rpc, fields)
