"""Time zones as calendar files describe them: VTIMEZONE (RFC 5545, 3.6.5).

The package icalendar makes them too, but with an onset that is an hour late in each spring, and up
to a last year.
"""

from calendar import monthrange
from collections import defaultdict
from collections.abc import Sequence
from datetime import MAXYEAR, datetime
from functools import lru_cache

from icalendar import Timezone, TimezoneDaylight, TimezoneStandard, vRecur

from peermentor_server.rules import zones
from peermentor_server.rules.recurrence import HORIZON_YEARS, WEEKDAYS
from peermentor_server.rules.zone_changes import Change, changes

_WEEK = 7


@lru_cache(maxsize=256)
def describe(name: str, year: int) -> Timezone:
    """Describe a time zone from the beginning of a year on.

    Changes that come each year on the same day, such as the last Sunday of March, do so without an
    end. Others are named one by one, for HORIZON_YEARS. Raises KeyError for no name of a time zone.
    """
    last = min(year + HORIZON_YEARS, MAXYEAR - 1)
    initial, *later = changes(zones.zone(name), min(year, last) - 1, last)
    if not later or later[0].onset.year >= year:
        later.insert(0, initial)
    alike: dict[tuple[object, ...], list[Change]] = defaultdict(list)
    for change in later:
        alike[change[1:]].append(change)
    described = Timezone()
    described.add("tzid", name)
    for several in alike.values():
        yearly = _yearly([each.onset for each in several], last)
        singly = several[: len(several) - len(yearly)]
        if singly:
            observance = _observance(singly[0])
            # Some programs forget the onset of DTSTART where there is no rule, and others all but
            # the first of a list.
            for each in singly:
                observance.add("rdate", [each.onset])
            described.add_component(observance)
        if yearly:
            observance = _observance(several[-len(yearly)])
            observance.add("rrule", vRecur.from_ical(_rule(yearly)))
            described.add_component(observance)
    return described


def _observance(change: Change) -> TimezoneStandard | TimezoneDaylight:
    observance = TimezoneDaylight() if change.is_daylight else TimezoneStandard()
    observance.add("dtstart", change.onset)
    observance.add("tzoffsetfrom", change.before)
    observance.add("tzoffsetto", change.after)
    observance.add("tzname", change.abbreviation)
    return observance


def _yearly(onsets: Sequence[datetime], last: int) -> Sequence[datetime]:
    """Return those at the end that a rule can name: each year, on one weekday of the same week."""
    run: list[datetime] = []
    for onset in reversed(onsets):
        days = {each.day for each in (onset, *run)}
        is_like = not run or (onset.year == run[0].year - 1 and _of_year(onset) == _of_year(run[0]))
        if not is_like or max(days) - min(days) >= _WEEK:
            break
        run.insert(0, onset)
    days = {each.day for each in run}
    # The whole week is known when its first day and its last have had their turn.
    is_known = run[-1].year == last and max(days) - min(days) == _WEEK - 1
    return run if is_known else []


def _of_year(onset: datetime) -> tuple[object, ...]:
    return onset.month, onset.weekday(), onset.time()


def _rule(onsets: Sequence[datetime]) -> str:
    """Return the rule of onsets that are in one week of a month and on one day of that."""
    first, weekday = min(onset.day for onset in onsets), WEEKDAYS[onsets[0].weekday()]
    month, last = onsets[0].month, first + _WEEK - 1
    if first % _WEEK == 1:
        day = f"BYDAY={last // _WEEK}{weekday}"
    elif last == monthrange(onsets[0].year, month)[1]:
        day = f"BYDAY=-1{weekday}"
    else:
        # Some programs know only the other two. Hardly any time zone is like that.
        of_month = ",".join(map(str, range(first, last + 1)))
        day = f"BYDAY={weekday};BYMONTHDAY={of_month}"
    return f"FREQ=YEARLY;BYMONTH={month};{day}"
