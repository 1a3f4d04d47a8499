"""What assignments and templates have in common: creating, changing and deleting them."""

from typing import Any

import grpc
import pytest

from support.clock import CONTRACT_DAY, SettableClock
from support.factories import instant
from support.resources import KINDS, Resource


def test_what_is_created_is_what_is_got_and_listed(resource: Resource) -> None:
    created = resource.create()

    assert resource.get(1) == created
    assert list(resource.rpcs.call(resource.rpc("List") + "s").data) == [created]


def test_what_the_server_stamps_is_in_whole_seconds(
    resource: Resource, clock: SettableClock
) -> None:
    clock.set(CONTRACT_DAY.replace(microsecond=999_999))
    resource.create()
    clock.advance(seconds=60)

    for rpc, fields in resource.kind.updates:
        changed = resource.rpcs.call(rpc, **resource.named(resource.id(1)), **fields)
        assert changed.created_at == instant("2026-03-26T10:00:00Z")
        assert changed.updated_at == instant("2026-03-26T10:01:00Z")


# --- Updates ---

CHANGES = [(kind, field, value) for kind in KINDS for field, value in kind.changes]


def changed(before: Any, fields: dict[str, Any]) -> Any:
    """Return a resource with some fields as they are after a change."""
    expected = type(before)()
    expected.CopyFrom(before)
    for field in fields:
        expected.ClearField(field)
    expected.MergeFrom(type(before)(**fields))
    return expected


@pytest.mark.parametrize(("resource", "field", "value"), CHANGES, indirect=["resource"])
def test_an_update_changes_the_field_it_names_and_leaves_the_rest(
    resource: Resource, clock: SettableClock, field: str, value: Any
) -> None:
    before = resource.create(**resource.kind.optional, **resource.kind.variants[-1])
    clock.advance(minutes=5)

    after = resource.update(1, **{field: value})

    assert getattr(before, field) != value
    assert after.etag != before.etag
    stamp = {"updated_at": instant("2026-03-26T10:05:00Z"), "etag": after.etag}
    assert after == changed(before, {field: value} | stamp)
    assert resource.get(1) == after


def test_an_update_changes_all_the_fields_it_names(resource: Resource) -> None:
    before = resource.create(**resource.kind.optional, **resource.kind.variants[-1])
    changes = dict(resource.kind.changes)

    after = resource.update(1, **changes)
    assert after == changed(before, changes | {"etag": after.etag})


def test_an_update_leaves_others_as_they_are(resource: Resource) -> None:
    _, other = resource.fill(2)

    resource.update(1, coordinator_id="another")

    assert resource.get(2) == other


# --- Deletion ---


def test_what_is_deleted_is_gone(resource: Resource) -> None:
    resource.fill(2)

    assert resource.delete(1) == resource.kind.deleted(resource.id(1))

    assert resource.listed() == [2]
    for verb in ("Get", "Delete"):
        call = resource.rpcs.refuse(resource.rpc(verb), **resource.named(resource.id(1)))
        assert call.code is grpc.StatusCode.NOT_FOUND


def test_ids_of_what_is_deleted_are_never_used_again(resource: Resource) -> None:
    for made in resource.fill(3):
        resource.delete(resource.number(made))

    assert resource.number(resource.create()) == 4
