"""How ids are written and read back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from peermentor_server.rules import ids
from peermentor_server.rules.ids import ASSIGNMENT, MAX_KEY, TEMPLATE, IdFormat

# A busy machine is no failure.
UNHURRIED = settings(deadline=None)

FORMATS = st.sampled_from([ASSIGNMENT, TEMPLATE])
KEYS = st.integers(min_value=1, max_value=MAX_KEY)


@pytest.mark.parametrize(
    ("key", "assignment", "template"),
    [
        (1, "asgn_001", "rt-001"),
        (42, "asgn_042", "rt-042"),
        (999, "asgn_999", "rt-999"),
        (1000, "asgn_1000", "rt-1000"),
        (MAX_KEY, "asgn_9223372036854775807", "rt-9223372036854775807"),
    ],
)
def test_a_key_is_written_with_at_least_three_digits(
    key: int, assignment: str, template: str
) -> None:
    assert ASSIGNMENT.render(key) == assignment
    assert TEMPLATE.render(key) == template


@UNHURRIED
@given(FORMATS, KEYS)
@example(ASSIGNMENT, MAX_KEY)
def test_what_is_written_is_read_back(written: IdFormat, key: int) -> None:
    assert written.parse(written.render(key)) == key


@UNHURRIED
@given(FORMATS, st.text())
@example(ASSIGNMENT, "asgn_" + "9" * 5000)
def test_any_text_is_read_as_nothing_or_as_the_key_that_is_written_so(
    read: IdFormat, text: str
) -> None:
    key = read.parse(text)

    assert key is None or read.render(key) == text


@UNHURRIED
@given(st.from_regex(r"asgn_[\d+-]{1,20}"))
def test_digits_are_read_only_as_they_are_written(text: str) -> None:
    key = ASSIGNMENT.parse(text)

    assert key is None or (ASSIGNMENT.render(key) == text and 1 <= key <= MAX_KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "001",
        "asgn_",
        "asgn_1",
        "asgn_000",
        "asgn_0001",
        "asgn_-01",
        "asgn_001\n",
        "asgn_001\0",
        "asgn_\u0660\u0660\u0661",
        f"asgn_{MAX_KEY + 1}",
        "ASGN_001",
        "rt-001",
    ],
)
def test_what_is_written_in_any_other_way_names_nothing(text: str) -> None:
    assert ASSIGNMENT.parse(text) is None


def test_no_two_request_ids_are_equal() -> None:
    assert len({ids.new_request_id() for _ in range(100)}) == 100


def test_the_event_of_a_template_stays_the_same_in_all_calendars() -> None:
    made = datetime(2026, 3, 26, 10, tzinfo=UTC)
    uid = "094bf961-2541-546e-a237-1c0065c9db4c"
    assert ids.calendar_uid(1, made) == uid
    assert ids.calendar_uid(1, made.astimezone(timezone(timedelta(hours=2)))) == uid
    others = {ids.calendar_uid(2, made), ids.calendar_uid(1, made + timedelta(seconds=1))}
    assert len({uid, *others}) == 3
