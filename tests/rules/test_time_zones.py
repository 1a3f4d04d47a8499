"""Recurrence in time zones: as python-dateutil has it, whose rules and zones are its own."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import takewhile

import pytest
from dateutil.rrule import rrulestr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from peermentor_server.rules import zones
from peermentor_server.rules.recurrence import occurrences
from support.recurrence import CHANGES, DAYS, EXAMPLES, ODD_ZONES, local_times, rules


def by_dateutil(
    rule: str, start: datetime, name: str, first: date, last: date, excluded: set[date]
) -> list[str]:
    """Expand a rule by dateutil: its rules name times of the clock, its zones say when they are."""
    named: Iterator[datetime] = iter(rrulestr(rule, dtstart=start))
    named = takewhile(lambda moment: moment.date() <= last, named)
    kept = (moment for moment in named if moment.date() not in excluded)
    return [each.isoformat() for each in local_times(kept, name) if first <= each.date() <= last]


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
