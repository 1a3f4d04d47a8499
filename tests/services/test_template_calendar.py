"""GetTemplateCalendar: a template as a file that calendar programs read (RFC 5545)."""

from itertools import islice
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody

from peermentor.v1.templates_pb2 import (
    GetTemplateCalendarRequest,
    ListOccurrencesRequest,
    RecurringTemplate,
    UpdateTemplateRequest,
)
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from support.calendars import READERS, event_of, lines
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import new_template, refused

REQUEST = GetTemplateCalendarRequest(id="rt-001")
RULE = "FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=30"
FILE = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//peermentor//peermentor.v1//EN
BEGIN:VTIMEZONE
TZID:Europe/Oslo
BEGIN:DAYLIGHT
DTSTART:20250330T020000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
TZNAME:CEST
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
BEGIN:STANDARD
DTSTART:20251026T030000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
TZNAME:CET
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
SUMMARY:Weekly Check-in
DTSTART;TZID=Europe/Oslo:20260330T093000
DURATION:PT45M
DTSTAMP:20260326T100000Z
UID:{uid}
SEQUENCE:0
RRULE:FREQ=WEEKLY;BYMINUTE=30;BYHOUR=9;BYDAY=MO
EXDATE;TZID=Europe/Oslo:20260406T093000
CATEGORIES:peer_session
CREATED:20260326T100000Z
DESCRIPTION:How was the week?
LAST-MODIFIED:20260326T100000Z
STATUS:CONFIRMED
END:VEVENT
END:VCALENDAR
"""


def described(templates: TemplateServiceStub, **fields: Any) -> RecurringTemplate:
    """Make a template, mostly that of FILE."""
    return new_template(
        templates,
        **{
            "name": "Weekly Check-in",
            "activity_type": "peer_session",
            "recurrence_rule": RULE,
            "duration_minutes": 45,
            "notes_template": "How was the week?",
            "starts_on": "2026-03-26",
            "time_zone": "Europe/Oslo",
            "excluded_dates": ["2026-04-06", "2026-04-07"],
        }
        | fields,
    )


def content(templates: TemplateServiceStub) -> bytes:
    return bytes(templates.GetTemplateCalendar(REQUEST).data)


def told(templates: TemplateServiceStub) -> dict[str, str]:
    """Return the headers of the answer."""
    _, call = templates.GetTemplateCalendar.with_call(REQUEST)
    return {name: str(value) for name, value in call.initial_metadata()}


def change(templates: TemplateServiceStub, **fields: Any) -> None:
    templates.UpdateTemplate(UpdateTemplateRequest(id="rt-001", **fields))


def test_the_file_has_the_event_and_its_time_zone(templates: TemplateServiceStub) -> None:
    described(templates)
    answer = templates.GetTemplateCalendar(REQUEST)

    uid = event_of(answer.data).uid.value
    assert answer.data.decode() == FILE.format(uid=uid).replace("\n", "\r\n")
    assert answer == HttpBody(content_type="text/calendar; charset=utf-8", data=answer.data)
    assert told(templates)["content-disposition"] == 'attachment; filename="rt-001.ics"'


def test_the_event_stays_the_same_one_and_says_when_it_was_changed(
    templates: TemplateServiceStub, clock: SettableClock
) -> None:
    described(templates)
    before = event_of(content(templates))
    clock.set(CONTRACT_DAY.replace(day=28))
    assert content(templates) == content(templates)
    change(templates, name="Monthly Review", starts_on="2026-05-01", organization_id="org-45")
    after = event_of(content(templates))

    assert before.uid.value == after.uid.value
    assert (before.sequence.value, after.sequence.value) == ("0", "1")
    assert before.dtstamp.value == before.last_modified.value == before.created.value
    assert after.dtstamp.value == after.last_modified.value == CONTRACT_DAY.replace(day=28)
    assert after.created.value == CONTRACT_DAY


def test_no_two_events_are_the_same(templates: TemplateServiceStub) -> None:
    described(templates)
    described(templates)
    other = templates.GetTemplateCalendar(GetTemplateCalendarRequest(id="rt-002"))
    assert event_of(content(templates)).uid.value != event_of(other.data).uid.value


def test_the_etag_changes_with_the_file(
    templates: TemplateServiceStub, clock: SettableClock
) -> None:
    described(templates)
    first = told(templates)["etag"]
    assert first[0] == first[-1] == '"'
    clock.set(CONTRACT_DAY.replace(day=28))
    assert told(templates)["etag"] == first
    change(templates, notes_template="How was the month?")
    assert told(templates)["etag"] != first


def test_a_template_that_is_not_active_is_cancelled(templates: TemplateServiceStub) -> None:
    described(templates, is_active=False)
    assert "STATUS:CANCELLED" in lines(content(templates))


def test_a_time_in_utc_needs_no_time_zone(templates: TemplateServiceStub) -> None:
    described(templates, time_zone="UTC", recurrence_rule="FREQ=DAILY;UNTIL=20260408")
    found = lines(content(templates))
    assert "BEGIN:VTIMEZONE" not in found
    assert {
        "DTSTART:20260326T000000Z",
        "RRULE:FREQ=DAILY;UNTIL=20260408T235959Z",
        "EXDATE:20260406T000000Z",
        "EXDATE:20260407T000000Z",
    } <= set(found)


def test_a_duration_is_as_long_on_days_on_which_clocks_change(
    templates: TemplateServiceStub,
) -> None:
    """A duration of a day is a day by the clocks, one of minutes is not (RFC 5545, 3.3.6)."""
    described(templates, duration_minutes=1440)
    assert "DURATION:PT1440M" in lines(content(templates))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"time_zone": "UTC"},
        {"recurrence_rule": "byday=+1we,-1fr;interval=02;freq=monthly;byhour=09"},
        {"recurrence_rule": "RRULE:FREQ=DAILY;COUNT=20", "excluded_dates": ["2026-03-26"]},
        {"recurrence_rule": "FREQ=DAILY;UNTIL=20260402", "time_zone": "Pacific/Auckland"},
        {"recurrence_rule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU;WKST=SU"},
        {"recurrence_rule": "FREQ=DAILY;BYHOUR=9,17;BYMINUTE=0,30;UNTIL=20260401T080000Z"},
        # It takes the day of the month from the start.
        {"recurrence_rule": "FREQ=YEARLY;BYMONTH=1,5", "starts_on": "2026-03-31"},
        # None of them: it never comes, and it is over before it starts.
        {"recurrence_rule": "FREQ=MONTHLY;INTERVAL=12;BYMONTH=1"},
        {"recurrence_rule": "FREQ=DAILY;UNTIL=20260402", "starts_on": "2026-05-01"},
        {
            "recurrence_rule": "FREQ=DAILY;COUNT=1",
            "starts_on": "2026-04-07",
            "excluded_dates": ["2026-04-07"],
        },
    ],
)
@pytest.mark.parametrize("reader", READERS)
def test_the_event_has_the_occurrences_of_the_template(
    templates: TemplateServiceStub, fields: dict[str, Any], reader: str
) -> None:
    described(templates, **fields)
    request = ListOccurrencesRequest(id="rt-001", from_date="2026-01-01", limit=30)
    listed = [each.local_time for each in templates.ListOccurrences(request).data]

    found = READERS[reader](content(templates))
    assert [each.isoformat() for each in islice(found, 30)] == listed


def test_no_text_becomes_a_line_of_the_file(templates: TemplateServiceStub) -> None:
    hostile = "a\r\nEND:VEVENT\r\nBEGIN:VEVENT\nATTACH:x\rb\u2028c\td"
    described(templates, name=hostile, notes_template=hostile)
    found = lines(content(templates))
    assert found.count("BEGIN:VEVENT") == found.count("END:VEVENT") == 1
    assert not [each for each in found if each.startswith("ATTACH")]
    event = event_of(content(templates))
    assert event.summary.value == event.description.value
    assert event.summary.value == "a\nEND:VEVENT\nBEGIN:VEVENT\nATTACH:x\nb c\td"


def test_texts_come_back_as_they_are(templates: TemplateServiceStub) -> None:
    text = 'C:\\Notes\\new, \\; "x"; a:b, ^n %2C = \N{SNOWMAN} \U0001f44b\U0001f3fd ' + "å" * 100
    described(templates, name=text[:200], notes_template=text * 20, activity_type="a,b;c\\N")
    event = event_of(content(templates))
    assert event.summary.value == text[:200]
    assert event.description.value == text * 20
    assert event.categories.value == ["a,b;c\\N"]
    assert "CATEGORIES:a\\,b\\;c\\\\N" in lines(content(templates))


def test_an_unknown_template_has_no_file(templates: TemplateServiceStub) -> None:
    described(templates)
    for template_id in ("rt-002", "nonsense"):
        request = GetTemplateCalendarRequest(id=template_id)
        call = refused(templates.GetTemplateCalendar, request)
        assert (call.code, call.reason) == (grpc.StatusCode.NOT_FOUND, "TEMPLATE_NOT_FOUND")
