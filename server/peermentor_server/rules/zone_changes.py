"""When the clocks of a time zone change, for those who cannot look it up by its name."""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Change(NamedTuple):
    """A change of the offset from UTC."""

    onset: datetime  # by the clocks as they were before it, without a time zone
    before: timedelta
    after: timedelta
    abbreviation: str  # of the time after it, such as CET
    is_daylight: bool  # whether that is daylight saving time, as the IANA database has it


def changes(zone: ZoneInfo, first: int, last: int) -> Iterator[Change]:
    """Yield the offset with which a year begins, as a change to that, and each change after it.

    first, last: years of UTC, both included.
    """
    instant, end = datetime(first, 1, 1, tzinfo=UTC), datetime(last, 12, 31, tzinfo=UTC)
    # No two changes are on one day.
    step = timedelta(days=1)
    offset = _offset(zone, instant)
    yield _change(zone, instant, offset)
    while instant < end:
        following = instant + step
        if _offset(zone, following) != offset:
            yield _change(zone, _first_otherwise(zone, instant, step, offset), offset)
            offset = _offset(zone, following)
        instant = following


def _first_otherwise(
    zone: ZoneInfo, since: datetime, within: timedelta, offset: timedelta
) -> datetime:
    """Find the first second from which on clocks have another offset."""

    def is_other(seconds: int) -> bool:
        return _offset(zone, since + timedelta(seconds=seconds)) != offset

    seconds = bisect_left(range(int(within.total_seconds())), 1, key=is_other)
    return since + timedelta(seconds=seconds)


def _change(zone: ZoneInfo, instant: datetime, before: timedelta) -> Change:
    local = instant.astimezone(zone)
    return Change(
        onset=(instant + before).replace(tzinfo=None),
        before=before,
        after=_offset(zone, instant),
        abbreviation=str(local.tzname()),
        is_daylight=bool(local.dst()),
    )


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()
