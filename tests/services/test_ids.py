"""Ids of assignments and of templates."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from peermentor_server.rules import texts
from peermentor_server.storage.engine.database import Database
from support.factories import contents
from support.resources import Resource


def about_one(resource: Resource) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return a good call of each RPC that takes an id, but for the id."""
    yield resource.rpc("Get"), {}
    yield from resource.kind.updates
    yield resource.rpc("Delete"), {}


@pytest.mark.parametrize(
    ("key", "digits"),
    [(1, "001"), (999, "999"), (1000, "1000"), (2**63 - 1, "9223372036854775807")],
)
def test_ids_have_three_digits_and_more_where_three_do_not_suffice(
    resource: Resource, database: Database, key: int, digits: str
) -> None:
    resource.create()
    resource.move(database, 1, key)
    given_id = resource.kind.id_prefix + digits
    named = resource.named(given_id)

    before = resource.get(key)
    assert resource.listed() == [key]
    assert getattr(before, resource.kind.id_field) == given_id
    for rpc, fields in resource.kind.updates:
        changed = resource.rpcs.call(rpc, **named, **fields)
        assert changed == resource.get(key) != before
        before = changed
    assert resource.delete(key) == resource.kind.deleted(given_id)


def not_ids(resource: Resource) -> list[str]:
    prefix = resource.kind.id_prefix
    word = prefix[:-1]
    return [
        f"{prefix}002",
        f"{prefix}1",
        f"{prefix}01",
        f"{prefix}0001",
        f"{prefix}000",
        f"{prefix}-01",
        f"{prefix}+01",
        f"{prefix} 01",
        f"{prefix}0x1",
        f"{prefix}1e0",
        f"{prefix.upper()}001",
        f"{prefix.capitalize()}001",
        f"{word}001",
        *(f"{other}001" for other in ("asgn-", "asgn_", "rt-", "rt_") if other != prefix),
        "001",
        "1",
        f" {prefix}001",
        f"{prefix}001 ",
        f"{prefix}001\n",
        f"{prefix}001\0",
        "\0",
        f"{prefix}\u0660\u0660\u0661",
        f"{prefix}\uff10\uff10\uff11",
        prefix + "9" * 30,
        f"{prefix}{2**63}",
        prefix,
        f"{prefix}001' OR '1'='1",
        "%",
        "by-coordinator",
        "x" * 100_000,
    ]


def test_whatever_is_no_id_is_not_found(resource: Resource, database: Database) -> None:
    resource.create()
    before = contents(database)
    noun = resource.kind.noun

    for given_id in not_ids(resource):
        for rpc, fields in about_one(resource):
            call = resource.rpcs.refuse(rpc, **resource.named(given_id), **fields)
            assert call.code is grpc.StatusCode.NOT_FOUND, (rpc, ascii(given_id))
            assert (call.reason, call.domain) == (f"{noun.upper()}_NOT_FOUND", "peermentor")
            assert call.message == f"there is no {noun.lower()} {texts.shown_id(given_id)}"

    assert contents(database) == before


def test_a_request_without_an_id_is_told_of_the_field(resource: Resource) -> None:
    resource.create()

    for rpc, fields in about_one(resource):
        for without in ({}, resource.named("")):
            call = resource.rpcs.refuse(rpc, **without, **fields)
            assert call.code is grpc.StatusCode.INVALID_ARGUMENT, rpc
            assert call.violations.keys() == resource.named("").keys()
