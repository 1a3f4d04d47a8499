"""Pages, and the tokens that go on where one ended."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from peermentor_server.rules import pages
from peermentor_server.rules.ids import MAX_KEY
from peermentor_server.rules.pages import Page, Position

# A busy machine is no failure.
UNHURRIED = settings(deadline=None)

BINDING = pages.bind("a list", {"org_id": "org_03"})
INSTANTS = st.datetimes(timezones=st.just(UTC))
POSITIONS = st.builds(Position, st.integers(min_value=1, max_value=MAX_KEY), st.none() | INSTANTS)
TOTALS = st.integers(min_value=0, max_value=2**31 - 1)


def encode(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@UNHURRIED
@given(st.integers(min_value=1, max_value=2**31 - 2), POSITIONS, TOTALS)
@example(2**31 - 2, Position(MAX_KEY, datetime.max.replace(tzinfo=UTC)), 2**31 - 1)
@example(1, Position(1, datetime.min.replace(tzinfo=UTC)), 1)
def test_a_token_leads_to_the_page_after_its_own(number: int, last: Position, total: int) -> None:
    token = Page(number=number, binding=BINDING).next_token(last, total)

    assert pages.decode_token(token, BINDING) == (number + 1, last, total)
    assert len(token) <= pages.MAX_TOKEN_LENGTH


@UNHURRIED
@given(POSITIONS)
def test_a_token_is_good_for_no_other_list(last: Position) -> None:
    token = Page(binding=BINDING).next_token(last, 47)

    assert pages.decode_token(token, pages.bind("a list", {"org_id": "org_04"})) is None


def test_a_token_can_stand_in_a_url_as_it_is() -> None:
    last = Position(MAX_KEY, datetime(2026, 3, 10, 14, 30, tzinfo=UTC))

    token = Page(binding="\u00ff" * 16).next_token(last, 47)

    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()


def test_every_list_and_every_filter_has_a_binding_of_its_own() -> None:
    bindings = [
        pages.bind("list", {}),
        pages.bind("another", {}),
        pages.bind("list", {"org_id": "x"}),
        pages.bind("list", {"org_id": "y"}),
        pages.bind("list", {"mentee_id": "x"}),
        pages.bind("list", {"org_id": "x", "mentee_id": "x"}),
        pages.bind("list", {"org_id": "x', 'mentee_id': 'x"}),
        pages.bind("list", {}, None),
        pages.bind("list", {}, datetime(2026, 3, 20, tzinfo=UTC)),
    ]

    assert len(set(bindings)) == len(bindings)
    assert pages.bind("list", {"org_id": "x"}) == bindings[2]


@pytest.mark.parametrize(
    "content",
    [
        [BINDING, 1, 1, None, 1],
        [BINDING, 2**31, 1, None, 1],
        [BINDING, True, 1, None, 1],
        [BINDING, 2.0, 1, None, 1],
        [BINDING, 2, 0, None, 1],
        [BINDING, 2, MAX_KEY + 1, None, 1],
        [BINDING, 2, True, None, 1],
        [BINDING, 2, 1.5, None, 1],
        [BINDING, 2, 1, False, 1],
        [BINDING, 2, 1, "", 1],
        [BINDING, 2, 1, "2026-03-10", 1],
        [BINDING, 2, 1, "2026-03-10T14:30:00", 1],
        [BINDING, 2, 1, "\ud800", 1],
        ["\ud800", 2, 1, None, 1],
        [BINDING, 2, 1, None],
        [BINDING, 2, 1, None, None],
        [BINDING, 2, 1, None, -1],
        [BINDING, 2, 1, None, 2**31],
        [BINDING, 2, 1, None, 1, 1],
        {"0": BINDING},
        BINDING,
        None,
    ],
    ids=ascii,
)
def test_a_token_made_by_hand_is_none(content: object) -> None:
    assert pages.decode_token(encode(content), BINDING) is None


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(BINDING),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@UNHURRIED
@given(
    st.text()
    | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode())
    | JSON.map(encode)
    | st.tuples(st.just(BINDING), JSON, JSON, JSON, JSON).map(encode)
)
@example(base64.urlsafe_b64encode(b"[" * 100_000).decode())
@example(base64.urlsafe_b64encode(b"[" + b"9" * 5000 + b"]").decode())
def test_any_text_is_a_token_or_none_and_no_error(token: str) -> None:
    decoded = pages.decode_token(token, BINDING)

    if decoded is not None:
        number, position, total = decoded
        assert 2 <= number <= 2**31 - 1
        assert type(position.key) is int
        assert 1 <= position.key <= MAX_KEY
        assert 0 <= total <= 2**31 - 1


def test_numbered_pages_pass_over_the_ones_before_and_tokens_over_none() -> None:
    assert Page(number=1, limit=20).offset == 0
    assert Page(number=3, limit=20).offset == 40
    assert Page(number=3, limit=20, after=Position(40)).offset == 0
