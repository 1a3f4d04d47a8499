"""A server that is killed after the commit and before the answer has come: the caller repeats.

To the caller it is the same whether the answer was never sent or got lost on its way; here
it gets lost, and then the server is killed.
"""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from sqlalchemy import func, select

from peermentor.v1.assignments_pb2 import (
    CreateAssignmentRequest,
    ListAssignmentsRequest,
    UpdateAssignmentRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import CreateTemplateRequest
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server.rpc.app import THREADS
from peermentor_server.storage import tables
from peermentor_server.storage.engine.database import Database
from peermentor_server.timing import USUAL
from support.clients import opened
from support.commands import start
from support.databases import url_of
from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE
from support.ports import free_ports
from support.serving import settings_for
from support.swallowing import swallower
from support.waiting import wait_until

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
TABLES = ("assignments", "templates")


def creates(channel: grpc.Channel) -> list[Any]:
    """Begin to create a row of each table; always by the same requests."""
    assignment = CreateAssignmentRequest(**NEW_ASSIGNMENT, request_id="once")
    template = CreateTemplateRequest(**NEW_TEMPLATE, request_id="once")
    return [
        AssignmentServiceStub(channel).CreateAssignment.future(assignment),
        TemplateServiceStub(channel).CreateTemplate.future(template),
    ]


@contextmanager
def process(database: Database, port: int | None = None) -> Iterator[tuple[Any, int]]:
    """Run the gRPC server in a process of its own; give the process and its port."""
    ports = free_ports(3)
    ports[0] = port or ports[0]
    environment = settings_for(url_of(database), ports)
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


def counts(database: Database) -> dict[str, int]:
    """Return how many rows there are."""
    with database.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in tables.metadata.tables.items()
            if name in {*TABLES, "idempotency_keys"}
        }


ONE_OF_EACH = {"assignments": 1, "templates": 1, "idempotency_keys": 2}


def test_creates_whose_answers_were_lost_are_repeated_on_another_server(own: Database) -> None:
    with process(own) as (server, port):
        # The swallower connects once the server listens.
        with ready_channel(f"127.0.0.1:{port}"):
            pass
        with swallower(port) as between, ready_channel(between.address) as channel:
            AssignmentServiceStub(channel).ListAssignments(ListAssignmentsRequest())
            between.swallows = True
            first = creates(channel)
            wait_until(lambda: counts(own) == ONE_OF_EACH, 20)
            server.kill()
            server.wait()
            between.close()
            assert [each.exception(timeout=20).code() for each in first] == [UNAVAILABLE] * 2
    with process(own) as (_, port), ready_channel(f"127.0.0.1:{port}") as channel:
        answers = [[each.result(timeout=20) for each in creates(channel)] for _ in range(2)]
    assert answers[0] == answers[1]
    assert counts(own) == ONE_OF_EACH


def test_creates_that_were_killed_before_their_commits_are_made_by_the_repeats(
    own: Database,
) -> None:
    with process(own) as (server, port), ready_channel(f"127.0.0.1:{port}") as channel:
        with own.write() as connection:
            # Holds the creates up: on SQLite any writer does, on PostgreSQL one of the table.
            if own.dialect == "postgresql":
                connection.exec_driver_sql(f"LOCK TABLE {', '.join(TABLES)} IN EXCLUSIVE MODE")
            first = creates(channel)
            if own.dialect == "postgresql":
                waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                wait_until(lambda: connection.exec_driver_sql(waiting).scalar_one() == 2, 5)
            server.kill()
            server.wait()
        assert [each.exception(timeout=20).code() for each in first] == [UNAVAILABLE] * 2
    with process(own) as (_, port), ready_channel(f"127.0.0.1:{port}") as channel:
        for each in creates(channel):
            each.result(timeout=20)
    assert counts(own) == ONE_OF_EACH


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
        assert [client.assignments.list().count() for client in clients] == [0] * twins
        threads = stack.enter_context(ThreadPoolExecutor(twins))
        between.swallows = True
        answers = [threads.submit(client.assignments.create, **request) for client in clients]
        wait_until(lambda: counts(own)["assignments"] == 1, 30)
        server.kill()
        server.wait()
        between.swallows = False
        with process(own, port):
            made = [answer.result(timeout=60) for answer in answers]
    assert counts(own) == {"assignments": 1, "templates": 0, "idempotency_keys": 1}
    assert {each.assignment_id for each in made} == {"asgn_001"}


@pytest.mark.parametrize("client_kind", ["sync", "async"])
def test_an_update_that_a_client_repeats_undoes_nothing_of_others(
    own: Database, client_kind: str
) -> None:
    with process(own) as (server, port), ExitStack() as stack:
        other = stack.enter_context(opened("sync", f"127.0.0.1:{port}", timeout=60))
        made = other.assignments.create(**NEW_ASSIGNMENT).assignment_id
        between = stack.enter_context(swallower(port))
        client = stack.enter_context(opened(client_kind, between.address, timeout=60))
        client.assignments.get(made)
        threads = stack.enter_context(ThreadPoolExecutor(1))
        between.swallows = True
        update = threads.submit(client.assignments.update, made, org_id="first")
        wait_until(lambda: other.assignments.get(made).org_id == "first", 30)
        other.assignments.update(made, org_id="second")
        server.kill()
        server.wait()
        between.swallows = False
        with process(own, port):
            assert update.result(timeout=60).assignment_id == made
            assert other.assignments.get(made).org_id == "second"


def test_what_was_given_up_while_the_server_stood_still_is_not_made(postgresql: Database) -> None:
    """The caller has gone on by then, and what it asked for may undo what it did since."""
    with (
        process(postgresql) as (server, port),
        ready_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = AssignmentServiceStub(channel)
        with postgresql.write() as connection:
            # Updates keep every thread of the writers: the creates have arrived and not begun.
            connection.exec_driver_sql("LOCK TABLE assignments IN EXCLUSIVE MODE")
            update = UpdateAssignmentRequest(assignment_id="asgn_001", org_id="org_04")
            writers = THREADS[postgresql.dialect].writes
            calls = [stub.UpdateAssignment.future(update) for _ in range(writers)]
            time.sleep(0.3)
            calls += [call for _ in range(2) for call in creates(channel)]
            time.sleep(0.3)
            server.send_signal(signal.SIGSTOP)
            for call in calls:
                call.cancel()
            time.sleep(USUAL.stall_s + 0.5)
        server.send_signal(signal.SIGCONT)
        time.sleep(2 * USUAL.doubt_s)
        # It serves as before.
        stub.ListAssignments(ListAssignmentsRequest())
    assert counts(postgresql) == {"assignments": 0, "templates": 0, "idempotency_keys": 0}
