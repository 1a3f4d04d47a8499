"""The gate while a server runs: keys that come and go, and what is for everybody."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from structlog.testing import capture_logs

from peermentor_server.access.gate import Required
from peermentor_server.access.keys import id_of
from peermentor_server.rpc.streams import MAX_OF_STRANGERS
from peermentor_server.rules.errors import CredentialsInvalid, DatabaseUnavailable
from peermentor_server.storage import access_keys
from peermentor_server.storage.engine.database import Database
from peermentor_server.timing import USUAL, Timing
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
        assert access_keys.revoke(connection, id_of(key) or "", CONTRACT_DAY)
        assert not access_keys.revoke(connection, id_of(key) or "", CONTRACT_DAY)

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


# --- Keys that cannot be read ---


class Renamed:
    """A gate alone; and the table of keys, which can be put away so that it cannot be read."""

    def __init__(self, database: Database, clock: SettableClock, timing: Timing = USUAL) -> None:
        self._database, self.gate = database, Required(database, clock, timing)
        key = new_key(database)
        self.key, self.key_id = bearer(key), id_of(key) or ""

    def rename(self, table: str, name: str) -> None:
        """Give a table another name."""
        with self._database.write() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")

    def update(self) -> list[str]:
        """Let the gate read once; return what the log says of it."""
        with capture_logs() as lines:
            asyncio.run(self.gate.update())
        return [line["event"] for line in lines]

    def let_in(self) -> bool:
        """Tell whether the key is taken."""
        return self.gate.identify(self.key).subject.startswith("key:")


def test_while_keys_cannot_be_read_the_last_ones_count_and_the_log_says_so_once(
    own: Database, clock: SettableClock
) -> None:
    keys = Renamed(own, clock)
    assert keys.update() == []
    keys.rename("access_keys", "elsewhere")
    assert [keys.update(), keys.update()] == [["keys not read"], []]
    assert keys.let_in()
    keys.rename("elsewhere", "access_keys")
    assert keys.update() == []
    keys.rename("access_keys", "elsewhere")
    assert keys.update() == ["keys not read"]
    keys.gate.close(0)


def test_keys_that_were_read_too_long_ago_are_not_trusted(
    own: Database, clock: SettableClock
) -> None:
    keys = Renamed(own, clock, replace(USUAL, keys_trusted_s=0.3))
    with pytest.raises(DatabaseUnavailable):
        keys.let_in()
    keys.update()
    assert keys.let_in()
    keys.rename("access_keys", "elsewhere")
    keys.update()
    time.sleep(0.3)
    with pytest.raises(DatabaseUnavailable):
        keys.let_in()
    keys.rename("elsewhere", "access_keys")
    keys.update()
    assert keys.let_in()
    keys.gate.close(0)


def test_a_revoked_key_is_refused_also_while_its_use_cannot_be_noted(
    own: Database, clock: SettableClock
) -> None:
    keys = Renamed(own, clock, replace(USUAL, keys_s=0.2))
    keys.update()
    assert keys.let_in()
    with own.write() as connection:
        access_keys.revoke(connection, keys.key_id, clock())
    with own.write() as locking:
        access_keys.note_use(locking, [keys.key_id], clock().date())
        assert keys.update() == ["keys not read"]
    with pytest.raises(CredentialsInvalid):
        keys.let_in()
    keys.gate.close(0)


def test_a_fault_does_not_end_the_reading_of_keys(own: Database, clock: SettableClock) -> None:
    keys = Renamed(own, clock, replace(USUAL, keys_every_s=0.01))
    reads = []

    def fail() -> None:
        reads.append(1)
        raise ValueError("of nobody's foresight")

    async def watch() -> None:
        await asyncio.wait_for(keys.gate._repeat(fail), 0.5)

    with capture_logs() as lines, pytest.raises(TimeoutError):
        asyncio.run(watch())
    assert len(reads) > 1
    assert {line["event"] for line in lines} == {"credentials not read"}
    keys.gate.close(0)


def test_a_row_that_was_changed_by_hand_locks_out_its_owner_alone(
    own: Database, clock: SettableClock
) -> None:
    keys = Renamed(own, clock)
    other = new_key(own)
    with own.write() as connection:
        changed = connection.exec_driver_sql(
            f"UPDATE access_keys SET organizations = '5' WHERE id = '{id_of(other)}'"
        )
        assert changed.rowcount == 1
    assert keys.update() == []
    assert keys.let_in()
    with pytest.raises(CredentialsInvalid):
        keys.gate.identify(bearer(other))
    keys.gate.close(0)


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
