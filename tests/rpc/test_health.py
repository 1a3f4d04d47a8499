"""The health service: it says what callers would find, also when the database is gone."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from sqlalchemy import text
from structlog.testing import capture_logs

from peermentor.v1.assignments_pb2 import (
    CreateAssignmentRequest,
    DeleteAssignmentRequest,
    ListAssignmentsRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.rpc.app import SERVICES, App
from peermentor_server.rpc.lanes import MAX_CALLS
from peermentor_server.settings import Address, Settings
from peermentor_server.storage import assignments as assignment_storage
from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.timing import Timing
from support.commands import start
from support.databases import Postgres, migrated, running_postgres, url_of
from support.factories import NEW_ASSIGNMENT, RefusedCall, refused
from support.ports import free_ports
from support.racing import at_once
from support.serving import settings_for
from support.waiting import wait_until

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING

# More than there are threads for them.
CALLS = 8
OUTAGE = RefusedCall(
    code=grpc.StatusCode.UNAVAILABLE,
    reason="DATABASE_UNAVAILABLE",
    domain="peermentor",
    message="the database does not answer; try again later",
    violations={},
)


OVERLOADED = RefusedCall(
    code=grpc.StatusCode.RESOURCE_EXHAUSTED,
    reason="OVERLOADED",
    domain="peermentor",
    message="too many calls at once; try again later",
    violations={},
)


# The database is asked more often than every second.
QUICK = Timing(ping_every_s=0.05, ping_s=0.5)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that tests may stop."""
    with running_postgres() as server:
        yield server


@contextmanager
def _serving(database: Database, timing: Timing = QUICK) -> Iterator[grpc.Channel]:
    with _app(database, timing) as (_, channel):
        yield channel


@contextmanager
def _app(database: Database, timing: Timing = QUICK) -> Iterator[tuple[App, grpc.Channel]]:
    addresses = [Address("127.0.0.1", port) for port in free_ports(3)]
    settings = Settings(
        grpc_address=addresses[0], rest_address=addresses[1], admin_address=addresses[2]
    )
    app = App(settings, database, timing=timing)
    app.start()
    with grpc.insecure_channel(str(settings.grpc_address)) as channel:
        try:
            yield app, channel
        finally:
            app.stop()


@pytest.fixture
def on_own_postgres(own_postgres: Postgres) -> Iterator[Database]:
    """A database on the server that may be stopped."""
    with migrated(own_postgres.new_migrated_database()) as database:
        yield database


def _check(channel: grpc.Channel, service: str = "") -> "HealthCheckResponse.ServingStatus":
    request = HealthCheckRequest(service=service)
    status: HealthCheckResponse.ServingStatus = HealthStub(channel).Check(request, timeout=2).status
    return status


def _says(channel: grpc.Channel, status: object) -> Callable[[], bool]:
    return lambda: all(_check(channel, name) == status for name in ("", *SERVICES))


def _stays(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while condition():
        if time.monotonic() > deadline:
            return True
    return False


def _list(channel: grpc.Channel) -> Any:
    return AssignmentServiceStub(channel).ListAssignments(ListAssignmentsRequest(), timeout=5)


# --- The protocol ---


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_the_server_and_each_service_say_serving(channel: grpc.Channel, service: str) -> None:
    assert _check(channel, service) == SERVING


def test_an_unknown_service_is_not_found(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        _check(channel, "peermentor.v1.Nothing")
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_watch_of_an_unknown_service_says_so(channel: grpc.Channel) -> None:
    watch = HealthStub(channel).Watch(
        HealthCheckRequest(service="peermentor.v1.Nothing"), timeout=5
    )
    assert next(watch).status == HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_a_watch_tells_every_change(own: Database) -> None:
    with _serving(own) as channel:
        watch = HealthStub(channel).Watch(HealthCheckRequest(service=SERVICES[0]), timeout=20)
        assert next(watch).status == SERVING
        _execute(own, "ALTER TABLE alembic_version RENAME TO elsewhere")
        assert next(watch).status == NOT_SERVING
        _execute(own, "ALTER TABLE elsewhere RENAME TO alembic_version")
        assert next(watch).status == SERVING
        watch.cancel()


def _execute(database: Database, statement: str) -> None:
    with database.write() as connection:
        connection.execute(text(statement))


def test_watches_take_nothing_from_calls(channel: grpc.Channel) -> None:
    count = 2 * MAX_CALLS
    watches = [HealthStub(channel).Watch(HealthCheckRequest(), timeout=10) for _ in range(count)]
    assert [next(watch).status for watch in watches] == [SERVING] * count
    assert _check(channel) == SERVING
    assert _list(channel).pagination.total == 0
    for watch in watches:
        watch.cancel()


def test_the_end_of_another_server_in_the_process_breaks_no_watch(
    channel: grpc.Channel, database: Database
) -> None:
    with _serving(database):
        pass
    watch = HealthStub(channel).Watch(HealthCheckRequest(), timeout=5)
    assert next(watch).status == SERVING
    watch.cancel()


# --- Outages ---


def test_a_server_that_does_not_answer_is_noticed_in_seconds(
    own_postgres: Postgres, on_own_postgres: Database
) -> None:
    with _serving(on_own_postgres) as channel:
        assert _check(channel) == SERVING
        with own_postgres.frozen():
            wait_until(_says(channel, NOT_SERVING), 5)
        wait_until(_says(channel, SERVING), 5)
        assert _list(channel).pagination.total == 0


def test_calls_end_while_the_server_does_not_answer(
    own_postgres: Postgres, on_own_postgres: Database
) -> None:
    """By themselves, all that run at once: no caller here has a deadline of its own."""
    with _serving(on_own_postgres) as channel:
        stub = AssignmentServiceStub(channel)
        create = partial(refused, stub.CreateAssignment, CreateAssignmentRequest(**NEW_ASSIGNMENT))
        assert _list(channel).pagination.total == 0
        with own_postgres.frozen():
            outcomes = at_once(*[create] * CALLS)
            assert OUTAGE in outcomes
            assert [each for each in outcomes if each not in (OUTAGE, OVERLOADED)] == []
        wait_until(_says(channel, SERVING), 5)
        assert _list(channel).pagination.total == 0


def test_a_server_that_takes_no_more_writes_is_noticed_and_left(
    own_postgres: Postgres, on_own_postgres: Database
) -> None:
    """Such as a primary that has been demoted: it goes on to answer what only reads."""
    with _serving(on_own_postgres) as channel:
        assert _list(channel).pagination.total == 0
        own_postgres.configure("default_transaction_read_only", "on")
        try:
            wait_until(_says(channel, NOT_SERVING), 5)
            stub = AssignmentServiceStub(channel)
            create = CreateAssignmentRequest(**NEW_ASSIGNMENT)
            assert refused(stub.CreateAssignment, create) == OUTAGE
            # A stale answer would be worse than none.
            assert refused(stub.ListAssignments, ListAssignmentsRequest()) == OUTAGE
        finally:
            own_postgres.configure("default_transaction_read_only", "off")
        wait_until(_says(channel, SERVING), 5)
        assert _list(channel).pagination.total == 0


def test_a_server_that_is_gone_is_unavailable_until_it_is_back(
    own_postgres: Postgres, on_own_postgres: Database
) -> None:
    with _serving(on_own_postgres) as channel:
        assert _list(channel).pagination.total == 0
        with own_postgres.down():
            wait_until(_says(channel, NOT_SERVING), 5)
            stub = AssignmentServiceStub(channel)
            assert refused(stub.ListAssignments, ListAssignmentsRequest()) == OUTAGE
            create = CreateAssignmentRequest(**NEW_ASSIGNMENT)
            assert refused(stub.CreateAssignment, create) == OUTAGE
        wait_until(_says(channel, SERVING), 5)
        assert _list(channel).pagination.total == 0


def test_a_call_that_the_database_breaks_off_is_unavailable(
    own_postgres: Postgres, on_own_postgres: Database
) -> None:
    """Without a word of the driver, even though it was in the middle of a statement."""
    with _serving(on_own_postgres) as channel:
        with on_own_postgres.write() as connection:
            assignment_storage.name_mentee(connection, "org_03", "user_088", None)
            create = partial(
                refused,
                AssignmentServiceStub(channel).CreateAssignment,
                CreateAssignmentRequest(**NEW_ASSIGNMENT),
            )
            breaking = threading.Thread(target=_break_the_one_that_waits, args=[own_postgres])
            breaking.start()
            [outcome] = at_once(create)
            breaking.join()
        assert outcome == OUTAGE


def _break_the_one_that_waits(server: Postgres) -> None:
    database = Database(server.new_database())
    waiting = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"

    def broken() -> bool:
        with database.read() as connection:
            return connection.execute(text(waiting)).all() != []

    wait_until(broken, 5)
    database.close()


def test_writes_are_unavailable_while_another_program_holds_a_sqlite_file(tmp_path: Path) -> None:
    url, timing = f"sqlite:///{tmp_path}/own.db", Timing(lock_s=0.1)
    database, other = (Database(url, timing=timing) for _ in range(2))
    schema.migrate(database)
    with _serving(database) as channel:
        stub = AssignmentServiceStub(channel)
        create = CreateAssignmentRequest(**NEW_ASSIGNMENT)
        with other.write():
            assert refused(stub.CreateAssignment, create) == OUTAGE
            assert _list(channel).pagination.total == 0
            assert _check(channel) == SERVING
        assert stub.CreateAssignment(create).assignment_id == "asgn_001"
    database.close()
    other.close()


def test_a_server_without_a_database_starts_and_says_not_serving() -> None:
    [port] = free_ports(1)
    database = Database(f"postgresql://peermentor@127.0.0.1:{port}/peermentor")
    with _serving(database) as channel:
        assert _says(channel, NOT_SERVING)()
        list_assignments = AssignmentServiceStub(channel).ListAssignments
        assert refused(list_assignments, ListAssignmentsRequest()) == OUTAGE
    database.close()


def test_a_server_ends_while_its_database_hangs(
    own_postgres: Postgres, on_own_postgres: Database
) -> None:
    [port, *others] = free_ports(3)
    environment = settings_for(url_of(on_own_postgres), [port, *others])
    with (
        start("serve", "--no-gateway", **environment) as server,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        grpc.channel_ready_future(channel).result(timeout=30)
        with own_postgres.frozen():
            wait_until(_says(channel, NOT_SERVING), 5)
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=15)
    assert server.returncode == 0, errors


@pytest.mark.parametrize("change", [Path.unlink, lambda log: os.truncate(log, 0)])
def test_a_log_of_sqlite_that_is_not_whole_is_an_outage(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    file = tmp_path / "own.db"
    with migrated(f"sqlite:///{file}") as database, _serving(database) as channel:
        assert _says(channel, SERVING)()
        with capture_logs() as lines:
            change(tmp_path / "own.db-wal")
            wait_until(_says(channel, NOT_SERVING), 20)
        [line] = [line for line in lines if line["event"] == "database does not answer"]
        assert line["reason"].startswith(f"{file}-wal was ")
        list_assignments = AssignmentServiceStub(channel).ListAssignments
        assert refused(list_assignments, ListAssignmentsRequest()) == OUTAGE


# --- Business, and the end ---


def test_health_is_answered_while_every_thread_is_busy(own: Database) -> None:
    other = Database(url_of(own))
    # However long a busy machine takes for a ping.
    with _serving(own, replace(QUICK, call_s=30, lane_wait_s=30, ping_s=10)) as channel:
        stub = AssignmentServiceStub(channel)
        with other.write() as connection:
            assignment_storage.name_mentee(connection, "org_03", "user_088", None)
            request = CreateAssignmentRequest(**NEW_ASSIGNMENT)
            calls = [stub.CreateAssignment.future(request) for _ in range(CALLS)]
            wait_until(partial(_finds_no_thread, stub), 5)
            # Those that only read go on as if nothing were.
            assert _list(channel).pagination.total == 0
            assert _stays(_says(channel, SERVING), 1)
            watch = HealthStub(channel).Watch(HealthCheckRequest(), timeout=2)
            assert next(watch).status == SERVING
            watch.cancel()
        assert len({call.result(timeout=10).assignment_id for call in calls}) == CALLS
    other.close()


def _finds_no_thread(stub: AssignmentServiceStub) -> bool:
    try:
        stub.DeleteAssignment(DeleteAssignmentRequest(assignment_id="asgn_404"), timeout=0.5)
    except grpc.RpcError as error:
        # Whichever of the two looks at the clock first.
        gave_up = grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED
        return error.code() in gave_up
    return False


def test_a_server_that_drains_says_not_serving_to_the_end(own: Database) -> None:
    with _app(own) as (app, channel):
        assert _says(channel, SERVING)()
        app.drain()
        assert _stays(_says(channel, NOT_SERVING), 0.5)


def test_a_watch_learns_that_the_server_stops(own: Database) -> None:
    with _app(own) as (app, channel):
        watch = HealthStub(channel).Watch(HealthCheckRequest(), timeout=10)
        assert next(watch).status == SERVING
        stopping = threading.Thread(target=app.stop, args=[2])
        stopping.start()
        assert next(watch).status == NOT_SERVING
        watch.cancel()
        stopping.join()
