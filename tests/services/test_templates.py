"""TemplateService, as its callers see it: every RPC over a real channel."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import update

from peermentor.v1.assignments_pb2 import ListAssignmentsRequest
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import (
    CreateTemplateRequest,
    DeleteTemplateRequest,
    DeleteTemplateResponse,
    GetTemplateRequest,
    ListTemplatesByCoordinatorRequest,
    ListTemplatesByOrganizationRequest,
    ListTemplatesRequest,
    ListTemplatesResponse,
    RecurringTemplate,
    UpdateTemplateRequest,
)
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server.rules import texts
from peermentor_server.storage import tables
from peermentor_server.storage.engine.database import Database
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import (
    NEW_TEMPLATE,
    contents,
    instant,
    new_assignment,
    new_template,
    refused,
)


def get(templates: TemplateServiceStub, template_id: str) -> RecurringTemplate:
    return templates.GetTemplate(GetTemplateRequest(id=template_id))


def update_template(
    templates: TemplateServiceStub, template_id: str, **fields: Any
) -> RecurringTemplate:
    return templates.UpdateTemplate(UpdateTemplateRequest(id=template_id, **fields))


def delete(templates: TemplateServiceStub, template_id: str) -> DeleteTemplateResponse:
    return templates.DeleteTemplate(DeleteTemplateRequest(id=template_id))


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
        created_at=instant("2026-03-26T10:00:00Z"),
        updated_at=instant("2026-03-26T10:00:00Z"),
    )


def test_what_is_created_is_what_is_got_and_listed(templates: TemplateServiceStub) -> None:
    created = new_template(templates)

    assert get(templates, created.id) == created
    assert list(templates.ListTemplates(ListTemplatesRequest()).data) == [created]


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


def test_what_the_server_stamps_is_in_whole_seconds(
    templates: TemplateServiceStub, clock: SettableClock
) -> None:
    clock.set(CONTRACT_DAY.replace(microsecond=999_999))
    created = new_template(templates)
    clock.advance(seconds=60)
    changed = update_template(templates, created.id, is_active=False)

    assert changed.created_at == instant("2026-03-26T10:00:00Z")
    assert changed.updated_at == instant("2026-03-26T10:01:00Z")


# --- UpdateTemplate ---


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("coordinator_id", "coord-205"),
        ("organization_id", "org-45"),
        ("name", "Monthly Review"),
        ("activity_type", "review"),
        ("recurrence_rule", "FREQ=MONTHLY;BYDAY=1MO"),
        ("duration_minutes", 120),
        ("mentor_ids", ["mentor-1"]),
        ("notes_template", "Bring the list"),
        ("is_active", False),
    ],
)
def test_an_update_changes_the_field_it_names_and_leaves_the_rest(
    templates: TemplateServiceStub, clock: SettableClock, field: str, value: Any
) -> None:
    before = new_template(templates)
    clock.advance(minutes=90)

    after = update_template(templates, before.id, **{field: value})

    expected = RecurringTemplate()
    expected.CopyFrom(before)
    expected.ClearField(field)  # type: ignore[arg-type]
    change: dict[str, Any] = {field: value, "updated_at": instant("2026-03-26T11:30:00Z")}
    expected.MergeFrom(RecurringTemplate(**change))
    assert after == expected
    assert get(templates, before.id) == expected


def test_an_update_changes_all_the_fields_it_names(templates: TemplateServiceStub) -> None:
    created = new_template(templates)

    changed = update_template(
        templates,
        created.id,
        name="Bi-weekly Workshop (Updated)",
        duration_minutes=120,
        mentor_ids=["mentor-482", "mentor-521"],
        is_active=False,
    )

    assert changed.name == "Bi-weekly Workshop (Updated)"
    assert changed.duration_minutes == 120
    assert list(changed.mentor_ids) == ["mentor-482", "mentor-521"]
    assert changed.is_active is False


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


def test_an_update_leaves_other_templates_as_they_are(templates: TemplateServiceStub) -> None:
    created, other = new_template(templates), new_template(templates)

    update_template(templates, created.id, name="Monthly Review")

    assert get(templates, other.id) == other


def test_empty_notes_clear_them(templates: TemplateServiceStub) -> None:
    created = new_template(templates)

    assert update_template(templates, created.id, notes_template="").notes_template == ""


def test_an_empty_list_of_mentors_counts_as_absent(templates: TemplateServiceStub) -> None:
    created = new_template(templates)

    changed = update_template(templates, created.id, mentor_ids=[], name="Monthly Review")
    assert list(changed.mentor_ids) == NEW_TEMPLATE["mentor_ids"]

    request = UpdateTemplateRequest(id=created.id, mentor_ids=[])
    assert refused(templates.UpdateTemplate, request).violations.keys() == {"update_mask"}


@pytest.mark.parametrize("field", ["mentor_ids", "notes_template"])
def test_a_field_that_the_mask_names_without_a_value_is_cleared(
    templates: TemplateServiceStub, field: str
) -> None:
    before = new_template(templates)

    after = update_template(templates, before.id, update_mask=FieldMask(paths=[field]))

    before.ClearField(field)  # type: ignore[arg-type]
    assert after == before


@pytest.mark.parametrize(
    "field",
    [
        "coordinator_id",
        "organization_id",
        "name",
        "activity_type",
        "recurrence_rule",
        "duration_minutes",
        "is_active",
    ],
)
def test_a_field_that_cannot_be_empty_is_not_cleared_by_the_mask(
    templates: TemplateServiceStub, field: str
) -> None:
    created = new_template(templates)
    request = UpdateTemplateRequest(id=created.id, update_mask=FieldMask(paths=[field]))

    call = refused(templates.UpdateTemplate, request)

    assert call.violations.keys() == {field}
    assert get(templates, created.id) == created


def test_false_named_by_the_mask_is_a_value(templates: TemplateServiceStub) -> None:
    created = new_template(templates)

    changed = update_template(
        templates, created.id, is_active=False, update_mask=FieldMask(paths=["is_active"])
    )

    assert changed.is_active is False


def test_a_value_that_the_mask_does_not_name_is_ignored_even_a_bad_one(
    templates: TemplateServiceStub,
) -> None:
    created = new_template(templates)

    changed = update_template(
        templates,
        created.id,
        name="Monthly Review",
        duration_minutes=-1,
        mentor_ids=["no good"],
        update_mask=FieldMask(paths=["name"]),
    )

    assert changed.name == "Monthly Review"
    assert changed.duration_minutes == created.duration_minutes
    assert changed.mentor_ids == created.mentor_ids


@pytest.mark.parametrize("mask", [None, FieldMask()])
def test_an_update_that_names_nothing_is_refused(
    templates: TemplateServiceStub, mask: FieldMask | None
) -> None:
    created = new_template(templates)

    request = UpdateTemplateRequest(id=created.id, update_mask=mask)
    call = refused(templates.UpdateTemplate, request)

    assert call.code is grpc.StatusCode.INVALID_ARGUMENT
    assert call.violations.keys() == {"update_mask"}


def test_a_mask_that_names_anything_else_is_refused(templates: TemplateServiceStub) -> None:
    created = new_template(templates)

    for path in ("nonsense", "", "*", "mentorIds", "mentor_ids[0]", "id", "created_at"):
        request = UpdateTemplateRequest(
            id=created.id, name="x", update_mask=FieldMask(paths=["name", path])
        )
        assert refused(templates.UpdateTemplate, request).violations.keys() == {"update_mask"}

    assert get(templates, created.id) == created


# --- DeleteTemplate ---


def test_a_deleted_template_is_gone(templates: TemplateServiceStub) -> None:
    created, other = new_template(templates), new_template(templates)

    answer = delete(templates, created.id)

    assert answer == DeleteTemplateResponse(success=True, deleted_id="rt-001")
    assert ids(templates.ListTemplates(ListTemplatesRequest())) == [other.id]
    for call in (
        refused(templates.GetTemplate, GetTemplateRequest(id="rt-001")),
        refused(templates.DeleteTemplate, DeleteTemplateRequest(id="rt-001")),
    ):
        assert call.code is grpc.StatusCode.NOT_FOUND


def test_ids_of_deleted_templates_are_never_used_again(templates: TemplateServiceStub) -> None:
    for template_id in [new_template(templates).id for _ in range(3)]:
        delete(templates, template_id)

    assert new_template(templates).id == "rt-004"


# --- Ids ---


@pytest.mark.parametrize(
    ("key", "template_id"),
    [(1, "rt-001"), (999, "rt-999"), (1000, "rt-1000"), (2**63 - 1, f"rt-{2**63 - 1}")],
)
def test_ids_have_three_digits_and_more_where_three_do_not_suffice(
    templates: TemplateServiceStub, database: Database, key: int, template_id: str
) -> None:
    new_template(templates)
    with database.write() as connection:
        connection.execute(update(tables.templates).values(id=key))

    assert ids(templates.ListTemplates(ListTemplatesRequest())) == [template_id]
    assert get(templates, template_id).id == template_id
    assert update_template(templates, template_id, is_active=False).id == template_id
    assert delete(templates, template_id).deleted_id == template_id


NOT_IDS = [
    "rt-002",
    "rt-1",
    "rt-0001",
    "rt-000",
    "rt--01",
    "RT-001",
    "rt_001",
    "asgn_001",
    "001",
    "rt-001\n",
    "rt-001\0",
    "\0",
    "rt-\u0660\u0660\u0661",
    "rt-" + "9" * 30,
    f"rt-{2**63}",
    "",
    "by-coordinator",
]


def test_whatever_is_not_the_id_of_a_template_is_not_found(
    templates: TemplateServiceStub, database: Database
) -> None:
    new_template(templates)
    before = contents(database)

    for template_id in NOT_IDS:
        calls: list[tuple[Callable[[Any], object], object]] = [
            (templates.GetTemplate, GetTemplateRequest(id=template_id)),
            (templates.UpdateTemplate, UpdateTemplateRequest(id=template_id, name="x")),
            (templates.DeleteTemplate, DeleteTemplateRequest(id=template_id)),
        ]
        for method, request in calls:
            call = refused(method, request)
            assert call.code is grpc.StatusCode.NOT_FOUND, ascii(template_id)
            assert (call.reason, call.domain) == ("TEMPLATE_NOT_FOUND", "peermentor")
            assert call.message == f"there is no template {texts.shown_id(template_id)}"

    assert contents(database) == before


# --- The three lists ---


def test_all_templates_are_listed_active_or_not(templates: TemplateServiceStub) -> None:
    new_template(templates, is_active=False, coordinator_id="coord-205")
    new_template(templates, organization_id="org-45")

    answer = templates.ListTemplates(ListTemplatesRequest())

    assert ids(answer) == ["rt-001", "rt-002"]
    assert answer.pagination.total == 2


def test_a_coordinator_has_exactly_their_templates(templates: TemplateServiceStub) -> None:
    for coordinator_id in ("c-1", "c-2", "c-1", "C-1", "c%1", "c_1"):
        new_template(templates, coordinator_id=coordinator_id, is_active=False)

    def of(coordinator_id: str) -> ListTemplatesResponse:
        request = ListTemplatesByCoordinatorRequest(coordinator_id=coordinator_id)
        return templates.ListTemplatesByCoordinator(request)

    assert ids(of("c-1")) == ["rt-001", "rt-003"]
    assert of("c-1").pagination.total == 2
    assert list(of("c-1").data) == [get(templates, "rt-001"), get(templates, "rt-003")]
    assert ids(of("c_1")) == ["rt-006"]
    assert ids(of("nobody")) == []


def test_an_organization_has_exactly_its_templates(templates: TemplateServiceStub) -> None:
    for organization_id in ("o-1", "o-2", "o-1", "O-1", "o%1", "o_1"):
        new_template(templates, organization_id=organization_id, is_active=False)

    def of(organization_id: str) -> ListTemplatesResponse:
        request = ListTemplatesByOrganizationRequest(organization_id=organization_id)
        return templates.ListTemplatesByOrganization(request)

    assert ids(of("o-1")) == ["rt-001", "rt-003"]
    assert of("o-1").pagination.total == 2
    assert list(of("o-1").data) == [get(templates, "rt-001"), get(templates, "rt-003")]
    assert ids(of("o_1")) == ["rt-006"]
    assert ids(of("nobody")) == []


def test_the_coordinator_or_organization_of_a_list_has_to_be_named(
    templates: TemplateServiceStub,
) -> None:
    by_coordinator = refused(
        templates.ListTemplatesByCoordinator, ListTemplatesByCoordinatorRequest()
    )
    by_organization = refused(
        templates.ListTemplatesByOrganization, ListTemplatesByOrganizationRequest()
    )

    assert by_coordinator.violations.keys() == {"coordinator_id"}
    assert by_organization.violations.keys() == {"organization_id"}


Lister = Callable[..., ListTemplatesResponse]


@pytest.fixture(params=["all", "by coordinator", "by organization"])
def pages(request: pytest.FixtureRequest, templates: TemplateServiceStub) -> Lister:
    """List what NEW_TEMPLATE makes, in one of the three ways."""
    if request.param == "all":
        return lambda **fields: templates.ListTemplates(ListTemplatesRequest(**fields))
    if request.param == "by coordinator":
        return lambda **fields: templates.ListTemplatesByCoordinator(
            ListTemplatesByCoordinatorRequest(**{"coordinator_id": "coord-119", **fields})
        )
    return lambda **fields: templates.ListTemplatesByOrganization(
        ListTemplatesByOrganizationRequest(**{"organization_id": "org-44", **fields})
    )


def test_an_empty_list_has_one_empty_page(pages: Lister) -> None:
    answer = pages()

    assert ids(answer) == []
    assert (answer.pagination.page, answer.pagination.limit, answer.pagination.total) == (1, 20, 0)
    assert answer.next_page_token == ""


def test_a_page_has_twenty_by_default_and_a_hundred_at_most(
    pages: Lister, templates: TemplateServiceStub
) -> None:
    for _ in range(101):
        new_template(templates)

    first = pages()
    assert len(first.data) == 20
    assert (first.pagination.page, first.pagination.limit, first.pagination.total) == (1, 20, 101)
    largest = pages(limit=101)
    assert len(largest.data) == 100
    assert (largest.pagination.limit, largest.pagination.total) == (100, 101)
    assert ids(pages(page_token=largest.next_page_token, limit=1000)) == ["rt-101"]
    assert ids(pages(page=6)) == ["rt-101"]


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


def test_a_page_past_the_end_is_empty_and_still_counts(
    pages: Lister, templates: TemplateServiceStub
) -> None:
    for _ in range(3):
        new_template(templates)

    for page in (3, 100_000):
        answer = pages(page=page, limit=2)
        assert ids(answer) == []
        assert (answer.pagination.page, answer.pagination.total) == (page, 3)
        assert answer.next_page_token == ""


def test_tokens_walk_through_all_pages_while_others_insert_and_delete(
    pages: Lister, templates: TemplateServiceStub
) -> None:
    for _ in range(7):
        new_template(templates)

    first = pages(limit=2)
    delete(templates, "rt-002")
    delete(templates, "rt-005")
    second = pages(limit=2, page_token=first.next_page_token)
    new_template(templates)
    third = pages(limit=2, page_token=second.next_page_token)
    fourth = pages(limit=2, page_token=third.next_page_token)

    assert [ids(page) for page in (first, second, third, fourth)] == [
        ["rt-001", "rt-002"],
        ["rt-003", "rt-004"],
        ["rt-006", "rt-007"],
        ["rt-008"],
    ]
    assert [page.pagination.page for page in (first, second, third, fourth)] == [1, 2, 3, 4]
    # Counted once, for the first of them.
    assert [page.pagination.total for page in (first, second, third, fourth)] == [7, 7, 7, 7]
    assert fourth.next_page_token == ""


def test_a_token_is_refused_by_every_other_list(
    templates: TemplateServiceStub, assignments: AssignmentServiceStub
) -> None:
    for _ in range(2):
        new_template(templates, coordinator_id="same", organization_id="same")
        new_template(templates, coordinator_id="other")
        new_assignment(assignments, coordinator_id="same")
    requests: list[tuple[Callable[[Any], Any], Callable[..., object]]] = [
        (templates.ListTemplates, ListTemplatesRequest),
        (
            templates.ListTemplatesByCoordinator,
            lambda **fields: ListTemplatesByCoordinatorRequest(coordinator_id="same", **fields),
        ),
        (
            templates.ListTemplatesByCoordinator,
            lambda **fields: ListTemplatesByCoordinatorRequest(coordinator_id="other", **fields),
        ),
        (
            templates.ListTemplatesByOrganization,
            lambda **fields: ListTemplatesByOrganizationRequest(organization_id="same", **fields),
        ),
        (
            assignments.ListAssignments,
            lambda **fields: ListAssignmentsRequest(coordinator_id="same", **fields),
        ),
    ]

    for own, (method, request) in enumerate(requests):
        token = method(request(limit=1)).next_page_token
        assert len(method(request(page_token=token)).data) >= 1
        for other, (other_method, other_request) in enumerate(requests):
            if other != own:
                call = refused(other_method, other_request(page_token=token))
                assert call.violations.keys() == {"page_token"}, (own, other)


def test_a_token_and_a_page_do_not_go_together(
    pages: Lister, templates: TemplateServiceStub
) -> None:
    for _ in range(2):
        new_template(templates)
    token = pages(limit=1).next_page_token

    call = refused(lambda page: pages(page=page, page_token=token), 2)

    assert call.violations.keys() == {"page"}
