"""The masks of updates: which fields are changed, cleared, ignored, or refused."""

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from support.resources import KINDS, Resource

CLEARABLE = [(kind, field) for kind in KINDS for field in kind.clearable]
REQUIRED = [(kind, field) for kind in KINDS for field in kind.required]


def mask(*paths: str) -> FieldMask:
    return FieldMask(paths=paths)


@pytest.mark.parametrize("update_mask", [None, FieldMask()])
def test_an_update_that_names_nothing_is_refused(
    resource: Resource, update_mask: FieldMask | None
) -> None:
    resource.create()

    call = resource.refuse_update(1, update_mask=update_mask)

    assert call.code is grpc.StatusCode.INVALID_ARGUMENT
    assert call.violations.keys() == {"update_mask"}


def test_an_empty_mask_changes_every_field_with_a_value(resource: Resource) -> None:
    resource.create()
    changes = dict(resource.kind.changes)

    changed = resource.update(1, **changes, update_mask=mask())

    assert {field: getattr(changed, field) for field in changes} == changes


def test_a_value_that_the_mask_does_not_name_is_ignored_even_a_bad_one(resource: Resource) -> None:
    expected = resource.create()
    expected.coordinator_id = "another"
    others = dict(resource.kind.changes) | resource.kind.bad

    changed = resource.update(
        1, **others | {"coordinator_id": "another"}, update_mask=mask("coordinator_id")
    )

    expected.etag = changed.etag
    assert changed == expected


def test_a_field_named_twice_by_the_mask_is_changed_once(resource: Resource) -> None:
    resource.create()
    twice = mask("coordinator_id", "coordinator_id")

    assert resource.update(1, coordinator_id="x", update_mask=twice).coordinator_id == "x"


def test_a_mask_that_names_a_field_again_and_again_is_one_violation(resource: Resource) -> None:
    """Each repeat would cost a check, and a violation in an answer that outgrows its limit."""
    resource.create()

    for field in ("coordinator_id", "nothing"):
        again = mask(*[field] * 5_000)
        call = resource.refuse_update(1, coordinator_id="", update_mask=again)
        assert call.violations.keys() == {"update_mask" if field == "nothing" else field}


@pytest.mark.parametrize(("resource", "field"), CLEARABLE, indirect=["resource"])
def test_a_field_that_the_mask_names_without_a_value_is_cleared(
    resource: Resource, field: str
) -> None:
    resource.create()
    before = resource.update(1, **dict(resource.kind.changes))

    after = resource.update(1, update_mask=mask(field))

    assert after != before
    before.ClearField(field)
    before.etag = after.etag
    assert after == before


@pytest.mark.parametrize(("resource", "field"), REQUIRED, indirect=["resource"])
def test_a_field_that_cannot_be_empty_is_not_cleared_by_the_mask(
    resource: Resource, field: str
) -> None:
    created = resource.create()

    call = resource.refuse_update(1, update_mask=mask(field))

    assert call.violations.keys() == {field}
    assert resource.get(1) == created


@pytest.mark.parametrize(
    "path",
    [
        "nonsense",
        "",
        "*",
        "orgId",
        "org_id.x",
        "mentorIds",
        "mentor_ids[0]",
        "assignment_id",
        "mentee_id",
        "update_mask",
        "last_contact_date",
        "created_at",
        "id",
        "status\0",
    ],
)
def test_a_mask_that_names_anything_else_is_refused(resource: Resource, path: str) -> None:
    created = resource.create()

    call = resource.refuse_update(
        1, coordinator_id="another", update_mask=mask("coordinator_id", path)
    )

    assert call.violations.keys() == {"update_mask"}
    assert resource.get(1) == created


def test_all_that_is_wrong_behind_a_mask_is_told_at_once(resource: Resource) -> None:
    resource.create()
    other = resource.kind.required[-1]
    assert other != "coordinator_id"

    call = resource.refuse_update(
        1, coordinator_id="no good", update_mask=mask("coordinator_id", other, "nonsense")
    )

    assert call.violations.keys() == {"coordinator_id", other, "update_mask"}
