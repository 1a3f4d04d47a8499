"""Page tokens, the same in every list."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from peermentor.v1.assignments_pb2 import Assignment
from support.clock import SettableClock
from support.resources import KINDS, LISTS, Pages, Resource
from support.rpcs import Rpcs


def walk(
    pages: Pages, limit: int, between: Callable[[list[int]], object] = lambda _: None
) -> list[Any]:
    """Return all pages, by their tokens; `between` two it is told what has been seen so far."""
    answers = [pages(limit=limit)]
    while token := answers[-1].next_page_token:
        between(seen_on(pages, answers))
        answers.append(pages(limit=limit, page_token=token))
    return answers


def seen_on(pages: Pages, answers: list[Any]) -> list[int]:
    return [number for answer in answers for number in pages.resource.numbers(answer)]


def test_tokens_walk_through_all_pages_and_count_them(pages: Pages) -> None:
    variants = pages.resource.kind.variants
    for place in (0, 0, 0, 1, 2, 3, 1):
        pages.resource.create(**variants[place % len(variants)])
    whole = pages.numbers()

    answers = walk(pages, limit=2)

    assert seen_on(pages, answers) == whole
    assert len(set(whole)) == 7
    assert [page.pagination.page for page in answers] == [1, 2, 3, 4]


def test_a_token_goes_on_from_a_numbered_page_and_with_another_limit(pages: Pages) -> None:
    pages.resource.fill(6)

    second = pages(page=2, limit=2)
    third = pages(limit=1, page_token=second.next_page_token)

    assert pages.resource.numbers(third) == [5]
    assert (third.pagination.page, third.pagination.limit) == (3, 1)


def test_pages_by_token_go_on_where_others_insert_and_delete(pages: Pages) -> None:
    pages.resource.fill(7)

    def others(seen: list[int]) -> None:
        if len(seen) == 2:
            # The very one at which the page ended, and one that is still to come.
            pages.resource.delete(2)
            pages.resource.delete(5)
        elif len(seen) == 4:
            pages.resource.create()

    answers = walk(pages, 2, others)

    assert [pages.resource.numbers(page) for page in answers] == [[1, 2], [3, 4], [6, 7], [8]]
    assert [page.pagination.page for page in answers] == [1, 2, 3, 4]
    # Counted once, for the first of them.
    assert [page.pagination.total for page in answers] == [7, 7, 7, 7]


def test_tokens_neither_skip_nor_repeat_while_others_insert_and_delete(
    pages: Pages, clock: SettableClock
) -> None:
    dice = random.Random(7)
    clock.advance(days=60)

    def create_somewhere() -> int:
        resource = pages.resource
        return resource.number(resource.create(**dice.choice(resource.kind.variants)))

    lasting = {create_somewhere() for _ in range(20)}
    passing = [create_somewhere() for _ in range(20)]

    def others(seen: list[int]) -> None:
        # The very row at which this page ended goes too, if it is one that may go.
        for gone in {seen[-1], dice.choice(passing)} & set(passing):
            pages.resource.delete(gone)
            passing.remove(gone)
        if dice.random() < 0.5:
            create_somewhere()

    seen = seen_on(pages, walk(pages, 3, others))

    assert len(seen) == len(set(seen))
    assert lasting <= set(seen)


# --- Tokens that are none ---

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


def test_a_token_that_is_none_is_refused(pages: Pages) -> None:
    for token in GARBAGE:
        call = pages.refuse(page_token=token)
        assert call.code is grpc.StatusCode.INVALID_ARGUMENT, ascii(token)
        assert call.violations.keys() == {"page_token"}, ascii(token)


def forged(token: str, change: Callable[[list[Any]], object]) -> str:
    content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    changed = change(content)
    return base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")


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


def test_a_token_made_by_hand_is_refused_rather_than_an_internal_error(pages: Pages) -> None:
    pages.resource.fill(2)
    token = pages(limit=1).next_page_token

    for name, forge in FORGERIES.items():
        call = pages.refuse(page_token=forged(token, forge))
        assert call.code is grpc.StatusCode.INVALID_ARGUMENT, name
        assert call.violations.keys() == {"page_token"}, name


@pytest.mark.parametrize("key", [2**63 - 1, 1])
def test_a_token_made_by_hand_reaches_nothing_that_a_list_does_not_show(
    filtered: Pages, key: int
) -> None:
    mine = {filtered.filter: "mine"}
    for _ in range(3):
        filtered.resource.create(**mine)
    filtered.resource.create(**{filtered.filter: "theirs"})
    token = filtered(limit=1, **mine).next_page_token

    forge = forged(token, lambda t: [t[0], 2**31 - 1, key, *t[3:]])
    answer = filtered(page_token=forge, **mine)

    assert filtered.resource.numbers(answer) == ([] if key > 1 else [2, 3])
    assert answer.pagination.page == 2**31 - 1


# --- Tokens in another place than their own ---

OTHER_FILTERS: list[dict[str, Any]] = [
    {"org_id": "org_04"},
    {"org_id": "org_03", "coordinator_id": "user_007"},
    {"coordinator_id": "org_03"},
    {"org_id": "org_03", "status": Assignment.active},
    {"org_id": "org_03", "reminded": False},
    {"org_id": "org_03", "escalated": False},
    {"org_id": "org_03", "updated_after": "2026-03-01"},
    {},
]


@pytest.mark.parametrize("pages", LISTS[:2], indirect=True)
def test_a_token_is_refused_with_other_filters_than_its_own(pages: Pages) -> None:
    pages.resource.fill(2)
    token = pages(limit=1, org_id="org_03").next_page_token
    assert pages.numbers(page_token=token, org_id="org_03") == [2]

    for other in OTHER_FILTERS:
        call = pages.refuse(page_token=token, **other)
        assert call.violations.keys() == {"page_token"}, other


def test_a_token_is_refused_by_every_other_list(channel: grpc.Channel) -> None:
    assignments, templates = (Resource(kind, channel) for kind in KINDS)
    for _ in range(2):
        assignments.create(coordinator_id="same")
        templates.create(coordinator_id="same", organization_id="same")
        templates.create(coordinator_id="other")
    same, other = {"coordinator_id": "same"}, {"coordinator_id": "other"}
    lists: list[tuple[str, dict[str, Any]]] = [
        ("ListAssignments", {}),
        ("ListAssignments", same),
        ("ListOverdueAssignments", {}),
        ("ListOverdueAssignments", same),
        ("ListTemplates", {}),
        ("ListTemplates", {"is_active": True}),
        ("ListTemplates", {"activity_type": "workshop"}),
        ("ListTemplatesByCoordinator", same),
        ("ListTemplatesByCoordinator", other),
        ("ListTemplatesByOrganization", {"organization_id": "same"}),
    ]
    rpcs = Rpcs(channel)

    for rpc, fields in lists:
        token = rpcs.call(rpc, **fields, limit=1).next_page_token
        assert len(rpcs.call(rpc, **fields, page_token=token).data) >= 1
        for other_rpc, other_fields in lists:
            if (other_rpc, other_fields) != (rpc, fields):
                call = rpcs.refuse(other_rpc, **other_fields, page_token=token)
                assert call.violations.keys() == {"page_token"}, (rpc, fields, other_rpc)


def test_a_token_and_a_page_do_not_go_together(pages: Pages) -> None:
    pages.resource.fill(2)
    token = pages(limit=1).next_page_token

    assert pages.refuse(page=2, page_token=token).violations.keys() == {"page"}


def test_an_empty_token_is_none(pages: Pages) -> None:
    pages.resource.create()

    assert pages.numbers(page=1, page_token="") == [1]
