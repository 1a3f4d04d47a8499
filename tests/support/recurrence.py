"""Rules and days by chance, and what python-dateutil makes of times of the clock."""

import os
from collections.abc import Iterable
from datetime import UTC, date, datetime, tzinfo
from functools import cache
from importlib import resources

from dateutil import tz
from hypothesis import strategies as st

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


@cache
def zone(name: str) -> tzinfo:
    """Return a time zone as dateutil has it, with the data of the package tzdata."""
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return tz.tzfile(file)


def local_times(named: Iterable[datetime], name: str) -> list[datetime]:
    """Return the moments that times of the clock mean in a time zone, in order, none twice."""
    there = zone(name)
    meant = {tz.resolve_imaginary(each.replace(tzinfo=there)).astimezone(UTC) for each in named}
    return [moment.astimezone(there) for moment in sorted(meant)]
