"""The gate while a server runs: keys that come and go, and what is for everybody."""

import asyncio
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
from structlog.testing import capture_logs

from peermentor_server.access import keys
from peermentor_server.access.gate import Required
from peermentor_server.rpc.streams import MAX_OF_STRANGERS
from peermentor_server.storage import access_keys
from peermentor_server.storage.engine.database import Database
from support.apps import own_server
from support.clock import CONTRACT_DAY, SettableClock
from support.keys import bearer, new_key
from support.rpcs import GoodRequests
from support.waiting import wait_until


@dataclass(frozen=True)
class Place:
    """A server that requires keys, and the metadata of two that have some."""

    database: Database
    channel: grpc.Channel
    writer: Any
    reader: Any


@pytest.fixture
def place(own: Database, clock: SettableClock) -> Iterator[Place]:
    """A server of the test's own."""
    writer, reader = (bearer(new_key(own, ["org_03"], each)) for each in ("write", "read"))
    with own_server(own, clock, access="required") as channel:
        yield Place(own, channel, writer, reader)


# --- What changes while the server runs ---


def test_a_revoked_key_is_refused_within_five_seconds_and_a_new_one_taken(place: Place) -> None:
    key = place.writer[0][1].removeprefix("Bearer ")
    new = bearer(new_key(place.database, ["org_03"]))
    with place.database.write() as connection:
        assert access_keys.revoke(connection, keys.id_of(key) or "", CONTRACT_DAY)
        assert not access_keys.revoke(connection, keys.id_of(key) or "", CONTRACT_DAY)

    def outcome(metadata: Any) -> str:
        try:
            GoodRequests(place.channel).call("ListTemplates", metadata=metadata)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"

    wait_until(lambda: (outcome(place.writer), outcome(new)) == ("UNAUTHENTICATED", "OK"), 5)


def test_a_key_ends_at_its_moment(own: Database, clock: SettableClock) -> None:
    key = bearer(new_key(own, ["org_03"], lifetime=timedelta(days=1)))
    with own_server(own, clock, access="required") as channel:
        GoodRequests(channel).call("ListTemplates", metadata=key)
        clock.advance(days=1)
        refusal = GoodRequests(channel).refuse("ListTemplates", metadata=key)
    assert refusal.reason == "CREDENTIALS_INVALID"


def test_it_is_known_on_which_day_a_key_was_used_last(place: Place) -> None:
    GoodRequests(place.channel).call("ListTemplates", metadata=place.writer)

    def used() -> list[Any]:
        with place.database.read() as connection:
            return [key.last_used_on for key in access_keys.all_keys(connection)]

    wait_until(lambda: sorted(map(str, used())) == ["2026-03-26", "None"], 10)


# --- Other services ---


def test_while_keys_cannot_be_read_the_last_ones_count_and_the_log_says_so_once(
    own: Database, clock: SettableClock
) -> None:
    gate, key = Required(own, clock), bearer(new_key(own))

    def rename(table: str, name: str) -> None:
        with own.write() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")

    def update() -> list[str]:
        with capture_logs() as lines:
            asyncio.run(gate.update())
        assert gate.identify(key).subject.startswith("key:")
        return [line["event"] for line in lines]

    assert update() == []
    rename("access_keys", "elsewhere")
    assert [update(), update()] == [["keys not read"], []]
    rename("elsewhere", "access_keys")
    assert update() == []
    rename("access_keys", "elsewhere")
    assert update() == ["keys not read"]
    gate.close(0)


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
    health = HealthStub(place.channel)
    watches = [health.Watch(HealthCheckRequest()) for _ in range(MAX_OF_STRANGERS)]
    for watch in watches:
        next(watch)
    with pytest.raises(grpc.RpcError) as raised:
        next(health.Watch(HealthCheckRequest()))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    watches.append(health.Watch(HealthCheckRequest(), metadata=place.reader))
    next(watches[-1])
    assert len(services(place.reader)) == 1
    for watch in watches:
        watch.cancel()


def test_what_other_services_lack_is_said_in_plain_words(place: Place) -> None:
    method: Any = place.channel.unary_unary("/grpc.health.v1.Health/List")
    with pytest.raises(grpc.RpcError) as raised:
        method(b"")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "Error" not in str(raised.value.details())
