"""A database that is slow or hangs: calls end, nothing piles up, and soon all is well again."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from peermentor.v1.assignments_pb2 import CreateAssignmentRequest
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.rpc.app import THREADS
from peermentor_server.storage.engine.database import Database
from peermentor_server.timing import USUAL
from support.apps import own_server
from support.factories import NEW_ASSIGNMENT
from support.replication import Node, Template, running_single
from support.serving import Running, served
from support.torture import either, measured
from support.waiting import wait_until

HANGS_S = either(6, 60)
RATE = 200
"""Calls a second that come while the database hangs; a thread is free for two or three."""
DEADLINE_S = 1.0
PATIENCE_S = 8
MEMORY_MIB = 40


@pytest.fixture
def server(servers: Template) -> Iterator[Node]:
    """A PostgreSQL server."""
    with running_single(servers) as started:
        yield started


@pytest.fixture
def running(server: Node, tmp_path: Path) -> Iterator[Running]:
    """The service on it, with a single worker."""
    with served(server.url, tmp_path, workers=1) as started:
        yield started


@pytest.fixture
def stub(running: Running) -> Iterator[AssignmentServiceStub]:
    """Calls the worker, past the gateway, which would refuse so many calls."""
    [address] = running.worker_addresses()
    with grpc.insecure_channel(address) as channel:
        yield AssignmentServiceStub(channel)


class Flood:
    """Calls that come at a steady rate, whether or not the ones before have ended."""

    def __init__(self, stub: AssignmentServiceStub) -> None:
        self._stub = stub
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.codes: Counter[grpc.StatusCode] = Counter()
        self.slowest = 0.0
        self.open = 0

    def go_on(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self._call()
            time.sleep(1 / RATE)

    def _call(self) -> None:
        mentee = f"flood-{next(self._numbers)}"
        request = CreateAssignmentRequest(**{**NEW_ASSIGNMENT, "mentee_id": mentee})
        started = time.monotonic()
        with self._lock:
            self.open += 1
        call = self._stub.CreateAssignment.future(request, timeout=DEADLINE_S)
        call.add_done_callback(lambda done: self._note(done, time.monotonic() - started))

    def _note(self, call: Any, seconds: float) -> None:
        with self._lock:
            self.open -= 1
            self.codes[call.code()] += 1
            self.slowest = max(self.slowest, seconds)


def _hang_by_a_lock(server: Node, seconds: float, flood: Flood) -> None:
    """Let every create wait for another one, who holds the table."""
    with server.connection() as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE mentees IN EXCLUSIVE MODE")
        flood.go_on(seconds)
        other.execute("ROLLBACK")


def _hang_by_a_freeze(server: Node, seconds: float, flood: Flood) -> None:
    server.freeze()
    flood.go_on(seconds)
    server.thaw()


@pytest.mark.parametrize("hang", [_hang_by_a_lock, _hang_by_a_freeze], ids=["lock", "freeze"])
def test_calls_end_and_nothing_piles_up_while_the_database_hangs(
    server: Node,
    running: Running,
    stub: AssignmentServiceStub,
    hang: Callable[[Node, float, Flood], None],
) -> None:
    worker = running.child("worker")
    warm = Flood(stub)
    warm.go_on(1)
    wait_until(lambda: warm.open == 0, PATIENCE_S)
    before = worker.memory_info().rss
    flood = Flood(stub)
    hang(server, HANGS_S, flood)
    ended = time.monotonic()
    _wait_until_well(stub)
    well_after = time.monotonic() - ended
    wait_until(lambda: flood.open == 0, PATIENCE_S)
    growth = (worker.memory_info().rss - before) / 2**20
    stored = server.execute("SELECT count(*) FROM assignments WHERE mentee_id LIKE 'flood-%'")
    answered = warm.codes[grpc.StatusCode.OK] + flood.codes[grpc.StatusCode.OK]
    codes = {code.name: number for code, number in flood.codes.items()}
    measured(
        f"{codes}, slowest call {flood.slowest:.2f} s, "
        f"longest hold {running.longest_hold():.2f} s, "
        f"well again after {well_after:.2f} s, memory {growth:+.1f} MiB"
    )
    assert flood.codes[grpc.StatusCode.DEADLINE_EXCEEDED] > 0
    assert flood.slowest < DEADLINE_S + PATIENCE_S
    assert running.longest_hold() < PATIENCE_S
    assert well_after < PATIENCE_S
    assert growth < MEMORY_MIB
    # What nobody waited for any more was not begun: the few that ran may have ended late.
    assert answered <= stored[0][0] <= answered + 20 * HANGS_S


def _wait_until_well(stub: AssignmentServiceStub) -> None:
    def well() -> bool:
        try:
            stub.CreateAssignment(CreateAssignmentRequest(**NEW_ASSIGNMENT), timeout=2)
        except grpc.RpcError:
            return False
        return True

    wait_until(well, 3 * PATIENCE_S)


def test_calls_end_while_no_connection_is_free(server: Node) -> None:
    database = Database(server.url, pool_size=1)
    with own_server(database) as channel:
        stub = AssignmentServiceStub(channel)
        request = CreateAssignmentRequest(**NEW_ASSIGNMENT)
        with database.read():
            started = time.monotonic()
            calls: list[Any] = [
                stub.CreateAssignment.future(request)
                for _ in range(THREADS[database.dialect].writes)
            ]
            codes = {call.exception(timeout=30).code() for call in calls}
            assert time.monotonic() - started < 2 * USUAL.pool_s + PATIENCE_S
        assert codes == {grpc.StatusCode.UNAVAILABLE}
        _wait_until_well(stub)
    assert server.execute("SELECT count(*) FROM assignments") == [(1,)]
    database.close()
