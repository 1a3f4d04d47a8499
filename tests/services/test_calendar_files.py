"""Calendar files of many rules, time zones and texts, as others read them."""

from collections.abc import Callable
from cProfile import Profile
from datetime import date, datetime, time, timedelta
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ical.calendar_stream import IcsCalendarStream
from ical.timezone import IcsTimezoneInfo

from peermentor_server.rules import zones
from peermentor_server.rules.recurrence import HORIZON_YEARS, occurrences
from peermentor_server.rules.zone_changes import changes
from peermentor_server.services import calendar_files
from peermentor_server.storage.templates import TemplateRow
from support.calendars import READERS, event_of, lines
from support.clock import CONTRACT_DAY
from support.factories import STORED_TEMPLATE
from support.recurrence import CHANGES, DAYS, EXAMPLES, ODD_ZONES, local_times, rules

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def render(**fields: Any) -> bytes:
    now = {"created_at": CONTRACT_DAY, "updated_at": CONTRACT_DAY}
    stored: dict[str, Any] = {"id": 1, "version": 1} | STORED_TEMPLATE | now
    return calendar_files.render(TemplateRow(**stored | fields))


ENDS = st.sampled_from(["", "UNTIL={:%Y%m%d}", "UNTIL={:%Y%m%d}T110000Z"])


@settings(QUICK, max_examples=EXAMPLES // 3)
@given(
    rules(),
    st.sampled_from(["America/Nuuk", *ODD_ZONES]) | st.sampled_from(sorted(zones.names())),
    CHANGES | DAYS,
    st.integers(0, 60),
    st.sets(st.integers(0, 100), max_size=12),
    ENDS,
    st.integers(0, 100),
)
# Clocks go from 23:00 to midnight, and what is skipped is in the day after.
@example("FREQ=DAILY;BYHOUR=0,23;BYMINUTE=30", "America/Nuuk", date(2026, 4, 1), 10, {6}, "", 0)
@example("FREQ=DAILY;BYHOUR=23;BYMINUTE=30", "America/Nuuk", date(2026, 4, 1), 10, {6}, "", 0)
@example("FREQ=DAILY;UNTIL=99991231", "America/Nuuk", date(2026, 4, 1), 0, set(), "", 0)
@example("FREQ=DAILY", "Asia/Tokyo", date(2026, 4, 1), 0, set(), "UNTIL={:%Y%m%d}", 9)
@example("FREQ=DAILY", "America/Nuuk", date(2026, 4, 1), 0, set(), "UNTIL={:%Y%m%d}", 9)
@example("FREQ=DAILY;BYHOUR=9", "Pacific/Apia", date(2011, 12, 31), 10, {9}, "", 0)
@example("FREQ=DAILY;COUNT=90", "Europe/Belfast", date(2021, 3, 1), 36, {0, 96}, "", 0)
def test_a_file_denotes_what_is_listed(
    rule: str,
    name: str,
    day: date,
    before: int,
    left_out: set[int],
    end: str,
    ends_after: int,
) -> None:
    starts_on = day - timedelta(days=before)
    last = starts_on + timedelta(days=100)
    names_times = "BYHOUR" in rule or "BYMINUTE" in rule
    if end and "COUNT" not in rule and (end.endswith("Z") or not names_times):
        rule += f";{end.format(starts_on + timedelta(days=ends_after))}"
    excluded = {starts_on + timedelta(days=number) for number in left_out}
    start = datetime.combine(starts_on, time.min, zones.zone(name))
    listed = [each.isoformat() for each in occurrences(rule, start, last=last, excluded=excluded)]

    content = render(
        recurrence_rule=rule,
        starts_on=starts_on,
        time_zone=name,
        excluded_dates=[each.isoformat() for each in excluded],
    )

    left_out_at = [
        datetime.fromisoformat(moment)
        for line in lines(content)
        if line.startswith("EXDATE")
        for moment in line.partition(":")[2].split(",")
    ]
    assert not {each.isoformat() for each in local_times(left_out_at, name)} & set(listed)
    for reader in READERS.values():
        named = (each.replace(tzinfo=None) for each in reader(content))
        found = local_times(takewhile(lambda each: each.date() <= last, named), name)
        assert [each.isoformat() for each in found if each.date() <= last] == listed


@settings(QUICK, max_examples=EXAMPLES // 20)
@given(st.sampled_from(ODD_ZONES) | st.sampled_from(sorted(zones.names())), st.integers(2000, 2060))
@example("America/New_York", 2000)
@example("America/Nuuk", 2026)
@example("Asia/Gaza", 2026)
@example("Africa/Casablanca", 2026)
@example("Antarctica/Troll", 2005)
def test_a_time_zone_has_the_offsets_of_the_zone(name: str, year: int) -> None:
    content = render(time_zone=name, starts_on=date(year, 1, 1), recurrence_rule="FREQ=DAILY")
    described = IcsCalendarStream.calendar_from_ics(content.decode()).timezones
    if name == zones.UTC:
        assert not described
        return
    read = IcsTimezoneInfo.from_timezone(described[0])
    first, *known = changes(zones.zone(name), year, year + HORIZON_YEARS - 1)
    moments = [datetime.combine(date(year, 1, 1), time.min), first.onset + timedelta(days=14_000)]
    for change in known:
        # Of what clocks skip there is no time, and of what comes twice, the first is meant.
        skipped = max(timedelta(), change.after - change.before)
        moments += [change.onset - timedelta(seconds=1), change.onset + skipped]
    for moment in moments:
        assert read.utcoffset(moment) == zones.zone(name).utcoffset(moment), (name, moment)


@pytest.mark.parametrize(
    "name",
    ["UTC", "Etc/UTC", "Zulu", "Africa/Abidjan", "Atlantic/Reykjavik", "Etc/GMT+5", "EST5EDT"],
)
def test_a_time_is_that_of_its_zone_by_whatever_name(name: str) -> None:
    found = lines(render(time_zone=name, recurrence_rule="FREQ=DAILY"))
    if name == zones.UTC:
        assert "DTSTART:20260326T000000Z" in found
        assert not [line for line in found if "TZID" in line]
    else:
        assert {f"TZID:{name}", f"DTSTART;TZID={name}:20260326T000000"} <= set(found)


@QUICK
@given(
    st.text(max_size=200), st.text(st.characters(codec="utf-8") | st.sampled_from('\r\n\\;,:"N n'))
)
@example("a\x00b", "\x1b\x85\u2028\u2029\x7f\r\r\n\n\\n\\N\\\\,;")
@example("x" * 66 + "\U0001f44b", "é" * 100)
def test_any_text_is_one_property(name: str, notes: str) -> None:
    found = lines(render(name=name, notes_template=notes, activity_type="a" + name))
    plain = lines(render(name="", notes_template="x" if notes else "", activity_type="a"))
    assert [line.partition(":")[0] for line in found] == [line.partition(":")[0] for line in plain]


def test_the_last_days_there_are_end_no_file() -> None:
    for name in ("America/New_York", "Asia/Tokyo", "UTC"):
        for day in (date(9998, 12, 30), date(9999, 12, 30)):
            found = render(time_zone=name, starts_on=day, recurrence_rule="FREQ=DAILY")
            assert event_of(found).dtstart.value.date() == day


def calls_in(content: Callable[[], bytes]) -> tuple[int, int]:
    """Return how many functions were called to write a file, and its number of excluded times."""
    profile = Profile()
    file = profile.runcall(content)
    calls = sum(entry.callcount for entry in profile.getstats())
    excluded = [line for line in lines(file) if line.startswith("EXDATE")]
    return calls, sum(line.count(",") + 1 for line in excluded)


QUARTERS = "FREQ=DAILY;BYMINUTE=0,15,30,45;BYHOUR=" + ",".join(map(str, range(24)))
LAST_HOUR = "FREQ=DAILY;BYHOUR=23;BYMINUTE=" + ",".join(map(str, range(60)))
# Saturdays on which clocks of Nuuk go from 23:00 to midnight: the day before the last Sunday.
SKIPPED_MIDNIGHTS = [
    day
    for day in (date(2027, 1, 1) + timedelta(days=n) for n in range(36 * 366))
    if day.month == 3 and day.weekday() == 5 and 24 <= day.day <= 30
]


@pytest.mark.parametrize(
    ("rule", "name", "days", "most"),
    [
        (QUARTERS, "Europe/Oslo", [date(2026, 3, 26) + timedelta(days=n) for n in range(366)], 15),
        (QUARTERS, "UTC", [date(2026, 3, 26) + timedelta(days=20 * n) for n in range(366)], 15),
        (LAST_HOUR, "America/Nuuk", SKIPPED_MIDNIGHTS, 200),
    ],
    ids=["day after day", "days far apart", "times that clocks skip"],
)
def test_an_excluded_time_is_little_work(rule: str, name: str, days: list[date], most: int) -> None:
    """There can be 35,000 of them, and whoever asks for the file keeps others waiting."""

    def content() -> bytes:
        excluded = [each.isoformat() for each in days]
        return render(recurrence_rule=rule, time_zone=name, excluded_dates=excluded)

    # What is found out once is known then.
    content()
    calls, times = calls_in(content)
    assert times > 1_000
    assert calls / times < most


def test_many_times_on_many_excluded_days() -> None:
    """What is largest: 96 times on each of 366 days."""
    days = [date(2026, 3, 26) + timedelta(days=number) for number in range(366)]
    content = render(
        recurrence_rule=QUARTERS,
        time_zone="Europe/Oslo",
        excluded_dates=[each.isoformat() for each in days],
    )
    excluded = [line for line in lines(content) if line.startswith("EXDATE")]
    assert sum(line.count(",") + 1 for line in excluded) == 96 * 366
    assert len(content) < 1_000_000
