"""Etags: they change with all that an answer shows, and hold back writes of those who know less."""

import re
from typing import Any

import grpc
import pytest

from peermentor.v1.assignments_pb2 import Assignment
from support.clock import SettableClock
from support.factories import instant
from support.resources import ASSIGNMENT, KINDS, Resource

WRITES = [
    *((kind, rpc, fields) for kind in KINDS for rpc, fields in kind.updates),
    *((kind, f"Delete{kind.noun}", {}) for kind in KINDS),
]
each_write = pytest.mark.parametrize(
    ("resource", "rpc", "fields"),
    WRITES,
    indirect=["resource"],
    ids=[rpc for _, rpc, _ in WRITES],
)
CONTACT = {"contact_date": instant("2026-03-25T09:45:00Z")}
of_assignments = pytest.mark.parametrize("resource", [ASSIGNMENT], indirect=True)


def write(resource: Resource, rpc: str, fields: dict[str, Any], **more: Any) -> Any:
    return resource.rpcs.call(rpc, **resource.named(resource.id(1)), **fields, **more)


def is_refused(resource: Resource, rpc: str, fields: dict[str, Any], **more: Any) -> bool:
    call = resource.rpcs.refuse(rpc, **resource.named(resource.id(1)), **fields, **more)
    return (call.code, call.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")


# --- What moves an etag ---


def test_every_answer_has_it_in_quotes(resource: Resource) -> None:
    created = resource.create()
    (listed,) = resource.rpcs.call(resource.rpc("List") + "s").data
    assert created.etag == resource.get(1).etag == listed.etag
    assert re.fullmatch('"[0-9.-]+"', created.etag)


def test_every_write_moves_it_even_one_that_changes_nothing(resource: Resource) -> None:
    seen = {resource.create().etag}
    for _ in range(3):
        for rpc, fields in resource.kind.updates:
            seen.add(write(resource, rpc, fields).etag)
            assert resource.get(1).etag in seen
    assert len(seen) == 1 + 3 * len(resource.kind.updates)


def test_a_refused_write_moves_nothing(resource: Resource) -> None:
    before = resource.create()
    resource.refuse_update(1, **resource.kind.bad)
    assert resource.get(1) == before


@of_assignments
def test_the_name_moves_it_on_all_assignments_of_the_mentee_and_no_others(
    resource: Resource,
) -> None:
    resource.create(mentee_name="Bjørn Solberg")
    resource.create()
    resource.create(mentee_id="another")
    before = [resource.get(number).etag for number in (2, 3)]

    resource.update(1, mentee_name="B. Solberg")

    renamed, another = (resource.get(number) for number in (2, 3))
    assert renamed.mentee_name == "B. Solberg"
    assert renamed.etag != before[0]
    assert another.etag == before[1]


@of_assignments
@pytest.mark.parametrize("name", [{}, {"mentee_name": "Bjørn Solberg"}])
def test_a_new_assignment_that_brings_no_other_name_moves_none(
    resource: Resource, name: dict[str, str]
) -> None:
    before = resource.create(mentee_name="Bjørn Solberg")
    resource.create(**name)
    assert resource.get(1) == before


@of_assignments
def test_the_day_moves_it_where_days_are_counted(resource: Resource, clock: SettableClock) -> None:
    resource.create()
    resource.create(last_contact="2026-03-25T09:45:00Z")
    never, before = resource.get(1), resource.get(2)

    clock.advance(days=1)

    after = resource.get(2)
    assert after.days_since_contact.value == before.days_since_contact.value + 1
    assert after.etag != before.etag
    assert resource.get(1).etag == never.etag


# --- Writes ---


@each_write
@pytest.mark.parametrize("given", ["field", "header"])
def test_a_write_is_made_if_nobody_has_written_since(
    resource: Resource, rpc: str, fields: dict[str, Any], given: str
) -> None:
    known = resource.create().etag
    header = {"metadata": (("if-match", known),)}
    by = {"etag": known} if given == "field" else header
    write(resource, rpc, fields, **by)

    if rpc.startswith("Delete"):
        assert resource.listed() == []
    else:
        assert resource.get(1).etag != known


@each_write
@pytest.mark.parametrize("given", ["field", "header", "both"])
def test_a_write_of_who_knows_an_older_state_is_refused_and_changes_nothing(
    resource: Resource, rpc: str, fields: dict[str, Any], given: str
) -> None:
    known = resource.create().etag
    current = resource.update(1, coordinator_id="another")
    by: dict[str, Any] = {
        "field": {"etag": known},
        "header": {"metadata": (("if-match", known),)},
        "both": {"etag": current.etag, "metadata": (("if-match", known),)},
    }[given]

    assert is_refused(resource, rpc, fields, **by)
    assert resource.get(1) == current
    write(resource, rpc, fields, etag=current.etag)


@each_write
def test_an_etag_of_what_is_not_there_is_not_found(
    resource: Resource, rpc: str, fields: dict[str, Any]
) -> None:
    call = resource.rpcs.refuse(rpc, **resource.named(resource.id(9)), **fields, etag='"1"')
    assert call.code is grpc.StatusCode.NOT_FOUND


@of_assignments
def test_no_reminder_is_marked_on_a_pair_that_had_a_contact_in_between(
    resource: Resource,
) -> None:
    known = resource.create(last_contact="2026-03-01T09:45:00Z").etag
    resource.rpcs.call("UpdateLastContact", assignment_id="asgn_001", **CONTACT)
    reminder = {"reminder_sent_at": instant("2026-03-26T10:00:00Z")}

    assert is_refused(resource, "UpdateAssignment", reminder, etag=known)
    assert not resource.get(1).HasField("reminder_sent_at")


@of_assignments
def test_a_write_knows_of_the_name_and_nothing_of_the_day(
    resource: Resource, clock: SettableClock
) -> None:
    resource.create(mentee_name="Bjørn Solberg", last_contact="2026-03-25T09:45:00Z")
    resource.create()
    known = resource.get(1).etag

    clock.advance(days=1)
    assert resource.get(1).etag != known
    after: Assignment = resource.update(1, coordinator_id="another", etag=known)

    resource.update(2, mentee_name="B. Solberg")
    assert is_refused(resource, "UpdateAssignment", {"mentee_name": "x"}, etag=after.etag)


@each_write
def test_what_is_no_etag_is_refused_by_name(
    resource: Resource, rpc: str, fields: dict[str, Any]
) -> None:
    before = resource.create()
    named = resource.named(resource.id(1))
    call = resource.rpcs.refuse(rpc, **named, **fields, etag="", metadata=(("if-match", "1-1"),))
    says = "must be an etag as answers have it, with its quotes"
    assert call.violations == {"etag": says, "if-match": says}
    assert resource.get(1) == before


@pytest.mark.parametrize("metadata", [(("x-peermentor-call", "1"),), (("idempotency-key", "k"),)])
def test_a_write_that_is_made_again_is_answered_as_at_first(
    resource: Resource, metadata: Any
) -> None:
    known = resource.create().etag
    for rpc, fields in resource.kind.updates:
        first = write(resource, rpc, fields, etag=known, metadata=metadata)
        assert write(resource, rpc, fields, etag=known, metadata=metadata) == first
        known = first.etag
        metadata = tuple((key, value + "1") for key, value in metadata)


def test_the_mask_does_not_name_it(resource: Resource) -> None:
    known = resource.create().etag
    call = resource.refuse_update(1, etag=known, update_mask={"paths": ["etag"]})
    assert call.violations.keys() == {"update_mask"}
    call = resource.refuse_update(1, etag=known)
    assert call.violations.keys() == {"update_mask"}
