"""Updates that are made again, by the gateway or by their callers: each is stored once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from peermentor.v1.assignments_pb2 import (
    Assignment,
    GetAssignmentRequest,
    UpdateAssignmentRequest,
    UpdateLastContactRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import GetTemplateRequest, UpdateTemplateRequest
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server.storage.engine.database import Database
from support.clock import SettableClock
from support.factories import contents, instant, new_assignment, new_template, refused

CALL, KEY = (("x-peermentor-call", "1"),), (("idempotency-key", "one"),)


@dataclass(frozen=True)
class Update:
    """An RPC that updates, how it is called, and what reads the resource."""

    make: Callable[..., Any]
    read: Callable[[], Any]
    first: Message
    others: Message
    """What somebody else asks for after that."""


@pytest.fixture(
    params=["UpdateAssignment", "UpdateAssignment-name", "UpdateLastContact", "UpdateTemplate"]
)
def update(request: pytest.FixtureRequest, channel: grpc.Channel) -> Update:
    """Each RPC that updates, on a resource that is there."""
    assignments, templates = AssignmentServiceStub(channel), TemplateServiceStub(channel)
    if request.param == "UpdateTemplate":
        key = new_template(templates).id
        return Update(
            templates.UpdateTemplate,
            lambda: templates.GetTemplate(GetTemplateRequest(id=key)),
            UpdateTemplateRequest(id=key, name="first", mentor_ids=["mentor-1"]),
            UpdateTemplateRequest(id=key, name="others", is_active=False),
        )
    key = new_assignment(assignments).assignment_id

    def read() -> Assignment:
        found: Assignment = assignments.GetAssignment(GetAssignmentRequest(assignment_id=key))
        return found

    if request.param == "UpdateLastContact":
        moments = [instant(f"2026-03-{day}T12:00:00Z") for day in (20, 21)]
        first, others = (
            UpdateLastContactRequest(assignment_id=key, contact_date=moment) for moment in moments
        )
        return Update(assignments.UpdateLastContact, read, first, others)
    field = "mentee_name" if request.param.endswith("name") else "coordinator_id"
    return Update(
        assignments.UpdateAssignment,
        read,
        *(_assignment_update(key, {field: value}) for value in ("first", "others")),
    )


def _assignment_update(key: str, fields: dict[str, Any]) -> UpdateAssignmentRequest:
    return UpdateAssignmentRequest(assignment_id=key, status=Assignment.paused, **fields)


@pytest.mark.parametrize("metadata", [CALL, KEY])
def test_an_update_that_is_made_again_undoes_nothing(update: Update, metadata: Any) -> None:
    answer = update.make(update.first, metadata=metadata)
    current = update.make(update.others)
    assert update.read() == current
    again = update.make(update.first, metadata=metadata)
    assert update.read() == current
    # The mentee's name is not the assignment's: it is told as it is.
    if isinstance(again, Assignment) and again.mentee_name != answer.mentee_name:
        answer.mentee_name = again.mentee_name
        assert again.etag.split("-")[0] == answer.etag.split("-")[0]
        answer.etag = again.etag
    assert again == answer


@pytest.mark.parametrize("metadata", [CALL, KEY])
def test_an_update_that_is_made_again_at_once_has_the_same_answer(
    update: Update, database: Database, metadata: Any
) -> None:
    answer = update.make(update.first, metadata=metadata)
    before = contents(database)
    assert update.make(update.first, metadata=metadata) == answer == update.read()
    assert contents(database) == before


def test_updates_without_a_key_are_each_their_own(update: Update) -> None:
    update.make(update.first)
    others = update.make(update.others)
    first = update.make(update.first)
    assert update.read() == first != others


def test_an_update_of_other_content_is_another_one(update: Update) -> None:
    update.make(update.first, metadata=KEY)
    others = update.make(update.others, metadata=KEY)
    assert update.read() == others


def test_keys_are_remembered_for_a_minute(update: Update, clock: SettableClock) -> None:
    first = update.make(update.first, metadata=KEY)
    clock.advance(seconds=59)
    update.make(update.others)
    again = update.make(update.first, metadata=KEY)
    assert again.updated_at == first.updated_at
    clock.advance(seconds=62)
    update.make(update.others)
    anew = update.make(update.first, metadata=KEY)
    assert anew.updated_at != first.updated_at
    assert update.read() == anew


def test_an_update_of_what_is_not_there_is_not_remembered(
    assignments: AssignmentServiceStub,
) -> None:
    request = UpdateAssignmentRequest(assignment_id="asgn_404", coordinator_id="x")
    for _ in range(2):
        with pytest.raises(grpc.RpcError) as raised:
            assignments.UpdateAssignment(request, metadata=KEY)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_row_forgets_the_oldest_of_very_many_updates(
    assignments: AssignmentServiceStub, database: Database
) -> None:
    key = new_assignment(assignments).assignment_id
    for number in range(300):
        request = UpdateAssignmentRequest(assignment_id=key, coordinator_id=f"co-{number}")
        assignments.UpdateAssignment(request)
    [row] = contents(database)["assignments"]
    assert 10_000 < len(row.recent_writes) <= 50_000


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ([""], "must be one or more printable ASCII characters, without spaces"),
        (["a b"], "must be one or more printable ASCII characters, without spaces"),
        (["x" * 65], "must have at most 64 characters"),
        (["one", "two"], "must be the same wherever it is given"),
    ],
)
def test_a_key_that_is_none_is_refused(update: Update, keys: list[str], says: str) -> None:
    before = update.read()
    metadata = [("idempotency-key", key) for key in keys]
    refusal = refused(partial(update.make, metadata=metadata), update.first)
    assert refusal.violations == {"idempotency-key": says}
    assert update.read() == before
