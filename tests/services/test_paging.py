"""Numbered pages, the same in every list."""

import pytest

from peermentor_server.storage.engine.database import Database
from support.resources import Pages


def test_an_empty_list_has_one_empty_page(pages: Pages) -> None:
    answer = pages()

    assert list(answer.data) == []
    assert (answer.pagination.page, answer.pagination.limit, answer.pagination.total) == (1, 20, 0)
    assert answer.next_page_token == ""


def test_a_page_has_twenty_by_default(pages: Pages) -> None:
    pages.resource.fill(21)

    first = pages()
    assert pages.resource.numbers(first) == list(range(1, 21))
    assert (first.pagination.page, first.pagination.limit, first.pagination.total) == (1, 20, 21)

    second = pages(page=2)
    assert pages.resource.numbers(second) == [21]
    assert (second.pagination.page, second.pagination.total) == (2, 21)
    assert second.next_page_token == ""


def test_a_page_has_a_hundred_at_most_and_says_so(pages: Pages) -> None:
    pages.resource.fill(101)

    for limit in (100, 101, 2**31 - 1):
        answer = pages(limit=limit)
        assert len(answer.data) == 100
        assert (answer.pagination.limit, answer.pagination.total) == (100, 101)
        assert pages.numbers(page=2, limit=limit) == [101]
        assert pages.numbers(page_token=answer.next_page_token, limit=limit) == [101]


def test_numbered_pages_part_the_list(pages: Pages) -> None:
    pages.resource.fill(5)

    parts = [pages.numbers(page=number, limit=2) for number in (1, 2, 3)]

    assert parts == [[1, 2], [3, 4], [5]]


def test_lists_are_in_ascending_order_of_ids(pages: Pages, database: Database) -> None:
    pages.resource.fill(3)
    for number, moved_to in ((1, 1000), (2, 999), (3, 998)):
        pages.resource.move(database, number, moved_to)

    assert pages.numbers() == [998, 999, 1000]


def test_a_page_that_ends_the_list_exactly_has_no_next_page(pages: Pages) -> None:
    pages.resource.fill(4)

    assert pages(limit=2).next_page_token != ""
    assert pages(limit=2, page=2).next_page_token == ""
    assert pages(limit=4).next_page_token == ""


@pytest.mark.parametrize(("page", "limit"), [(3, 2), (100_000, 2), (100_000, 100)])
def test_a_page_past_the_end_is_empty_and_still_counts(pages: Pages, page: int, limit: int) -> None:
    pages.resource.fill(3)

    answer = pages(page=page, limit=limit)

    assert list(answer.data) == []
    assert (answer.pagination.page, answer.pagination.total) == (page, 3)
    assert answer.next_page_token == ""


def test_the_total_counts_what_meets_the_filters_on_every_page(filtered: Pages) -> None:
    for number in range(6):
        filtered.resource.create(**{filtered.filter: f"filter_{number % 2}"})

    wanted = {filtered.filter: "filter_0"}
    first = filtered(**wanted, limit=2)
    second = filtered(**wanted, limit=2, page_token=first.next_page_token)

    assert (first.pagination.total, second.pagination.total) == (3, 3)
    numbers = filtered.resource.numbers
    assert numbers(first) + numbers(second) == [1, 3, 5]
