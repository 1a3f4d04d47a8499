"""Instants, calendar days and the cutoff, all in UTC."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from peermentor_server.rules import clock

# A busy machine is no failure.
UNHURRIED = settings(deadline=None)

DAY = date(2026, 3, 26)


def test_the_clock_tells_the_time_in_utc() -> None:
    before = datetime.now(UTC)
    told = clock.system_clock()

    assert before <= told <= datetime.now(UTC)
    assert told.tzinfo is UTC


def test_a_stamp_is_in_whole_seconds() -> None:
    now = datetime(2026, 3, 26, 10, 0, 5, 999_999, UTC)

    assert clock.stamp(lambda: now) == datetime(2026, 3, 26, 10, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (datetime(2026, 3, 10, 14, 30, tzinfo=UTC), 16),
        (datetime(2026, 3, 26, 0, 0, tzinfo=UTC), 0),
        (datetime(2026, 3, 25, 23, 59, 59, 999_999, UTC), 1),
        (datetime(2026, 3, 27, 0, 0, tzinfo=UTC), 0),
        (datetime(1, 1, 1, tzinfo=UTC), 739_700),
        (datetime(9999, 12, 31, tzinfo=UTC), 0),
    ],
)
def test_days_between_count_midnights_and_are_never_negative(
    instant: datetime, expected: int
) -> None:
    assert clock.days_between(instant, DAY) == expected


def test_the_cutoff_is_a_midnight() -> None:
    assert clock.overdue_cutoff(DAY, 14) == datetime(2026, 3, 12, tzinfo=UTC)
    assert clock.overdue_cutoff(DAY, 1) == datetime(2026, 3, 25, tzinfo=UTC)


@UNHURRIED
@given(st.dates())
def test_a_written_day_is_read_back_and_begins_at_its_midnight(day: date) -> None:
    assert clock.parse_date(day.isoformat()) == day
    assert clock.parse_date_or_instant(day.isoformat()) == clock.midnight(day)
    assert clock.midnight(day).isoformat() == f"{day.isoformat()}T00:00:00+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20260326",
        "2026-3-26",
        "2026-W13-4",
        "2026-085",
        "2026-02-29",
        "0000-01-01",
        "10000-01-01",
        "2026-03-26T10:00:00Z",
        "2026-03-26\n",
        "\u0662026-03-26",
    ],
)
def test_any_other_way_to_write_a_day_is_none(text: str) -> None:
    assert clock.parse_date(text) is None


OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))


@UNHURRIED
@given(
    st.datetimes(
        min_value=datetime(1, 1, 2),  # noqa: DTZ001 - the zone is drawn beside it
        max_value=datetime(9999, 12, 30),  # noqa: DTZ001
        timezones=OFFSETS,
    )
)
def test_a_written_instant_is_read_back_in_utc(instant: datetime) -> None:
    read = clock.parse_instant(instant.isoformat())

    assert read == instant
    assert read.tzinfo is UTC
    assert clock.parse_date_or_instant(instant.isoformat()) == instant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-26T10:00:00Z", datetime(2026, 3, 26, 10, tzinfo=UTC)),
        ("2026-03-26t10:00:00z", datetime(2026, 3, 26, 10, tzinfo=UTC)),
        ("2026-03-26 10:00:00-00:00", datetime(2026, 3, 26, 10, tzinfo=UTC)),
        ("2026-03-26T10:00:00+05:30", datetime(2026, 3, 26, 4, 30, tzinfo=UTC)),
        ("2026-03-26T10:00:00.5Z", datetime(2026, 3, 26, 10, 0, 0, 500_000, UTC)),
        ("2026-03-26T10:00:00.123456789Z", datetime(2026, 3, 26, 10, 0, 0, 123_456, UTC)),
    ],
)
def test_an_instant_is_written_as_in_rfc_3339(text: str, expected: datetime) -> None:
    assert clock.parse_instant(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-26",
        "2026-03-26T10:00:00",
        "2026-03-26T10Z",
        "2026-03-26T10:00Z",
        "2026-03-26T100000Z",
        "20260326T100000Z",
        "2026-W13-4T10:00:00Z",
        "2026-03-26T10:00:00+0100",
        "2026-03-26T10:00:00+01:00:30",
        "2026-03-26T10:00:00+01:60",
        "2026-03-26T10:00:00+24:00",
        "2026-03-26T10:00:00,5Z",
        "2026-03-26T10:00:00.Z",
        "2026-03-26T10:00:60Z",
        "2026-03-26T24:00:00Z",
        "2026-03-26T10:00:00Z\n",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "\u0662026-03-26T10:00:00Z",
    ],
)
def test_any_other_way_to_write_an_instant_is_none(text: str) -> None:
    assert clock.parse_instant(text) is None


@UNHURRIED
@given(
    st.text()
    | st.from_regex(r"\d{4}-\d{2}-\d{2}", fullmatch=True)
    | st.from_regex(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([zZ]|[+-]\d{2}:\d{2})")
)
@example("2026-03-26T10:00:00." + "9" * 5000 + "Z")
def test_any_text_is_read_as_utc_or_as_none(text: str) -> None:
    instant = clock.parse_date_or_instant(text)

    assert instant is None or instant.tzinfo is UTC
    assert clock.parse_date(text) is None or clock.parse_instant(text) is None
