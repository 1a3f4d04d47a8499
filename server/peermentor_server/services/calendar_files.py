"""The calendar file of a template: one event that recurs, in iCalendar (RFC 5545).

Only the call that asks for one imports this module, and with it the package icalendar.
"""

import re
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from icalendar import Calendar, Event, vRecur, vText

from peermentor_server.rules import ids, recurrence, zones
from peermentor_server.services import time_zones
from peermentor_server.storage.templates import TemplateRow

MEDIA_TYPE = "text/calendar; charset=utf-8"
_PROGRAM = "-//peermentor//peermentor.v1//EN"
# Also those at which some programs end a line, though RFC 5545 has no other end than CRLF.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Octets of a folded line, the blank before it and its end left out.
_FOLD = 74


class _Text(vText):
    r"""A text that comes back as it is. By itself vText makes a line break of `C:\Notes`, too."""

    def to_ical(self) -> bytes:
        escaped = re.sub(r"([\\;,])", r"\\\1", self.replace("\r\n", "\n").replace("\r", "\n"))
        return _CONTROLS.sub(" ", escaped).replace("\n", r"\n").encode()


class _Times(vText):
    """Times as iCalendar writes them. By itself icalendar makes many objects for each of them."""

    def to_ical(self) -> bytes:
        return self.encode()


def render(row: TemplateRow) -> bytes:
    """Return the file; the same for the same row, as long as its time zone has the same rules."""
    calendar = Calendar()
    calendar.add("prodid", _PROGRAM)
    calendar.add("version", "2.0")
    series = recurrence.series(row.recurrence_rule, row.start, row.excluded)
    # Of a time with a time zone, icalendar itself would look for the id, and take some for UTC.
    is_utc = row.time_zone == zones.UTC
    zone, parameters = (UTC, {}) if is_utc else (None, {"TZID": row.time_zone})
    suffix = "Z" if is_utc else ""
    if not is_utc:
        calendar.add_component(time_zones.describe(row.time_zone, series.first.year))
    event = _event(row)
    event.add("dtstart", series.first.replace(tzinfo=zone), parameters)
    event.add("rrule", vRecur.from_ical(series.rule))
    for _, moments in groupby(series.excluded, datetime.date):
        times = ",".join(each.isoformat() + suffix for each in moments)
        event.add("exdate", _Times(times.replace("-", "").replace(":", "")), parameters)
    calendar.add_component(event)
    folded = [_folded(line) for line in calendar.content_lines() if line]
    return b"\r\n".join([*folded, b""])


def _folded(line: Any) -> bytes:
    """Return a content line of icalendar as it is written."""
    if not line.startswith("EXDATE"):
        content: bytes = line.to_ical()
        return content
    # These are most of a file, and in ASCII. icalendar looks at one character after the other.
    pieces = [line[at : at + _FOLD] for at in range(0, len(line), _FOLD)]
    return "\r\n ".join(pieces).encode()


def _event(row: TemplateRow) -> Event:
    event = Event()
    event.add("uid", ids.calendar_uid(row.id, row.created_at))
    # As there is no METHOD, it is when the event was last changed (RFC 5545, 3.8.7.2).
    event.add("dtstamp", row.updated_at)
    event.add("created", row.created_at)
    event.add("last-modified", row.updated_at)
    event.add("sequence", row.version - 1)
    event.add("summary", _Text(row.name))
    if row.notes_template:
        event.add("description", _Text(row.notes_template))
    event.add("categories", _Text(row.activity_type))
    event.add("status", "CONFIRMED" if row.is_active else "CANCELLED")
    # In minutes: a day of a duration is 23 or 25 hours long when clocks change.
    event.add("duration", vText(f"PT{row.duration_minutes}M"))
    return event
