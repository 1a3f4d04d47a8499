"""Calendar files as two other packages read them: ical and vobject."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, cast

import vobject
from ical.calendar_stream import IcsCalendarStream

from support.recurrence import zone

# At which programs end a line, or a text; TEXT has tabs alone (RFC 5545, 3.3.11).
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def _by_ical(content: bytes) -> Iterable[datetime]:
    [event] = IcsCalendarStream.calendar_from_ics(content.decode()).events
    return cast(Iterable[datetime], event.as_rrule())


def _by_vobject(content: bytes) -> Iterable[datetime]:
    # With the start, if the rule does not name it.
    found: Iterable[datetime] = event_of(content).getrruleset(addRDate=True)
    return found


READERS: dict[str, Callable[[bytes], Iterable[datetime]]] = {
    "ical": _by_ical,
    "vobject": _by_vobject,
}
"""What returns the occurrences of the event of a file.

Only times of the clock: where clocks skip one, each package has an offset of its own for it, and
not that of RFC 5545.
"""


def event_of(content: bytes) -> Any:
    """Return the event as vobject reads it, which refuses what breaks many of RFC 5545's rules."""
    text = content.decode()
    for name in re.findall("TZID:(.+)\r", text):
        # Otherwise it takes those of pytz, in which it does not find what is excluded.
        vobject.icalendar.registerTzid(name, zone(name))
    calendar = vobject.readOne(text)
    calendar.validate(raiseException=True)
    [event] = calendar.vevent_list
    return event


def lines(content: bytes) -> list[str]:
    """Return the lines of a file with their folds undone, having looked at the octets."""
    assert content.endswith(b"\r\n")
    folded = content.removesuffix(b"\r\n").split(b"\r\n")
    for line in folded:
        assert len(line) <= 75
        assert not _CONTROLS.search(line.decode())
    return content.decode().removesuffix("\r\n").replace("\r\n ", "").split("\r\n")
