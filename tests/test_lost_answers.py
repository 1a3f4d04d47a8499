"""A server that is killed after the commit and before the answer has come: the caller repeats.

To the caller it is the same whether the answer was never sent or got lost on its way; here
it gets lost, and then the server is killed.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from sqlalchemy import func, select

from peermentor.v1.assignments_pb2 import CreateAssignmentRequest, ListAssignmentsRequest
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import CreateTemplateRequest
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server.storage import schema, tables
from peermentor_server.storage.database import Database
from support.clients import opened
from support.commands import start
from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE
from support.ports import free_ports
from support.serving import settings_for
from support.swallowing import swallower
from support.waiting import wait_until

TABLES = ["assignments", "templates"]


def create(channel: grpc.Channel, table: str) -> Any:
    """Begin to create a row of this table; always by the same request."""
    if table == "assignments":
        assignment = CreateAssignmentRequest(**NEW_ASSIGNMENT, request_id="once")
        return AssignmentServiceStub(channel).CreateAssignment.future(assignment)
    template = CreateTemplateRequest(**NEW_TEMPLATE, request_id="once")
    return TemplateServiceStub(channel).CreateTemplate.future(template)


@pytest.fixture
def own(empty_url: str) -> Iterator[Database]:
    """A database of the test's own."""
    database = Database(empty_url)
    schema.migrate(database)
    yield database
    database.close()


@contextmanager
def process(database: Database, port: int | None = None) -> Iterator[tuple[Any, int]]:
    """Run the gRPC server in a process of its own; give the process and its port."""
    ports = free_ports(3)
    ports[0] = port or ports[0]
    url = database.engine.url.set(drivername=database.dialect)
    environment = settings_for(url.render_as_string(hide_password=False), ports)
    with start("serve", "--no-gateway", **environment) as server:
        try:
            yield server, ports[0]
        finally:
            server.kill()
            server.communicate()


@contextmanager
def ready_channel(address: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        yield channel


def count(database: Database, table: str) -> int:
    query = select(func.count()).select_from(tables.metadata.tables[table])
    with database.read() as connection:
        return connection.execute(query).scalar_one()


@pytest.mark.parametrize("table", TABLES)
def test_a_create_whose_answer_was_lost_is_repeated_on_another_server(
    own: Database, table: str
) -> None:
    with process(own) as (server, port):
        # The swallower connects once the server listens.
        with ready_channel(f"127.0.0.1:{port}"):
            pass
        with swallower(port) as between, ready_channel(between.address) as channel:
            AssignmentServiceStub(channel).ListAssignments(ListAssignmentsRequest())
            between.swallows = True
            first = create(channel, table)
            wait_until(lambda: count(own, table) == 1, 20)
            server.kill()
            server.wait()
            between.close()
            assert first.exception(timeout=20).code() is grpc.StatusCode.UNAVAILABLE
    with process(own) as (_, port), ready_channel(f"127.0.0.1:{port}") as channel:
        answers = [create(channel, table).result(timeout=20) for _ in range(2)]
    assert answers[0] == answers[1]
    assert count(own, table) == count(own, "requests") == 1


@pytest.mark.parametrize("table", TABLES)
def test_a_create_that_was_killed_before_its_commit_is_made_by_the_repeat(
    own: Database, table: str
) -> None:
    with process(own) as (server, port), ready_channel(f"127.0.0.1:{port}") as channel:
        with own.write() as connection:
            # Holds the create up: on SQLite any writer, on PostgreSQL one of the same table.
            if own.dialect == "postgresql":
                connection.exec_driver_sql(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            first = create(channel, table)
            if own.dialect == "postgresql":
                waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                wait_until(lambda: connection.exec_driver_sql(waiting).scalar_one() > 0, 5)
            server.kill()
            server.wait()
        assert first.exception(timeout=20).code() is grpc.StatusCode.UNAVAILABLE
    with process(own) as (_, port), ready_channel(f"127.0.0.1:{port}") as channel:
        create(channel, table).result(timeout=20)
    assert count(own, table) == count(own, "requests") == 1


@pytest.mark.parametrize(("client_kind", "twins"), [("sync", 1), ("sync", 2), ("async", 1)])
def test_a_client_whose_server_is_killed_before_it_answers_makes_one_row(
    own: Database, client_kind: str, twins: int
) -> None:
    # Alone, the client makes up the id of the request; two of them are told the same.
    request = NEW_ASSIGNMENT | ({"request_id": "twins"} if twins > 1 else {})

    with process(own) as (server, port), ExitStack() as stack:
        with ready_channel(f"127.0.0.1:{port}"):
            pass
        between = stack.enter_context(swallower(port))
        clients = [
            stack.enter_context(opened(client_kind, between.address, timeout=60, retries=30))
            for _ in range(twins)
        ]
        assert [client.assignments.list().total for client in clients] == [0] * twins
        threads = stack.enter_context(ThreadPoolExecutor(twins))
        between.swallows = True
        answers = [threads.submit(client.assignments.create, **request) for client in clients]
        wait_until(lambda: count(own, "assignments") == 1, 30)
        server.kill()
        server.wait()
        between.swallows = False
        with process(own, port):
            made = [answer.result(timeout=60) for answer in answers]
    assert count(own, "assignments") == count(own, "requests") == 1
    assert {each.assignment_id for each in made} == {"asgn_001"}
