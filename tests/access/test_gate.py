"""Who is let in where a key is required, over a real server: every RPC with every credential."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from peermentor.v1 import assignments_pb2, templates_pb2
from peermentor_server.access import keys
from peermentor_server.access.permissions import requirements
from peermentor_server.rpc.streams import MAX_STREAMS
from peermentor_server.rules.principals import EVERYWHERE, Permission
from peermentor_server.storage import access_keys, assignments, templates
from peermentor_server.storage.engine.database import Database
from support.apps import own_server
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import STORED_ASSIGNMENT, STORED_TEMPLATE, contents
from support.keys import bearer, new_key, unknown_key
from support.rpcs import GOOD, GoodRequests
from support.waiting import wait_until

OURS = requirements((assignments_pb2.DESCRIPTOR, templates_pb2.DESCRIPTOR))
WRITES = {
    path.rpartition("/")[2] for path, each in OURS.items() if each.permission is Permission.WRITE
}
OWN = ("org_03", "org-44")


@dataclass(frozen=True)
class Place:
    """A server that requires keys; there are an asgn_001 and an rt-001 of OWN."""

    database: Database
    channel: grpc.Channel
    own: Any
    read_only: Any
    other: Any
    every: Any

    @property
    def rpcs(self) -> GoodRequests:
        """All RPCs, with good requests."""
        return GoodRequests(self.channel)

    def rows(self) -> dict[str, Any]:
        """Return what is stored, but for when keys were used."""
        return {name: rows for name, rows in contents(self.database).items() if "keys" not in name}


@pytest.fixture
def place(own: Database, clock: SettableClock) -> Iterator[Place]:
    """A server of the test's own."""
    with own.write() as connection:
        assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT, "Bjørn Solberg", CONTRACT_DAY)
        templates.add(connection, EVERYWHERE, STORED_TEMPLATE, CONTRACT_DAY)
    granted = {
        "own": new_key(own, OWN),
        "read_only": new_key(own, OWN, "read"),
        "other": new_key(own, ["org_04", "org-45"], "admin"),
        "every": new_key(own, None, "write"),
    }
    with own_server(own, clock, access="required") as channel:
        yield Place(own, channel, **{name: bearer(key) for name, key in granted.items()})


def _credentials(place: Place) -> dict[str, tuple[Any, str]]:
    """Return metadata that lets nobody in, with the reason that is told."""
    (_, value) = place.own[0]
    invalid = {
        "nothing": "",
        "no scheme": value.removeprefix("Bearer "),
        "another scheme": value.replace("Bearer", "Basic"),
        "unknown": f"Bearer {unknown_key()}",
        "wrong secret": value[:-1] + ("0" if value[-1] != "0" else "1"),
        "another's id": value[:11] + unknown_key()[4:20] + value[27:],
        "longer": f"{value}0",
        "much longer": f"Bearer {'x' * 4000}",
    }
    found: dict[str, tuple[Any, str]] = {
        name: ((("authorization", text),), "CREDENTIALS_INVALID") for name, text in invalid.items()
    }
    found["twice"] = (place.own * 2, "CREDENTIALS_INVALID")
    found["none"] = ((), "CREDENTIALS_MISSING")
    return found


def test_nobody_is_let_in_without_a_valid_key(place: Place) -> None:
    before = place.rows()
    for name, (metadata, reason) in _credentials(place).items():
        for rpc in GOOD:
            refusal = place.rpcs.refuse(rpc, metadata=metadata)
            told = (refusal.code, refusal.reason)
            assert told == (grpc.StatusCode.UNAUTHENTICATED, reason), (name, rpc)
    assert place.rows() == before


def test_a_key_lets_its_owner_do_what_it_allows(place: Place) -> None:
    for rpc in [each for each in GOOD if not each.startswith("Delete")]:
        changes: dict[str, Any] = {"status": 2} if rpc == "UpdateAssignment" else {}
        changes |= {"name": "x"} if rpc == "UpdateTemplate" else {}
        for metadata in (place.own, place.every):
            place.rpcs.call(rpc, metadata=metadata, **changes)
    for rpc in ("DeleteAssignment", "DeleteTemplate"):
        place.rpcs.call(rpc, metadata=place.own)


def test_a_key_to_read_changes_nothing(place: Place) -> None:
    before = place.rows()
    for rpc in GOOD:
        if rpc in WRITES:
            refusal = place.rpcs.refuse(rpc, metadata=place.read_only)
            assert refusal.code is grpc.StatusCode.PERMISSION_DENIED, rpc
            assert refusal.reason == "PERMISSION_MISSING"
        else:
            place.rpcs.call(rpc, metadata=place.read_only)
    assert place.rows() == before


# --- Others' organisations ---


def test_what_is_anothers_is_not_there(place: Place) -> None:
    before = place.rows()
    for rpc, fields in {
        "GetAssignment": {},
        "UpdateAssignment": {"mentee_name": "x"},
        "UpdateLastContact": {},
        "DeleteAssignment": {},
        "GetTemplate": {},
        "UpdateTemplate": {"name": "x"},
        "DeleteTemplate": {},
    }.items():
        refusal = place.rpcs.refuse(rpc, metadata=place.other, **fields)
        assert refusal.code is grpc.StatusCode.NOT_FOUND, rpc
    for rpc in ("ListAssignments", "ListOverdueAssignments", "ListTemplates"):
        answer = place.rpcs.call(rpc, metadata=place.other)
        assert (list(answer.data), answer.pagination.total) == ([], 0), rpc
    answer = place.rpcs.call("ListTemplatesByCoordinator", metadata=place.other)
    assert (list(answer.data), answer.pagination.total) == ([], 0)
    assert place.rows() == before


def test_who_names_anothers_organisation_is_refused(place: Place) -> None:
    before = place.rows()
    named: list[tuple[str, dict[str, Any]]] = [
        ("CreateAssignment", {}),
        ("CreateTemplate", {}),
        ("ListAssignments", {"org_id": "org_03"}),
        ("ListOverdueAssignments", {"org_id": "org_03"}),
        ("ListTemplatesByOrganization", {}),
        # There is no such thing for them, and they may not know of the organisation either.
        ("UpdateAssignment", {"org_id": "org_03"}),
        ("UpdateTemplate", {"organization_id": "org-44"}),
    ]
    for rpc, fields in named:
        refusal = place.rpcs.refuse(rpc, metadata=place.other, **fields)
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED, rpc
        assert refusal.reason == "ORGANIZATION_FORBIDDEN"
    for rpc, fields in (
        ("UpdateAssignment", {"org_id": "org_04"}),
        ("UpdateTemplate", {"organization_id": "org-45"}),
    ):
        refusal = place.rpcs.refuse(rpc, metadata=place.own, **fields)
        assert refusal.reason == "ORGANIZATION_FORBIDDEN", rpc
    assert place.rows() == before


def test_request_ids_and_names_are_each_ones_own(place: Place) -> None:
    fields = {"request_id": "one", "mentee_name": None}
    mine = place.rpcs.call("CreateAssignment", metadata=place.own, **fields)
    fields |= {"org_id": "org_04"}
    theirs = place.rpcs.call("CreateAssignment", metadata=place.other, **fields)
    assert mine.assignment_id != theirs.assignment_id
    assert (mine.mentee_name, theirs.mentee_name) == ("Bjørn Solberg", "")


def test_a_page_token_is_of_use_to_its_owner_alone(place: Place) -> None:
    place.rpcs.call("CreateAssignment", metadata=place.own)
    page = place.rpcs.call("ListAssignments", metadata=place.own, limit=1)
    asked = {"limit": 1, "page_token": page.next_page_token}
    assert len(place.rpcs.call("ListAssignments", metadata=place.own, **asked).data) == 1
    for metadata in (place.other, place.every):
        refusal = place.rpcs.refuse("ListAssignments", metadata=metadata, **asked)
        assert refusal.violations.keys() == {"page_token"}


# --- What changes while the server runs ---


def test_a_revoked_key_is_refused_within_five_seconds_and_a_new_one_taken(place: Place) -> None:
    key = place.own[0][1].removeprefix("Bearer ")
    new = bearer(new_key(place.database, OWN))
    with place.database.write() as connection:
        assert access_keys.revoke(connection, keys.id_of(key) or "", CONTRACT_DAY)
        assert not access_keys.revoke(connection, keys.id_of(key) or "", CONTRACT_DAY)

    def outcome(metadata: Any) -> str:
        try:
            place.rpcs.call("ListAssignments", metadata=metadata)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"

    wait_until(lambda: (outcome(place.own), outcome(new)) == ("UNAUTHENTICATED", "OK"), 5)


def test_a_key_ends_at_its_moment(own: Database, clock: SettableClock) -> None:
    key = bearer(new_key(own, OWN, lifetime=timedelta(days=1)))
    with own_server(own, clock, access="required") as channel:
        GoodRequests(channel).call("ListTemplates", metadata=key)
        clock.advance(days=1)
        refusal = GoodRequests(channel).refuse("ListTemplates", metadata=key)
    assert refusal.reason == "CREDENTIALS_INVALID"


def test_it_is_known_on_which_day_a_key_was_used_last(place: Place) -> None:
    place.rpcs.call("ListTemplates", metadata=place.own)

    def used() -> list[Any]:
        with place.database.read() as connection:
            return [key.last_used_on for key in access_keys.all_keys(connection)]

    wait_until(lambda: sorted(map(str, used())) == ["2026-03-26", "None", "None", "None"], 10)


# --- Other services ---


def test_health_is_for_everybody_and_reflection_for_those_with_a_key(place: Place) -> None:
    assert HealthStub(place.channel).Check(HealthCheckRequest()).status
    reflection = ServerReflectionStub(place.channel)

    def services(metadata: Any) -> list[Any]:
        asked = iter([ServerReflectionRequest(list_services="")])
        return list(reflection.ServerReflectionInfo(asked, metadata=metadata))

    with pytest.raises(grpc.RpcError) as raised:
        services(())
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    # However many watch the health: those whom nobody knows take nothing from others.
    watches = [
        HealthStub(place.channel).Watch(HealthCheckRequest()) for _ in range(MAX_STREAMS + 5)
    ]
    for watch in watches[:MAX_STREAMS]:
        next(watch)
    assert len(services(place.read_only)) == 1
    for watch in watches:
        watch.cancel()


def test_what_other_services_lack_is_said_in_plain_words(place: Place) -> None:
    method: Any = place.channel.unary_unary("/grpc.health.v1.Health/List")
    with pytest.raises(grpc.RpcError) as raised:
        method(b"")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "Error" not in str(raised.value.details())
