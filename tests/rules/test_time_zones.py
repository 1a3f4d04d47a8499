"""Recurrence in time zones: as python-dateutil has it, whose rules and zones are its own."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from itertools import takewhile

import pytest
from dateutil import tz
from dateutil.rrule import rrulestr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from peermentor_server.rules import zones
from peermentor_server.rules.recurrence import occurrences

EXAMPLES = 10_000 if os.environ.get("TORTURE") else 300
# Those with skipped and repeated times, at midnight too, by half an hour, and by a whole day.
ODD_ZONES = [
    "Africa/Cairo",
    "America/Havana",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Europe/Oslo",
    "Pacific/Apia",
]
# To the end of what dateutil reads of a zone.
DAYS = st.dates(date(2000, 1, 1), date(2034, 12, 31))
# Within a month after this, most clocks are changed.
CHANGES = st.tuples(st.integers(2000, 2034), st.sampled_from([3, 4, 9, 10, 11])).map(
    lambda month: date(*month, 1)
)


def listed(values: st.SearchStrategy[str], most: int) -> st.SearchStrategy[str]:
    return st.lists(values, min_size=1, max_size=most, unique=True).map(",".join)


WEEKDAYS = listed(st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"]), 4)
NTH = listed(st.sampled_from(["1MO", "2TU", "-1FR", "-1SU", "2SU", "+4TH"]), 3)
MONTH_DAYS = listed(st.integers(1, 28).map(str) | st.integers(-28, -1).map(str), 4)
# Around those at which clocks are changed.
HOURS = listed(st.sampled_from(["0", "1", "2", "3", "4", "9", "23"]), 3)
MINUTES = listed(st.sampled_from(["0", "15", "30", "59"]), 3)
MONTHS = listed(st.integers(1, 12).map(str), 4)


@st.composite
def rules(draw: st.DrawFn) -> str:
    """A rule on which dateutil agrees with RFC 5545 (tests/rules/test_recurrence.py has others)."""
    freq = draw(st.sampled_from(["DAILY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = [f"FREQ={freq}", f"INTERVAL={draw(st.integers(1, 3))}"]
    choices = {"WEEKLY": [("BYDAY", WEEKDAYS)]}
    choices["MONTHLY"] = [("BYDAY", WEEKDAYS), ("BYDAY", NTH), ("BYMONTHDAY", MONTH_DAYS)]
    choices["YEARLY"] = choices["MONTHLY"]
    if freq in choices and draw(st.booleans()):
        name, values = draw(st.sampled_from(choices[freq]))
        parts.append(f"{name}={draw(values)}")
    if draw(st.integers(0, 3)) == 0:
        parts.append(f"BYMONTH={draw(MONTHS)}")
    if draw(st.booleans()):
        parts.append(f"BYHOUR={draw(HOURS)}")
    if draw(st.booleans()):
        parts.append(f"BYMINUTE={draw(MINUTES)}")
    if freq != "WEEKLY" and len(parts) > 2 and draw(st.booleans()):
        parts.append(f"BYSETPOS={draw(st.sampled_from(['1', '-1', '1,-1']))}")
    if draw(st.integers(0, 3)) == 0:
        parts.append(f"COUNT={draw(st.integers(1, 60))}")
    return ";".join([*parts, f"WKST={draw(st.sampled_from(['MO', 'SU']))}"])


def by_dateutil(
    rule: str, start: datetime, name: str, first: date, last: date, excluded: set[date]
) -> list[str]:
    """Expand a rule by dateutil: its rules name times of the clock, its zones say when they are."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        zone = tz.tzfile(file)
    named: Iterator[datetime] = iter(rrulestr(rule, dtstart=start))
    named = takewhile(lambda moment: moment.date() <= last, named)
    kept = [moment for moment in named if moment.date() not in excluded]
    meant = {tz.resolve_imaginary(each.replace(tzinfo=zone)).astimezone(UTC) for each in kept}
    local = [moment.astimezone(zone) for moment in sorted(meant)]
    return [each.isoformat() for each in local if first <= each.date() <= last]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rules(),
    DAYS,
    st.sampled_from(ODD_ZONES) | st.sampled_from(sorted(zones.names())),
    CHANGES | DAYS,
    st.integers(0, 45),
    st.sets(st.integers(0, 45), max_size=4),
)
@example(
    "FREQ=DAILY;BYHOUR=0,9,23", date(2011, 12, 1), "Pacific/Apia", date(2011, 12, 29), 4, set()
)
@example("FREQ=DAILY;BYHOUR=9", date(2011, 12, 1), "Pacific/Apia", date(2011, 12, 31), 0, {0})
def test_rules_in_zones_expand_as_dateutil_does(
    rule: str, starts_on: date, name: str, first: date, length: int, left_out: set[int]
) -> None:
    start = datetime.combine(starts_on, time.min)
    last = first + timedelta(days=length)
    excluded = {first + timedelta(days=number) for number in left_out}
    moments = occurrences(
        rule, start.replace(tzinfo=zones.zone(name)), first=first, last=last, excluded=excluded
    )
    expected = by_dateutil(rule, start, name, first, last, excluded)
    assert [moment.isoformat() for moment in moments] == expected


def test_all_names_have_a_zone() -> None:
    assert {"UTC", "Europe/Oslo", "America/Argentina/Buenos_Aires"} <= zones.names()
    for name in zones.names():
        assert zones.zone(name).key == name
    with pytest.raises(KeyError):
        zones.zone("../zones")
