"""TemplateService, as its callers see it: what only templates have."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import update

from peermentor.v1.templates_pb2 import (
    CreateTemplateRequest,
    GetTemplateRequest,
    ListTemplatesRequest,
    ListTemplatesResponse,
    RecurringTemplate,
    UpdateTemplateRequest,
)
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server.storage import tables
from peermentor_server.storage.engine.database import Database
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import NEW_TEMPLATE, instant, new_template, refused
from support.resources import LISTS, TEMPLATE, Pages


def get(templates: TemplateServiceStub, template_id: str) -> RecurringTemplate:
    return templates.GetTemplate(GetTemplateRequest(id=template_id))


def update_template(
    templates: TemplateServiceStub, template_id: str, **fields: Any
) -> RecurringTemplate:
    return templates.UpdateTemplate(UpdateTemplateRequest(id=template_id, **fields))


def ids(response: ListTemplatesResponse) -> list[str]:
    return [each.id for each in response.data]


# --- CreateTemplate ---


def test_a_new_template_is_as_told_and_active(templates: TemplateServiceStub) -> None:
    created = templates.CreateTemplate(CreateTemplateRequest(**NEW_TEMPLATE))

    assert created == RecurringTemplate(
        id="rt-001",
        coordinator_id="coord-119",
        organization_id="org-44",
        name="Bi-weekly Workshop",
        activity_type="workshop",
        recurrence_rule="RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=WE",
        duration_minutes=90,
        mentor_ids=["mentor-482", "mentor-521", "mentor-533"],
        notes_template="Bi-weekly skills workshop",
        is_active=True,
        starts_on="2026-03-26",
        time_zone="UTC",
        created_at=instant("2026-03-26T10:00:00Z"),
        updated_at=instant("2026-03-26T10:00:00Z"),
        etag='"1"',
    )


def test_mentors_and_notes_need_not_be_told_and_active_is_the_default(
    templates: TemplateServiceStub,
) -> None:
    request = CreateTemplateRequest(**NEW_TEMPLATE)
    for field in ("mentor_ids", "notes_template", "is_active"):
        request.ClearField(field)

    created = templates.CreateTemplate(request)

    assert list(created.mentor_ids) == []
    assert created.notes_template == ""
    assert created.is_active is True


def test_a_template_may_begin_inactive(templates: TemplateServiceStub) -> None:
    created = new_template(templates, is_active=False)

    assert get(templates, created.id).is_active is False


def test_a_template_starts_today_in_its_time_zone(
    templates: TemplateServiceStub, clock: SettableClock
) -> None:
    clock.set(CONTRACT_DAY.replace(hour=23))
    for zone, day in (("Europe/Oslo", "2026-03-27"), ("America/Sao_Paulo", "2026-03-26")):
        created = new_template(templates, time_zone=zone)
        assert (created.time_zone, created.starts_on) == (zone, day)
    told = new_template(templates, starts_on="2000-01-01", time_zone="Asia/Kathmandu")
    assert get(templates, told.id) == told
    assert told.starts_on == "2000-01-01"


def test_a_change_of_the_time_zone_leaves_the_start(templates: TemplateServiceStub) -> None:
    created = new_template(templates, starts_on="2026-03-27")

    changed = update_template(templates, created.id, time_zone="Pacific/Apia")
    assert (changed.starts_on, changed.time_zone) == ("2026-03-27", "Pacific/Apia")


def test_excluded_dates_keep_the_order_given(templates: TemplateServiceStub) -> None:
    days = ["2026-12-24", "2026-04-01", "9999-12-31"]
    created = new_template(templates, excluded_dates=days)

    assert list(get(templates, created.id).excluded_dates) == days
    changed = update_template(templates, created.id, excluded_dates=["2026-04-01"], name="x")
    assert list(changed.excluded_dates) == ["2026-04-01"]
    changed = update_template(
        templates, created.id, update_mask=FieldMask(paths=["excluded_dates"])
    )
    assert list(changed.excluded_dates) == []


def test_mentors_keep_the_order_given(templates: TemplateServiceStub) -> None:
    created = new_template(templates, mentor_ids=["m-3", "m-1", "m-2", "M-1"])

    assert list(get(templates, created.id).mentor_ids) == ["m-3", "m-1", "m-2", "M-1"]


@pytest.mark.parametrize(
    "rule", ["FREQ=DAILY", "RRULE:FREQ=DAILY", "rrule:freq=weekly;byday=mo", "BYDAY=MO;FREQ=WEEKLY"]
)
def test_a_rule_is_kept_exactly_as_given(templates: TemplateServiceStub, rule: str) -> None:
    created = new_template(templates, recurrence_rule=rule)

    assert created.recurrence_rule == rule
    assert update_template(templates, created.id, recurrence_rule=rule).recurrence_rule == rule


# --- UpdateTemplate ---


@pytest.mark.parametrize("mask", [[], ["name", "recurrence_rule"]])
def test_a_rule_that_is_over_may_come_back_unchanged(
    templates: TemplateServiceStub, clock: SettableClock, mask: list[str]
) -> None:
    created = new_template(templates, recurrence_rule="FREQ=DAILY;UNTIL=20260326T100005Z")
    clock.advance(seconds=10)
    fields = {name: getattr(created, name) for name in NEW_TEMPLATE}
    fields |= {"name": "Monthly Review", "update_mask": FieldMask(paths=mask)}

    changed = update_template(templates, created.id, **fields)

    assert changed.name == "Monthly Review"
    assert changed.recurrence_rule == created.recurrence_rule


def test_a_rule_from_a_time_when_less_was_refused_may_come_back_unchanged(
    templates: TemplateServiceStub, database: Database
) -> None:
    created, other = new_template(templates), new_template(templates)
    old = "FREQ=DAILY;BYHOUR=9;UNTIL=20271231"
    with database.write() as connection:
        row = tables.templates.c.id == 1
        connection.execute(update(tables.templates).where(row).values(recurrence_rule=old))

    changed = update_template(templates, created.id, name="Walk", recurrence_rule=old)

    assert (changed.name, changed.recurrence_rule) == ("Walk", old)
    for template_id, rule in [
        (created.id, old.lower()),
        (created.id, f"RRULE:{old}"),
        (other.id, old),
        ("rt-999", old),
        ("nonsense", old),
    ]:
        request = UpdateTemplateRequest(id=template_id, name="Run", recurrence_rule=rule)
        call = refused(templates.UpdateTemplate, request)
        assert call.violations.keys() == {"recurrence_rule"}
    assert get(templates, created.id).name == "Walk"


def test_empty_notes_clear_them(templates: TemplateServiceStub) -> None:
    created = new_template(templates)

    assert update_template(templates, created.id, notes_template="").notes_template == ""


def test_an_empty_list_of_mentors_counts_as_absent(templates: TemplateServiceStub) -> None:
    created = new_template(templates)

    changed = update_template(templates, created.id, mentor_ids=[], name="Monthly Review")
    assert list(changed.mentor_ids) == NEW_TEMPLATE["mentor_ids"]

    request = UpdateTemplateRequest(id=created.id, mentor_ids=[])
    assert refused(templates.UpdateTemplate, request).violations.keys() == {"update_mask"}


def test_false_named_by_the_mask_is_a_value(templates: TemplateServiceStub) -> None:
    created = new_template(templates)

    changed = update_template(
        templates, created.id, is_active=False, update_mask=FieldMask(paths=["is_active"])
    )

    assert changed.is_active is False


# --- The three lists ---

OF_ONE = [form for form in LISTS if form.needs]


def test_all_templates_are_listed_active_or_not(templates: TemplateServiceStub) -> None:
    new_template(templates, is_active=False, coordinator_id="coord-205")
    new_template(templates, organization_id="org-45")

    answer = templates.ListTemplates(ListTemplatesRequest())

    assert ids(answer) == ["rt-001", "rt-002"]
    assert answer.pagination.total == 2


@pytest.mark.parametrize("pages", OF_ONE, indirect=True)
def test_a_coordinator_or_an_organization_has_exactly_its_templates(pages: Pages) -> None:
    for value in ("x-1", "x-2", "x-1", "X-1", "x%1", "x_1"):
        pages.resource.create(**{pages.filter: value}, is_active=False)

    of_one = pages(**{pages.filter: "x-1"})
    assert list(of_one.data) == [pages.resource.get(1), pages.resource.get(3)]
    assert of_one.pagination.total == 2
    assert pages.numbers(**{pages.filter: "x_1"}) == [6]
    assert pages.numbers(**{pages.filter: "nobody"}) == []


@pytest.mark.parametrize("pages", [form for form in LISTS if form.kind is TEMPLATE], indirect=True)
def test_templates_are_listed_by_activity(pages: Pages) -> None:
    for activity_type in ("walk", "Walk", "walk", "wal%"):
        pages.resource.create(activity_type=activity_type)
    pages.resource.rpcs.call("UpdateTemplate", id="rt-003", is_active=False)

    assert pages.numbers(is_active=True) == [1, 2, 4]
    assert pages.numbers(is_active=False) == [3]
    assert pages.numbers(activity_type="walk") == [1, 3]
    assert pages.numbers(activity_type="wal%") == [4]
    assert pages.numbers(activity_type="walk", is_active=True) == [1]
    first = pages(is_active=True, limit=1)
    assert first.pagination.total == 3
    rest = {"page_token": first.next_page_token, "is_active": True}
    assert pages.numbers(**rest) == [2, 4]
    assert pages.refuse(**rest | {"is_active": False}).violations.keys() == {"page_token"}


@pytest.mark.parametrize("pages", OF_ONE, indirect=True)
def test_the_coordinator_or_the_organization_of_a_list_has_to_be_named(pages: Pages) -> None:
    assert pages.refuse(**{pages.filter: None}).violations.keys() == {pages.filter}


def test_the_largest_page_reaches_a_client_with_the_default_limit(
    templates: TemplateServiceStub,
) -> None:
    letter = "\N{GRINNING FACE}"
    for _ in range(100):
        new_template(
            templates,
            name=letter * 200,
            activity_type=letter * 64,
            notes_template=letter * 5_000,
            mentor_ids=[f"{number:03d}{'x' * 125}" for number in range(100)],
        )

    page = templates.ListTemplates(ListTemplatesRequest(limit=100))
    assert len(page.data) == 100
    assert page.ByteSize() < 4 * 1024 * 1024
