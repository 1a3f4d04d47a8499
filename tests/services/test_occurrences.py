"""ListOccurrences: when a template recurs, by the clocks of its time zone."""

from typing import Any

import grpc
import pytest

from peermentor.v1.templates_pb2 import ListOccurrencesRequest
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import instant, new_template, refused


def local_times(templates: TemplateServiceStub, **fields: Any) -> list[str]:
    request = ListOccurrencesRequest(**{"id": "rt-001"} | fields)
    return [each.local_time for each in templates.ListOccurrences(request).data]


def days(templates: TemplateServiceStub, **fields: Any) -> list[str]:
    return [each[:10] for each in local_times(templates, **fields)]


def test_an_occurrence_is_a_local_time_and_an_instant(templates: TemplateServiceStub) -> None:
    rule = "FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=30"
    new_template(templates, recurrence_rule=rule, time_zone="Europe/Oslo", starts_on="2026-03-23")

    found = templates.ListOccurrences(ListOccurrencesRequest(id="rt-001", limit=2)).data

    assert [each.local_time for each in found] == [
        "2026-03-30T09:30:00+02:00",
        "2026-04-06T09:30:00+02:00",
    ]
    assert [each.starts_at for each in found] == [
        instant("2026-03-30T07:30:00Z"),
        instant("2026-04-06T07:30:00Z"),
    ]


def test_without_a_time_of_day_it_is_midnight_there(templates: TemplateServiceStub) -> None:
    new_template(templates, recurrence_rule="FREQ=DAILY", time_zone="America/St_Johns")

    assert local_times(templates, limit=1) == ["2026-03-26T00:00:00-02:30"]


def test_a_skipped_time_comes_later_and_of_a_repeated_one_the_first_is_meant(
    templates: TemplateServiceStub,
) -> None:
    new_template(
        templates, recurrence_rule="FREQ=DAILY;BYHOUR=2;BYMINUTE=30", time_zone="Europe/Oslo"
    )

    assert local_times(templates, from_date="2026-03-28", limit=3) == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:30:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    assert local_times(templates, from_date="2026-10-25", limit=2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_times_that_become_the_same_are_one_and_all_are_in_order(
    templates: TemplateServiceStub,
) -> None:
    rule = "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=15,45;COUNT=6"
    new_template(templates, recurrence_rule=rule, time_zone="Europe/Oslo", starts_on="2026-03-29")

    assert local_times(templates) == [
        "2026-03-29T03:15:00+02:00",
        "2026-03-29T03:45:00+02:00",
        "2026-03-30T02:15:00+02:00",
        "2026-03-30T02:45:00+02:00",
    ]


def test_interval_and_count_begin_with_the_start(templates: TemplateServiceStub) -> None:
    new_template(
        templates, recurrence_rule="FREQ=DAILY;INTERVAL=3;COUNT=20", starts_on="2026-02-01"
    )

    expected = ["2026-03-27", "2026-03-30"]
    assert days(templates) == expected
    assert days(templates, from_date="2026-03-27", until_date="2026-03-29") == expected[:1]
    assert days(templates, from_date="2026-03-28", until_date="2026-03-30") == expected[1:]
    assert days(templates, from_date="2000-01-01", limit=1) == ["2026-02-01"]
    assert days(templates, from_date="2026-04-01") == []


def test_excluded_dates_count_and_do_not_take_place(templates: TemplateServiceStub) -> None:
    new_template(
        templates,
        recurrence_rule="FREQ=DAILY;COUNT=4",
        excluded_dates=["2026-03-27", "2026-03-29"],
    )

    assert days(templates) == ["2026-03-26", "2026-03-28"]


@pytest.mark.parametrize(
    ("until", "last"), [("20260328", "2026-03-28"), ("20260328T130000Z", "2026-03-29")]
)
def test_a_day_ends_a_rule_there_and_an_instant_everywhere(
    templates: TemplateServiceStub, until: str, last: str
) -> None:
    new_template(
        templates, recurrence_rule=f"FREQ=DAILY;UNTIL={until}", time_zone="Pacific/Auckland"
    )

    assert days(templates)[-1] == last


def test_the_first_day_is_by_default_today_there(
    templates: TemplateServiceStub, clock: SettableClock
) -> None:
    new_template(templates, recurrence_rule="FREQ=DAILY", time_zone="Pacific/Honolulu")
    clock.set(CONTRACT_DAY.replace(day=28, hour=9))

    assert days(templates, limit=1) == ["2026-03-27"]


def test_there_are_20_by_default_and_at_most_366(templates: TemplateServiceStub) -> None:
    new_template(templates, recurrence_rule="FREQ=DAILY", is_active=False)

    assert len(days(templates)) == 20
    assert len(days(templates, limit=366)) == len(days(templates, limit=100_000)) == 366


def test_what_never_comes_ends(templates: TemplateServiceStub) -> None:
    """In November it is accepted: another start would do."""
    rule = "FREQ=MONTHLY;INTERVAL=12;BYMONTH=1"
    new_template(templates, recurrence_rule=rule, starts_on="2026-02-01")

    for fields in ({}, {"until_date": "9999-12-31"}, {"from_date": "9999-12-31"}):
        assert days(templates, **fields) == []


def test_what_is_wrong_is_named(templates: TemplateServiceStub) -> None:
    new_template(templates)
    for fields, violations in (
        ({"from_date": "tomorrow", "until_date": "", "limit": 0}, "from_date until_date limit"),
        ({"from_date": "2026-03-27", "until_date": "2026-03-26"}, "until_date"),
        ({"from_date": "2026-03-26T10:00:00Z"}, "from_date"),
    ):
        call = refused(templates.ListOccurrences, ListOccurrencesRequest(id="rt-001", **fields))
        assert call.code is grpc.StatusCode.INVALID_ARGUMENT
        assert call.violations.keys() == set(violations.split())
    for template_id in ("rt-002", "nonsense"):
        call = refused(templates.ListOccurrences, ListOccurrencesRequest(id=template_id))
        assert (call.code, call.reason) == (grpc.StatusCode.NOT_FOUND, "TEMPLATE_NOT_FOUND")
