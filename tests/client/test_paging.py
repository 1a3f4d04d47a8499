"""Lists, on both clients."""

from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from peermentor import Internal
from peermentor.v1.assignments_pb2 import Assignment, ListAssignmentsResponse
from support.clients import opened, scripted_server
from support.factories import NEW_ASSIGNMENT


def make(client: Any, count: int) -> list[str]:
    return [client.assignments.create(**NEW_ASSIGNMENT).assignment_id for _ in range(count)]


def test_pages_follow_each_other(client: Any) -> None:
    ids = make(client, 5)
    listing = client.assignments.list(limit=2)
    assert [each.assignment_id for each in listing] == ids
    assert [[each.assignment_id for each in page] for page in listing.pages()] == [
        ids[:2],
        ids[2:4],
        ids[4:],
    ]
    assert [page.number for page in listing.pages()] == [1, 2, 3]
    assert listing.count() == 5
    second = listing.page(2)
    assert (second.number, second.limit, second.total, len(second)) == (2, 2, 5, 2)
    assert second[0].assignment_id == ids[2]
    assert len(second[:1]) == 1


def test_a_list_goes_on_from_a_token_or_a_page(client: Any) -> None:
    ids = make(client, 5)
    first = client.assignments.list(limit=2).page(1)
    rest = client.assignments.list(limit=2, page_token=first.next_page_token)
    assert [each.assignment_id for each in rest] == ids[2:]
    assert rest.count() == 5
    assert [each.assignment_id for each in client.assignments.list(limit=2, page=2)] == ids[2:]


def test_an_empty_list(client: Any) -> None:
    listing = client.assignments.list()
    assert (list(listing), listing.count(), len(listing.page(1))) == ([], 0, 0)


def test_a_server_that_repeats_itself_is_left(client_kind: str) -> None:
    def behaviour(_request: bytes, _context: grpc.ServicerContext) -> Message:
        return ListAssignmentsResponse(data=[Assignment()], next_page_token="again")  # noqa: S106

    with (
        scripted_server(behaviour) as address,
        opened(client_kind, address) as client,
        pytest.raises(Internal, match="gives the same page again"),
    ):
        list(client.assignments.list())


def test_nothing_is_asked_before_it_is_needed(client: Any) -> None:
    client.assignments.list(limit=-1)


@pytest.mark.parametrize("overdue", [False, True])
def test_nothing_is_skipped_or_repeated_while_others_write(client: Any, *, overdue: bool) -> None:
    ids = make(client, 30)
    if overdue:
        listing = client.assignments.list_overdue(limit=3, cutoff_date="2026-03-26")
    else:
        listing = client.assignments.list(limit=3)
    seen = []
    for number, each in enumerate(listing):
        seen.append(each.assignment_id)
        if number % 3 == 0 and number < 15:
            client.assignments.delete(ids[number])  # one that was seen
            make(client, 1)
    assert seen[:30] == ids
    assert len(seen) == len(set(seen)) == 35
