"""Callers that never give up a claim: what they were told is compared with what is stored."""

import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from sqlalchemy import func, select

from peermentor import Client, PeermentorError
from peermentor_server.storage.database import Database
from peermentor_server.storage.tables import assignments
from support.names import FULL_NAME

BASE = "/api/v1/assignments"
PEOPLE = dict.fromkeys(("peer_mentor_id", "coordinator_id", "org_id"), "load") | {
    "mentee_name": FULL_NAME
}


class Failed(Exception):
    """A call that was not answered with success; the status is 0 when no answer came."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class RestCaller:
    """Calls the REST routes over one connection, and repeats nothing."""

    def __init__(self, address: str, *, keyed: bool) -> None:
        self._address, self._keyed = address, keyed
        self._connection: http.client.HTTPConnection | None = None

    def create(self, mentee_id: str) -> str:
        body, headers = PEOPLE | {"mentee_id": mentee_id}, {}
        # Either way is as good as the other.
        if self._keyed and random.random() < 0.5:
            headers["Idempotency-Key"] = mentee_id
        elif self._keyed:
            body["request_id"] = mentee_id
        return str(self.call("POST", BASE, body, headers)["assignment_id"])

    def update(self, assignment_id: str, value: str) -> None:
        self.call("PUT", f"{BASE}/{assignment_id}", {"coordinator_id": value}, {})

    def read(self, assignment_id: str) -> str:
        return str(self.call("GET", f"{BASE}/{assignment_id}", None, {})["coordinator_id"])

    def list(self) -> None:
        self.call("GET", f"{BASE}?limit=5", None, {})

    def call(
        self, method: str, path: str, body: Any, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Any:
        connection = self._connection or http.client.HTTPConnection(self._address, timeout=30)
        self._connection = None
        data = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, data, {**headers, "Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Failed(f"{method} {type(error).__name__} {error}") from None
        if response.status != 200:
            connection.close()
            raise Failed(f"{method} {response.status} {text.decode()}", response.status)
        self._connection = connection
        return json.loads(text)

    def close(self) -> None:
        if self._connection:
            self._connection.close()


class GrpcCaller:
    """Calls over native gRPC. Without `keyed`, the client repeats nothing."""

    def __init__(self, address: str, *, keyed: bool) -> None:
        self._client = Client(address, retries=20 if keyed else 0)

    def create(self, mentee_id: str) -> str:
        made = self._call(self._client.assignments.create, mentee_id=mentee_id, **PEOPLE)
        return str(made.assignment_id)

    def update(self, assignment_id: str, value: str) -> None:
        self._call(self._client.assignments.update, assignment_id, coordinator_id=value)

    def read(self, assignment_id: str) -> str:
        return str(self._call(self._client.assignments.get, assignment_id).coordinator_id)

    def list(self) -> None:
        self._call(self._client.assignments.list(limit=5).page, 1)

    def _call(self, method: Any, *arguments: Any, **fields: Any) -> Any:
        try:
            return method(*arguments, **fields)
        except PeermentorError as error:
            raise Failed(f"gRPC {error.code} {error}") from None

    def close(self) -> None:
        self._client.close()


class Load:
    """Several callers at work; each has an assignment of its own, and makes new ones."""

    def __init__(self) -> None:
        self.calls = 0
        self.failures: list[str] = []
        self.stale: list[str] = []
        self.slowest = 0.0
        self._created: set[str] = set()
        self._tried: set[str] = set()
        self._values: dict[str, tuple[str, set[str]]] = {}
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    def work(self, name: str, caller: RestCaller | GrpcCaller) -> None:
        """Call until told to stop."""
        made = self._done(caller.create, name)
        if made is None:
            return
        own, value = made[0], "load"
        # What may be stored: the value last acknowledged, and those whose fate is unknown.
        unknown: set[str] = set()
        for number in itertools.count():
            if self._stopped.is_set():
                break
            wanted = f"{name}-{number}"
            if self._done(caller.update, own, wanted):
                value, unknown = wanted, set()
            else:
                unknown.add(wanted)
            with_answer = self._done(caller.read, own)
            if with_answer and with_answer[0] not in {value, *unknown}:
                self.stale.append(f"{own}: {with_answer[0]} instead of {value}")
            self._tried.add(wanted)
            if self._done(caller.create, wanted):
                self._created.add(wanted)
            self._done(caller.list)
        self._values[own] = value, unknown
        caller.close()

    def _done(self, call: Any, *arguments: Any) -> tuple[Any] | None:
        started = time.monotonic()
        try:
            answer = (call(*arguments),)
        except Failed as failed:
            answer = None
            self.failures.append(f"{call.__name__}: {failed}")
        with self._lock:
            self.calls += 1
            self.slowest = max(self.slowest, time.monotonic() - started)
        return answer

    def stop(self) -> None:
        """Let the callers end."""
        self._stopped.set()

    @property
    def summary(self) -> str:
        """How much was called."""
        return f"{self.calls} calls, {len(self.failures)} failed, slowest {self.slowest:.2f} s"

    def assert_nothing_lost_or_doubled(self, database: Database) -> None:
        """Compare what was acknowledged with what is stored."""
        query = select(assignments.c.mentee_id, func.count()).group_by(assignments.c.mentee_id)
        with database.read() as connection:
            counts = {str(mentee): int(count) for mentee, count in connection.execute(query)}
        with database.read() as connection:
            rows = connection.execute(select(assignments.c.id, assignments.c.coordinator_id)).all()
        stored = {f"asgn_{row.id:03}": row.coordinator_id for row in rows}
        assert self._created - counts.keys() == set(), "lost"
        assert [each for each, count in counts.items() if count > 1] == [], "doubled"
        assert self.stale == []
        for own, (value, unknown) in self._values.items():
            assert stored[own] in {value, *unknown}, own


@contextmanager
def under_load(
    rest: str, grpc: str, *, keyed: bool = True, rest_callers: int = 4, grpc_callers: int = 2
) -> Iterator[Load]:
    """Let callers work until the end of the block."""
    load = Load()
    callers: list[RestCaller | GrpcCaller] = []
    callers += [RestCaller(rest, keyed=keyed) for _ in range(rest_callers)]
    callers += [GrpcCaller(grpc, keyed=keyed) for _ in range(grpc_callers)]
    threads = [
        threading.Thread(target=load.work, args=(f"caller{number}", caller))
        for number, caller in enumerate(callers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop()
        for thread in threads:
            thread.join(60)
