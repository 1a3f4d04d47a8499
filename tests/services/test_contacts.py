"""ListContacts: the contact history of one assignment."""

from typing import Any

import grpc
import pytest

from peermentor.v1.assignments_pb2 import (
    Assignment,
    Contact,
    ListContactsRequest,
    ListContactsResponse,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from support.assignments import delete
from support.clock import SettableClock
from support.factories import RefusedCall, contact, instant, new_assignment, refused

ONE = "asgn_001"


def contacts(assignments: AssignmentServiceStub, **fields: Any) -> ListContactsResponse:
    request = ListContactsRequest(**{"assignment_id": ONE, **fields})
    return assignments.ListContacts(request)


def refuse(assignments: AssignmentServiceStub, **fields: Any) -> RefusedCall:
    request = ListContactsRequest(**{"assignment_id": ONE, **fields})
    return refused(assignments.ListContacts, request)


def types(answer: ListContactsResponse) -> list[str]:
    return [each.contact_type for each in answer.data]


@pytest.fixture
def told(assignments: AssignmentServiceStub) -> AssignmentServiceStub:
    """The service, with four contacts of asgn_001 and one of asgn_002."""
    new_assignment(assignments)
    new_assignment(assignments)
    for number, when in enumerate(("2026-03-01", "2026-03-20", "2026-03-10", "2026-03-10")):
        contact(assignments, ONE, f"{when}T12:00:00Z", f"{number}")
    contact(assignments, "asgn_002", "2026-03-21T12:00:00Z", "other")
    return assignments


def test_a_contact_is_described_as_it_was_told(
    assignments: AssignmentServiceStub, clock: SettableClock
) -> None:
    new_assignment(assignments)
    clock.advance(seconds=90)
    contact(assignments, ONE, "2026-03-20T08:15:00.123456+01:00", "a call")

    assert list(contacts(assignments).data) == [
        Contact(
            contact_date=instant("2026-03-20T07:15:00.123456Z"),
            contact_type="a call",
            recorded_at=instant("2026-03-26T10:01:30Z"),
        )
    ]


def test_the_contact_told_last_comes_first_whenever_it_took_place(
    told: AssignmentServiceStub,
) -> None:
    assert types(contacts(told)) == ["3", "2", "1", "0"]
    assert types(contacts(told, assignment_id="asgn_002")) == ["other"]


def test_what_only_goes_into_the_history_is_there_and_a_repetition_once(
    told: AssignmentServiceStub,
) -> None:
    for _ in range(2):
        contact(told, ONE, "2026-03-05T12:00:00Z", "late", only_if_later=True)

    assert types(contacts(told, limit=2)) == ["late", "3"]
    assert contacts(told).pagination.total == 5


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"contacted_from": "2026-03-10"}, ["3", "2", "1"]),
        ({"contacted_from": "2026-03-10T12:00:00Z"}, ["3", "2", "1"]),
        ({"contacted_from": "2026-03-10T12:00:00.000001Z"}, ["1"]),
        ({"contacted_before": "2026-03-10T12:00:00Z"}, ["0"]),
        ({"contacted_before": "2026-03-10T14:00:00.000001+02:00"}, ["3", "2", "0"]),
        ({"contacted_before": "2026-03-20"}, ["3", "2", "0"]),
        ({"contacted_from": "2026-03-10", "contacted_before": "2026-03-11"}, ["3", "2"]),
        ({"contacted_from": "2026-03-11", "contacted_before": "2026-03-10"}, []),
        ({"contact_type": "2"}, ["2"]),
        ({"contact_type": ""}, []),
        ({"contact_type": "2", "contacted_from": "2026-03-11"}, []),
    ],
)
def test_contacts_are_filtered_by_date_and_by_type(
    told: AssignmentServiceStub, filters: dict[str, str], expected: list[str]
) -> None:
    answer = contacts(told, **filters)
    assert (types(answer), answer.pagination.total) == (expected, len(expected))


def test_contacts_without_a_type_have_the_empty_one(assignments: AssignmentServiceStub) -> None:
    new_assignment(assignments)
    for contact_type in ("", "call", "Call"):
        contact(assignments, ONE, "2026-03-20T12:00:00Z", contact_type)

    assert types(contacts(assignments, contact_type="")) == [""]
    assert types(contacts(assignments, contact_type="call")) == ["call"]


def test_pages_by_number_and_by_token_are_the_same(told: AssignmentServiceStub) -> None:
    pages = [contacts(told, limit=3)]
    pages.append(contacts(told, limit=3, page_token=pages[0].next_page_token))
    numbered = [contacts(told, limit=3, page=number) for number in (1, 2, 3)]

    assert [types(page) for page in pages] == [["3", "2", "1"], ["0"]]
    assert numbered[:2] == pages
    assert types(numbered[2]) == []
    assert {page.pagination.total for page in numbered} == {4}
    assert pages[1].next_page_token == ""


def test_a_token_goes_on_where_others_tell_of_more(told: AssignmentServiceStub) -> None:
    first = contacts(told, limit=2)
    contact(told, ONE, "2026-03-22T12:00:00Z", "new")

    rest = contacts(told, page_token=first.next_page_token)

    assert (types(rest), rest.pagination.total) == (["1", "0"], 4)


def test_a_token_is_for_its_own_assignment_and_filters(told: AssignmentServiceStub) -> None:
    own = {"contacted_from": "2026-03-01"}
    token = contacts(told, limit=1, **own).next_page_token
    assert types(contacts(told, page_token=token, **own)) == ["2", "1", "0"]

    for other in (
        {"assignment_id": "asgn_002", **own},
        {},
        {**own, "contact_type": "1"},
        {"contacted_from": "2026-03-02"},
        {"contacted_before": "2026-03-01"},
    ):
        assert refuse(told, page_token=token, **other).violations.keys() == {"page_token"}


def test_an_assignment_without_contacts_has_an_empty_list(
    assignments: AssignmentServiceStub,
) -> None:
    new_assignment(assignments, status=Assignment.completed)

    for page in ({}, {"page": 2}):
        answer = contacts(assignments, **page)
        assert (types(answer), answer.pagination.total, answer.next_page_token) == ([], 0, "")


def test_contacts_of_an_assignment_that_is_not_there_are_not_found(
    told: AssignmentServiceStub,
) -> None:
    token = contacts(told, limit=1).next_page_token
    delete(told, ONE)

    for fields in (
        {},
        {"page": 2},
        {"page_token": token},
        {"assignment_id": "asgn_003"},
        {"assignment_id": "asgn_2"},
    ):
        call = refuse(told, **fields)
        assert (call.code, call.reason) == (grpc.StatusCode.NOT_FOUND, "ASSIGNMENT_NOT_FOUND")


def test_all_wrong_fields_are_told_at_once(told: AssignmentServiceStub) -> None:
    fields = {"contacted_from": "soon", "contacted_before": "", "contact_type": "\0", "limit": 0}
    assert refuse(told, **fields).violations.keys() == fields.keys()
