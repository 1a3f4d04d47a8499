"""One caller who takes all there is: the others are served as before."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from sqlalchemy import insert, text

from peermentor.v1.assignments_pb2 import (
    Assignment,
    CreateAssignmentRequest,
    GetAssignmentRequest,
    ListAssignmentsRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import ListTemplatesRequest
from peermentor_server.rpc.lanes import MAX_CALLS
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import templates as template_storage
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import assignments, mentees
from support.clock import CONTRACT_DAY
from support.databases import locked, url_of
from support.factories import NEW_ASSIGNMENT, STORED_TEMPLATE
from support.serving import Running, served

# Far longer than a call takes, and far shorter than those wait who are locked out.
PATIENCE_S = 5
CROWD = 2 * MAX_CALLS
LIST = "/peermentor.v1.AssignmentService/ListAssignments"
WAYS = ("gateway", "worker")


# All call one service, whose database is empty at first.
pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(scope="module")
def running(
    shared_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """The service, with a single worker. None of the tests may harm it."""
    directory = tmp_path_factory.mktemp("one_against_all")
    with served(url_of(shared_database), directory, workers=1) as started:
        yield started
        assert started.lines("died") == []


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How to call it: by the gateway, or past it."""
    return str(request.param)


@pytest.fixture
def address(running: Running, way: str) -> str:
    """Where to call it."""
    return address_by(way, running)


def address_by(way: str, running: Running) -> str:
    return running.grpc if way == "gateway" else running.worker_addresses()[0]


@contextmanager
def connected(address: str, *options: tuple[str, Any]) -> Iterator[grpc.Channel]:
    """Open a connection that is nobody else's."""
    own = ("grpc.use_local_subchannel_pool", 1)
    with grpc.insecure_channel(address, [own, *options]) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        yield channel


def assert_others_are_served(address: str) -> None:
    with connected(address) as channel:
        stub = AssignmentServiceStub(channel)
        for _ in range(5):
            made = stub.CreateAssignment(
                CreateAssignmentRequest(**NEW_ASSIGNMENT), timeout=PATIENCE_S
            )
            get = GetAssignmentRequest(assignment_id=made.assignment_id)
            assert stub.GetAssignment(get, timeout=PATIENCE_S) == made
            stub.ListAssignments(ListAssignmentsRequest(org_id="org_03"), timeout=PATIENCE_S)
            HealthStub(channel).Check(HealthCheckRequest(), timeout=PATIENCE_S)


def silence(end: threading.Event) -> Iterator[Any]:
    """Send nothing, and do not end either."""
    end.wait(60)
    yield from ()


def test_requests_that_never_end(address: str) -> None:
    end = threading.Event()
    with connected(address) as channel:
        method: Any = channel.stream_unary(LIST)
        calls = [method.future(silence(end)) for _ in range(CROWD)]
        time.sleep(0.5)
        assert_others_are_served(address)
        end.set()
        for call in calls:
            call.cancel()


def test_streams_that_never_end(address: str) -> None:
    end = threading.Event()

    def question() -> Iterator[ServerReflectionRequest]:
        yield ServerReflectionRequest(list_services="")
        end.wait(60)

    with connected(address) as channel:
        reflect = ServerReflectionStub(channel).ServerReflectionInfo
        watch = HealthStub(channel).Watch
        streams = [reflect(question()) for _ in range(CROWD)]
        streams += [watch(HealthCheckRequest()) for _ in range(CROWD)]
        assert all(next(stream) for stream in streams)
        assert_others_are_served(address)
        end.set()
        for stream in streams:
            stream.cancel()


def test_answers_that_nobody_reads(database: Database, address: str) -> None:
    template = STORED_TEMPLATE | {"notes_template": "ø" * 5000}
    with database.write() as connection:
        for _ in range(100):
            template_storage.add(connection, EVERYWHERE, template, CONTRACT_DAY)
    with ExitStack() as stack:
        for _ in range(CROWD):
            # As little as HTTP/2 allows is taken before anybody reads.
            windows = (("grpc.http2.lookahead_bytes", 1), ("grpc.http2.bdp_probe", 0))
            channel = stack.enter_context(connected(address, *windows))
            method: Any = channel.unary_stream(
                "/peermentor.v1.TemplateService/ListTemplates",
                request_serializer=ListTemplatesRequest.SerializeToString,
            )
            stack.callback(method(ListTemplatesRequest(limit=100)).cancel)
        time.sleep(1)
        assert_others_are_served(address)


def test_costly_lists(own: Database, tmp_path: Path) -> None:
    """Pages far back, and lists of what nothing meets, by connections of their own."""
    # Not on the database of all: so many rows weigh on PostgreSQL after they are deleted, too.
    _fill(own, 100_000)
    with served(url_of(own), tmp_path, workers=1) as running:
        for way in WAYS:
            assert_others_are_served_beside_costly_lists(address_by(way, running))


def assert_others_are_served_beside_costly_lists(address: str) -> None:
    requests = [
        ListAssignmentsRequest(page=800, limit=100),
        ListAssignmentsRequest(status=Assignment.paused, page=300, limit=100),
        ListAssignmentsRequest(),
    ]
    end = threading.Event()

    def flood(channel: grpc.Channel, request: ListAssignmentsRequest) -> None:
        stub = AssignmentServiceStub(channel)
        while not end.is_set():
            try:
                stub.ListAssignments(request, timeout=PATIENCE_S)
            except grpc.RpcError:
                time.sleep(0.01)

    with ExitStack() as stack:
        channels = [stack.enter_context(connected(address)) for _ in range(16)]
        threads = [
            threading.Thread(target=flood, args=(channel, requests[index % len(requests)]))
            for index, channel in enumerate(channels)
        ]
        for thread in threads:
            thread.start()
        try:
            assert_others_are_served(address)
        finally:
            end.set()
            for thread in threads:
                thread.join()


def _fill(database: Database, rows: int) -> None:
    people = {"peer_mentor_id": "x", "coordinator_id": "x", "org_id": "x", "status": "paused"}
    moments = dict.fromkeys(("created_at", "updated_at"), CONTRACT_DAY)
    with database.write() as connection:
        connection.execute(insert(mentees).values(org_id="x", mentee_id="x", mentee_name=""))
        row = {"mentee_id": "x", "start_date": CONTRACT_DAY.date(), **people, **moments}
        connection.execute(insert(assignments).values(row))
        columns = ", ".join(each.name for each in assignments.c if each.name != "id")
        copy = f"INSERT INTO assignments ({columns}) SELECT {columns} FROM assignments LIMIT :rest"
        stored = 1
        while stored < rows:
            copied = min(stored, rows - stored)
            connection.execute(text(copy), {"rest": copied})
            stored += copied


def test_writers_that_wait_for_another_program(running: Running, database: Database) -> None:
    """They hold up no reads, whatever they wait for."""
    [address] = running.worker_addresses()
    with connected(address) as writers, connected(address) as readers:
        reader = AssignmentServiceStub(readers)
        made = reader.CreateAssignment(CreateAssignmentRequest(**NEW_ASSIGNMENT))
        with locked(url_of(database)):
            stub = AssignmentServiceStub(writers)
            new = CreateAssignmentRequest(**NEW_ASSIGNMENT)
            writes = [stub.CreateAssignment.future(new) for _ in range(MAX_CALLS)]
            time.sleep(0.5)
            for _ in range(20):
                get = GetAssignmentRequest(assignment_id=made.assignment_id)
                assert reader.GetAssignment(get, timeout=PATIENCE_S) == made
                listed = reader.ListAssignments(ListAssignmentsRequest(), timeout=PATIENCE_S)
                assert listed.pagination.total == 1
            assert [write for write in writes if not write.done()] != []
        for write in writes:
            write.exception(timeout=10)
