"""Every limit of the .proto comments, at it and one past it.

Each RPC is called over a real channel with one field of a good request replaced.
"""

from datetime import date, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from peermentor.v1.assignments_pb2 import Assignment
from support.clock import SettableClock
from support.rpcs import GOOD, GoodRequests

# --- Identifiers ---

IDENTIFIERS = [
    (rpc, field)
    for rpc, fields in {
        "CreateAssignment": "mentee_id peer_mentor_id coordinator_id org_id",
        "UpdateAssignment": "peer_mentor_id coordinator_id org_id",
        "ListAssignments": "mentee_id peer_mentor_id coordinator_id org_id",
        "ListOverdueAssignments": "mentee_id peer_mentor_id coordinator_id org_id",
        "CreateTemplate": "coordinator_id organization_id",
        "UpdateTemplate": "coordinator_id organization_id",
        "ListTemplatesByCoordinator": "coordinator_id",
        "ListTemplatesByOrganization": "organization_id",
    }.items()
    for field in fields.split()
]
GOOD_IDENTIFIERS = [
    "x",
    "0",
    "x" * 128,
    "Ab-1_2.3:4@5~6",
    "%2F",
    "';--\"%s:x",
    "...",
]
BAD_IDENTIFIERS = [
    "",
    " ",
    "x" * 129,
    ".",
    "..",
    "Ærø",
    "\N{ZERO WIDTH SPACE}",
    "a b",
    " a",
    "a ",
    "a\tb",
    "a\nb",
    "a\rb",
    "a/b",
    "a\\b",
    "a\0",
    "\x01",
    "a\x1fb",
    "a\x7fb",
    "a\x80b",
    "a\x85b",
    "a\x9fb",
    "a\u00a0b",
    "a\u2028b",
    "a\u3000b",
]


@pytest.mark.parametrize(("rpc", "field"), IDENTIFIERS)
def test_identifiers_are_1_to_128_ascii_characters_without_spaces_and_slashes(
    service: GoodRequests, rpc: str, field: str
) -> None:
    for value in GOOD_IDENTIFIERS:
        answer = service.call(rpc, **{field: value})
        assert "List" in rpc or getattr(answer, field) == value, ascii(value)
    for value in BAD_IDENTIFIERS:
        assert service.refuse(rpc, **{field: value}).violations.keys() == {field}, ascii(value)


@pytest.mark.parametrize("rpc", ["CreateTemplate", "UpdateTemplate"])
def test_mentors_are_identifiers_too(service: GoodRequests, rpc: str) -> None:
    answer = service.call(rpc, mentor_ids=GOOD_IDENTIFIERS)
    assert list(answer.mentor_ids) == GOOD_IDENTIFIERS

    for value in BAD_IDENTIFIERS:
        call = service.refuse(rpc, mentor_ids=["m-1", "m-2", value])
        assert call.violations.keys() == {"mentor_ids[2]"}, ascii(value)


@pytest.mark.parametrize("rpc", ["CreateTemplate", "UpdateTemplate"])
def test_a_template_has_at_most_100_mentors_and_none_twice(service: GoodRequests, rpc: str) -> None:
    mentors = [f"m-{number}" for number in range(101)]

    assert list(service.call(rpc, mentor_ids=mentors[:100]).mentor_ids) == mentors[:100]
    assert service.refuse(rpc, mentor_ids=mentors).violations.keys() == {"mentor_ids"}
    twice = service.refuse(rpc, mentor_ids=["m-1", "m-2", "m-1", "m-2", "M-1"])
    assert twice.violations.keys() == {"mentor_ids[2]", "mentor_ids[3]"}


@pytest.mark.parametrize("rpc", ["CreateTemplate", "UpdateTemplate"])
def test_a_template_has_at_most_366_excluded_dates_and_none_twice(
    service: GoodRequests, rpc: str
) -> None:
    days = [str(date(2026, 1, 1) + timedelta(days=number)) for number in range(367)]

    assert list(service.call(rpc, excluded_dates=days[:366]).excluded_dates) == days[:366]
    assert service.refuse(rpc, excluded_dates=days).violations.keys() == {"excluded_dates"}
    call = service.refuse(rpc, excluded_dates=["2026-01-01", "20260101", "", "2026-01-01"])
    assert call.violations.keys() == {f"excluded_dates[{index}]" for index in (1, 2, 3)}


@pytest.mark.parametrize("rpc", ["CreateTemplate", "UpdateTemplate"])
def test_a_template_starts_on_a_day_of_this_millennium(service: GoodRequests, rpc: str) -> None:
    for day in ("2000-01-01", "9999-12-31"):
        assert service.call(rpc, starts_on=day).starts_on == day
    for day in ("1999-12-31", "0001-01-01", "2026-02-30", "2026-03-26T10:00:00Z", ""):
        assert service.refuse(rpc, starts_on=day).violations.keys() == {"starts_on"}, day


@pytest.mark.parametrize("rpc", ["CreateTemplate", "UpdateTemplate"])
def test_a_time_zone_is_one_of_the_iana_database(service: GoodRequests, rpc: str) -> None:
    for name in ("UTC", "Europe/Oslo", "America/Argentina/Buenos_Aires", "Asia/Kathmandu"):
        assert service.call(rpc, time_zone=name).time_zone == name
    for name in ("", "europe/oslo", "Europe/", "+01:00", "../UTC", "right/UTC", "zones", "CET\0"):
        assert service.refuse(rpc, time_zone=name).violations.keys() == {"time_zone"}, name


# --- Text ---

CONTROLS = ["\0", "\a", "\b", "\v", "\f", "\x1b", "\x1f", "\x7f", "\x80", "\x85", "\x9f"]
ODD_TEXTS = [
    "tab\tand\nline\r\nbreaks",
    " kept as it is ",
    "Bjørn Solberg",
    "e\u0301 is not \u00e9",
    "\N{ARABIC LETTER BEH}\N{RIGHT-TO-LEFT MARK}\N{ZERO WIDTH JOINER}",
    "\N{FAMILY}\N{VARIATION SELECTOR-16}",
    "\u2028\u00a0\ufeff\uffff",
    "'; DROP TABLE mentees; -- \\ \" %s :name {0} ${x}",
]


@pytest.mark.parametrize(
    ("rpc", "field", "longest"),
    [
        ("CreateAssignment", "mentee_name", 200),
        ("UpdateAssignment", "mentee_name", 200),
        ("CreateTemplate", "name", 200),
        ("UpdateTemplate", "name", 200),
        ("CreateTemplate", "notes_template", 5_000),
        ("UpdateTemplate", "notes_template", 5_000),
    ],
)
def test_free_text_keeps_line_breaks_and_refuses_other_controls(
    service: GoodRequests, rpc: str, field: str, longest: int
) -> None:
    for character in ("x", "\N{GRINNING FACE}", "\n"):
        if character == "\n" and field in {"name", "mentee_name"}:
            continue
        value = character * longest
        assert getattr(service.call(rpc, **{field: value}), field) == value
        assert service.refuse(rpc, **{field: value + character}).violations.keys() == {field}
    for value in ODD_TEXTS:
        assert getattr(service.call(rpc, **{field: value}), field) == value, ascii(value)
    for control in CONTROLS:
        call = service.refuse(rpc, **{field: f"a{control}b"})
        assert call.violations.keys() == {field}, ascii(control)


@pytest.mark.parametrize("rpc", ["CreateAssignment", "UpdateAssignment"])
def test_the_name_of_a_mentee_may_be_emptied_by_an_update_alone(
    service: GoodRequests, rpc: str
) -> None:
    assert service.call("UpdateAssignment", mentee_name="").mentee_name == ""
    for blank in (" ", "\n\t", "\u00a0", "\u200b", *[""] * (rpc == "CreateAssignment")):
        assert service.refuse(rpc, mentee_name=blank).violations.keys() == {"mentee_name"}


@pytest.mark.parametrize("rpc", ["CreateTemplate", "UpdateTemplate"])
def test_an_activity_type_is_one_line_of_1_to_64_characters(
    service: GoodRequests, rpc: str
) -> None:
    for value in ("x", "x" * 64, "\N{GRINNING FACE}" * 64, "peer session"):
        assert service.call(rpc, activity_type=value).activity_type == value
    for value in ("", " ", "x" * 65, *(f"a{control}b" for control in [*CONTROLS, *"\t\n\r"])):
        call = service.refuse(rpc, activity_type=value)
        assert call.violations.keys() == {"activity_type"}, ascii(value)


def test_no_templates_are_asked_for_of_an_activity_type_that_is_none(service: GoodRequests) -> None:
    for rpc in ("ListTemplates", "ListTemplatesByCoordinator", "ListTemplatesByOrganization"):
        service.call(rpc, activity_type="x" * 64)
        for value in ("", " ", "x" * 65, "a\nb"):
            call = service.refuse(rpc, activity_type=value)
            assert call.violations.keys() == {"activity_type"}, ascii(value)


@pytest.mark.parametrize("rpc", ["CreateTemplate", "UpdateTemplate"])
def test_the_name_of_a_template_is_not_blank(service: GoodRequests, rpc: str) -> None:
    assert service.call(rpc, name="x").name == "x"
    for value in ("", " ", "\n", "\t \u00a0"):
        assert service.refuse(rpc, name=value).violations.keys() == {"name"}, ascii(value)


@pytest.mark.parametrize("rpc", ["UpdateLastContact", "ListContacts"])
def test_a_contact_type_is_one_line_of_at_most_64_characters(
    service: GoodRequests, rpc: str
) -> None:
    for value in ("", "x" * 64, "\N{GRINNING FACE}" * 64, "a long call"):
        service.call(rpc, contact_type=value)
    for value in ("x" * 65, *(f"a{control}b" for control in [*CONTROLS, *"\t\n\r"])):
        call = service.refuse(rpc, contact_type=value)
        assert call.violations.keys() == {"contact_type"}, ascii(value)


# --- Recurrence rules ---


def rule_of(length: int) -> str:
    """Return a good rule of some length near 500, but for its length."""
    values = [str(day) for day in range(100, 218)]
    rule = "RRULE:FREQ=YEARLY;BYYEARDAY=" + ",".join(values)
    # A sign more is a character more.
    return rule.replace(",", ",+", length - len(rule))


@pytest.mark.parametrize("rpc", ["CreateTemplate", "UpdateTemplate"])
def test_a_rule_has_at_most_500_characters(service: GoodRequests, rpc: str) -> None:
    assert [len(rule_of(500)), len(rule_of(501))] == [500, 501]

    assert service.call(rpc, recurrence_rule=rule_of(500)).recurrence_rule == rule_of(500)
    call = service.refuse(rpc, recurrence_rule=rule_of(501))
    assert call.violations.keys() == {"recurrence_rule"}


@pytest.mark.parametrize("rpc", ["CreateTemplate", "UpdateTemplate"])
def test_refused_rules_name_the_part_at_fault(service: GoodRequests, rpc: str) -> None:
    for rule, part in {
        "garbage": "GARBAGE",
        "FREQ=DAILY;": "RRULE",
        "FREQ=DAILY\nEXRULE:FREQ=DAILY": "RRULE",
        "FREQ=HOURLY": "FREQ",
        "INTERVAL=2": "FREQ",
        "FREQ=DAILY;FREQ=DAILY": "FREQ",
        "FREQ=DAILY;COLOUR=RED": "COLOUR",
        "FREQ=DAILY;INTERVAL=0": "INTERVAL",
        "FREQ=DAILY;COUNT=0": "COUNT",
        "FREQ=DAILY;COUNT=2;UNTIL=20270101": "COUNT",
        "FREQ=MONTHLY;BYDAY=99MO": "BYDAY",
        "FREQ=YEARLY;BYMONTH=13": "BYMONTH",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30": "RRULE",
        "FREQ=DAILY;UNTIL=20260325": "UNTIL",
        "FREQ=DAILY\0": "FREQ",
        "FREQ=DA\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}LY": "FREQ",
    }.items():
        call = service.refuse(rpc, recurrence_rule=rule)
        assert call.violations.keys() == {"recurrence_rule"}, rule
        assert call.violations["recurrence_rule"].startswith(f"{part}: "), rule
    for rule in ("", " "):
        call = service.refuse(rpc, recurrence_rule=rule)
        assert call.violations == {"recurrence_rule": "is required and must not be blank"}


def test_a_rule_needs_an_occurrence_from_now_on(
    service: GoodRequests, clock: SettableClock
) -> None:
    fields: dict[str, Any] = {"recurrence_rule": "FREQ=DAILY;UNTIL=20260326"}
    service.call("CreateTemplate", **fields)
    service.call("UpdateTemplate", **fields)

    clock.advance(days=1)
    service.call("UpdateTemplate", recurrence_rule="FREQ=DAILY")

    for rpc in ("CreateTemplate", "UpdateTemplate"):
        call = service.refuse(rpc, **fields)
        assert call.violations == {"recurrence_rule": "UNTIL: is in the past"}


# --- Numbers and choices ---


@pytest.mark.parametrize("rpc", ["CreateTemplate", "UpdateTemplate"])
def test_a_duration_is_from_1_minute_to_a_week(service: GoodRequests, rpc: str) -> None:
    for value in (1, 10_080):
        assert service.call(rpc, duration_minutes=value).duration_minutes == value
    for value in (0, -1, 10_081, 2**31 - 1, -(2**31)):
        call = service.refuse(rpc, duration_minutes=value)
        assert call.violations.keys() == {"duration_minutes"}, value


@pytest.mark.parametrize("rpc", ["UpdateAssignment", "ListAssignments", "ListOverdueAssignments"])
def test_a_status_is_one_of_the_four(service: GoodRequests, rpc: str) -> None:
    for value in (1, 2, 3, 4):
        service.call(rpc, status=value)
    for value in (Assignment.unspecified, 5, 99, -1, 2**31 - 1, -(2**31)):
        assert service.refuse(rpc, status=value).violations.keys() == {"status"}, value


LISTS = [rpc for rpc in GOOD if rpc.startswith("List") and rpc != "ListOccurrences"]


@pytest.mark.parametrize("rpc", LISTS)
def test_pages_are_numbered_from_1_to_100000(service: GoodRequests, rpc: str) -> None:
    for value in (1, 100_000):
        assert service.call(rpc, page=value).pagination.page == value
    for value in (0, -1, 100_001, 2**31 - 1, -(2**31)):
        call = service.refuse(rpc, page=value)
        assert call.code is grpc.StatusCode.INVALID_ARGUMENT
        assert call.violations.keys() == {"page"}, value


@pytest.mark.parametrize("rpc", LISTS)
def test_a_limit_is_at_least_1_and_more_than_100_means_100(service: GoodRequests, rpc: str) -> None:
    for value, applied in {1: 1, 99: 99, 100: 100, 101: 100, 2**31 - 1: 100}.items():
        assert service.call(rpc, limit=value).pagination.limit == applied
    for value in (0, -1, -(2**31)):
        assert service.refuse(rpc, limit=value).violations.keys() == {"limit"}, value


def test_a_bad_limit_and_a_bad_token_are_told_together(service: GoodRequests) -> None:
    call = service.refuse("ListTemplates", limit=0, page=1, page_token="garbage")  # noqa: S106

    assert call.violations.keys() == {"limit", "page", "page_token"}


# --- Time ---

BAD_DATES = [
    "",
    " ",
    "today",
    "2026-02-29",
    "2026-13-01",
    "2026-00-10",
    "2026-03-32",
    "0000-01-01",
    "10000-01-01",
    "-001-01-01",
    "20260326",
    "2026-3-26",
    "2026-W13-4",
    "2026-085",
    "26/03/2026",
    "2026-03-26 ",
    "2026-03-26\n",
    "2026-03-26\0",
    "\u0662\u0660\u0662\u0666-03-26",
    "x" * 100_000,
]


@pytest.mark.parametrize(
    ("rpc", "field"),
    [
        ("CreateAssignment", "start_date"),
        ("UpdateAssignment", "start_date"),
        ("ListOverdueAssignments", "started_before"),
        ("ListOverdueAssignments", "cutoff_date"),
        ("ListOverdueAssignments", "updated_after"),
        ("ListAssignments", "updated_after"),
        ("ListContacts", "contacted_from"),
        ("ListContacts", "contacted_before"),
    ],
)
def test_a_date_is_a_day_of_the_calendar_in_four_two_and_two_digits(
    service: GoodRequests, rpc: str, field: str
) -> None:
    for value in ("0001-01-01", "2024-02-29", "9999-12-31"):
        service.call(rpc, **{field: value})
    for value in BAD_DATES:
        call = service.refuse(rpc, **{field: value})
        assert call.violations.keys() == {field}, ascii(value[:30])


@pytest.mark.parametrize(
    ("rpc", "field"),
    [
        ("CreateAssignment", "start_date"),
        ("UpdateAssignment", "start_date"),
        ("ListOverdueAssignments", "started_before"),
    ],
)
def test_a_day_is_no_instant(service: GoodRequests, rpc: str, field: str) -> None:
    call = service.refuse(rpc, **{field: "2026-03-26T00:00:00Z"})

    assert call.violations.keys() == {field}


def test_what_is_no_rfc_3339_instant_is_no_cutoff(service: GoodRequests) -> None:
    for value in (
        "2026-03-26T10:00:00",
        "2026-03-26T10:00Z",
        "2026-03-26T10Z",
        "2026-03-26T100000Z",
        "2026-03-26T10:00:00+0100",
        "2026-03-26T10:00:00+01",
        "2026-03-26T10:00:00,5Z",
        "2026-03-26T10:00:00.Z",
        "2026-03-26T24:00:00Z",
        "2026-03-26T10:60:00Z",
        "2026-02-29T10:00:00Z",
        "2026-03-26T10:00:00+24:00",
        "2026-03-26_10:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "1774519200",
    ):
        both = dict.fromkeys(("cutoff_date", "updated_after"), value)
        call = service.refuse("ListOverdueAssignments", **both)
        assert call.violations.keys() == both.keys(), value


YEAR_1 = -62_135_596_800
YEAR_10000 = 253_402_300_800
BAD_INSTANTS = [
    Timestamp(seconds=YEAR_1 - 1),
    Timestamp(seconds=YEAR_10000),
    Timestamp(seconds=2**63 - 1),
    Timestamp(seconds=-(2**63)),
    Timestamp(nanos=-1),
    Timestamp(nanos=1_000_000_000),
    Timestamp(nanos=2**31 - 1),
    Timestamp(seconds=YEAR_1, nanos=-1),
]


@pytest.mark.parametrize(
    ("rpc", "field"),
    [
        ("UpdateAssignment", "reminder_sent_at"),
        ("UpdateAssignment", "escalation_sent_at"),
        ("UpdateLastContact", "contact_date"),
    ],
)
def test_an_instant_lies_in_the_years_1_to_9999(
    service: GoodRequests, rpc: str, field: str
) -> None:
    for value in BAD_INSTANTS:
        assert service.refuse(rpc, **{field: value}).violations.keys() == {field}, value

    first = Timestamp(seconds=YEAR_1)
    service.call(rpc, **{field: first})
    stored = service.call("GetAssignment")
    assert first in (stored.reminder_sent_at, stored.escalation_sent_at, stored.last_contact_date)


@pytest.mark.parametrize("field", ["reminder_sent_at", "escalation_sent_at"])
def test_the_last_instant_is_kept_to_the_microsecond(service: GoodRequests, field: str) -> None:
    last = Timestamp(seconds=YEAR_10000 - 1, nanos=999_999_999)

    answer = service.call("UpdateAssignment", **{field: last})

    assert getattr(answer, field) == Timestamp(seconds=YEAR_10000 - 1, nanos=999_999_000)
