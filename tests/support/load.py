"""Callers that never give up a claim: what they were told is compared with what is stored."""

import http.client
import itertools
import json
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import httpx
from sqlalchemy import Connection, select

from peermentor import Client, PeermentorError
from peermentor_server.storage.tables import assignments, contacts
from support import openapi
from support.names import FULL_NAME
from support.torture import either

BASE = "/api/v1/assignments"
PEOPLE = dict.fromkeys(("peer_mentor_id", "coordinator_id", "org_id"), "load") | {
    "mentee_name": FULL_NAME
}
# After each call of a caller, so that other tests get on beside it.
PAUSE_S = either(0.03, 0)
_FIRST_CONTACT = datetime(2026, 1, 1, tzinfo=UTC)


class Failed(Exception):
    """A call that was not answered with success; the status is 0 when no answer came."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Secured:
    """How to call what speaks TLS, and wants to know who calls."""

    authority: bytes
    key: str


class RestCaller:
    """Calls the REST routes over one connection, and repeats nothing."""

    def __init__(self, address: str, *, keyed: bool, secured: Secured | None = None) -> None:
        self._address, self._keyed, self._secured = address, keyed, secured
        self._connection: http.client.HTTPConnection | None = None

    def create(self, mentee_id: str) -> str:
        body, headers = PEOPLE | {"mentee_id": mentee_id}, {}
        # Either way is as good as the other. But what only passes calls on, with TLS, looks into no
        # body.
        if self._keyed and (self._secured or random.random() < 0.5):
            headers["Idempotency-Key"] = mentee_id
        elif self._keyed:
            body["request_id"] = mentee_id
        return str(self.call("POST", BASE, body, headers)["assignment_id"])

    def update(self, assignment_id: str, value: str) -> None:
        self.call("PUT", f"{BASE}/{assignment_id}", {"coordinator_id": value}, {})

    def tell(self, assignment_id: str, contact: datetime) -> None:
        body = {"contact_date": contact.isoformat()}
        self.call("PUT", f"{BASE}/{assignment_id}/last-contact", body, {})

    def read(self, assignment_id: str) -> str:
        return str(self.call("GET", f"{BASE}/{assignment_id}", None, {})["coordinator_id"])

    def list(self) -> None:
        self.call("GET", f"{BASE}?limit=5", None, {})

    def call(
        self, method: str, path: str, body: Any, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Any:
        connection = self._connection or self._connect()
        self._connection = None
        data = None if body is None else json.dumps(body)
        sent = {**headers, "Content-Type": "application/json"}
        if self._secured:
            sent["Authorization"] = f"Bearer {self._secured.key}"
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Failed(f"{method} {type(error).__name__} {error}") from None
        # What stands before several gateways has answers of its own.
        if not self._secured:
            request = httpx.Request(method, f"http://{self._address}{path}", content=data)
            read = httpx.Response(response.status, headers=response.getheaders(), content=text)
            read.request = request
            openapi.check(read)
        if response.status != 200:
            connection.close()
            raise Failed(f"{method} {response.status} {text.decode()}", response.status)
        self._connection = connection
        return json.loads(text)

    def _connect(self) -> http.client.HTTPConnection:
        if self._secured is None:
            return http.client.HTTPConnection(self._address, timeout=30)
        context = ssl.create_default_context(cadata=self._secured.authority.decode())
        return http.client.HTTPSConnection(self._address, timeout=30, context=context)

    def close(self) -> None:
        if self._connection:
            self._connection.close()


def client(address: str, secured: Secured | None, retries: int = 0) -> Client:
    """Return a client of the Python package."""
    if secured is None:
        return Client(address, retries=retries)
    return Client(
        address, retries=retries, tls=True, ca_certificate=secured.authority, token=secured.key
    )


class GrpcCaller:
    """Calls over native gRPC. Without `keyed`, the client repeats nothing."""

    def __init__(self, address: str, *, keyed: bool, secured: Secured | None = None) -> None:
        retries = 20 if keyed else 0
        self._client = client(address, secured, retries=retries)

    def create(self, mentee_id: str) -> str:
        made = self._call(self._client.assignments.create, mentee_id=mentee_id, **PEOPLE)
        return str(made.assignment_id)

    def update(self, assignment_id: str, value: str) -> None:
        self._call(self._client.assignments.update, assignment_id, coordinator_id=value)

    def tell(self, assignment_id: str, contact: datetime) -> None:
        self._call(
            self._client.assignments.update_last_contact, assignment_id, contact_date=contact
        )

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


Caller = RestCaller | GrpcCaller


@dataclass
class Journal:
    """What one caller was told of the assignment that is its own."""

    name: str
    own: str = ""
    value: str = "load"
    """The value that was acknowledged last."""
    unknown: set[str] = field(default_factory=set)
    """Values that were sent since then, whose fate is unknown."""
    contacts: set[datetime] = field(default_factory=set)
    """The contacts that were acknowledged."""


class Load:
    """Several callers at work; each has an assignment of its own, and makes new ones."""

    def __init__(self, *, keyed: bool, pause_s: float) -> None:
        self.calls = 0
        self.failures: list[Failed] = []
        self.slowest = 0.0
        self.acknowledged_at: list[float] = []
        """When writes were acknowledged."""
        self._keyed, self._pause_s = keyed, pause_s
        self._stale: list[str] = []
        self._created: dict[str, str] = {}
        self._journals: list[Journal] = []
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    def work(self, name: str, caller: Caller) -> None:
        """Call until told to stop."""
        journal = Journal(name)
        if own := self._create(caller, name):
            journal.own = own
            self._journals.append(journal)
            for number in itertools.count():
                if self._stopped.is_set():
                    break
                self._create(caller, f"{name}-{number}")
                self._update(caller, journal, f"{name}-{number}")
                self._tell(caller, journal, _FIRST_CONTACT + timedelta(seconds=number))
                self._read(caller, journal)
                self._done(caller.list)
        caller.close()

    def _create(self, caller: Caller, mentee_id: str) -> str | None:
        """Create; one that is safe to repeat is repeated until it is answered."""
        while True:
            if made := self._done(caller.create, mentee_id):
                self._created[mentee_id] = made[0]
                self._acknowledged()
                return str(made[0])
            if not self._keyed or self._stopped.is_set():
                return None

    def _update(self, caller: Caller, journal: Journal, value: str) -> None:
        if self._done(caller.update, journal.own, value):
            journal.value, journal.unknown = value, set()
            self._acknowledged()
        else:
            journal.unknown.add(value)

    def _tell(self, caller: Caller, journal: Journal, contact: datetime) -> None:
        if self._done(caller.tell, journal.own, contact):
            journal.contacts.add(contact)
            self._acknowledged()

    def _read(self, caller: Caller, journal: Journal) -> None:
        found = self._done(caller.read, journal.own)
        if found and found[0] not in {journal.value, *journal.unknown}:
            self._stale.append(f"{journal.own}: {found[0]} instead of {journal.value}")

    def _acknowledged(self) -> None:
        self.acknowledged_at.append(time.monotonic())

    def _done(self, call: Any, *arguments: Any) -> tuple[Any] | None:
        started = time.monotonic()
        try:
            answer = (call(*arguments),)
        except Failed as failed:
            answer = None
            self.failures.append(failed)
            time.sleep(0.05)
        with self._lock:
            self.calls += 1
            self.slowest = max(self.slowest, time.monotonic() - started)
        time.sleep(self._pause_s)
        return answer

    def stop(self) -> None:
        """Let the callers end."""
        self._stopped.set()

    @property
    def summary(self) -> str:
        """How much was called."""
        return (
            f"{self.calls} calls, {len(self.failures)} failed, {len(self.acknowledged_at)} writes "
            f"acknowledged, slowest {self.slowest:.2f} s"
        )

    def first_after(self, moment: float) -> float:
        """Return how long after this moment the first write was acknowledged, in seconds."""
        later = [when for when in self.acknowledged_at if when > moment]
        return min(later, default=float("inf")) - moment

    def longest_gap(self) -> float:
        """Return the longest time without an acknowledged write, in seconds."""
        moments = sorted(self.acknowledged_at)
        return max(after - before for before, after in itertools.pairwise(moments))

    def assert_nothing_lost_or_doubled(self, connection: Connection) -> None:
        """Compare what was acknowledged with what is stored."""
        assert self._stale == []
        assert self.lost(connection) == []
        assert self.doubled(connection) == []

    def lost(self, connection: Connection) -> list[str]:
        """Return what was acknowledged and is not stored."""
        c = assignments.c
        rows = connection.execute(select(c.id, c.mentee_id, c.coordinator_id)).all()
        ids = {row.mentee_id: f"asgn_{row.id:03}" for row in rows}
        values = {f"asgn_{row.id:03}": row.coordinator_id for row in rows}
        told = {
            (f"asgn_{row.assignment_id:03}", row.contact_date)
            for row in connection.execute(select(contacts.c.assignment_id, contacts.c.contact_date))
        }
        missing = [mentee for mentee, own in self._created.items() if ids.get(mentee) != own]
        for journal in self._journals:
            found = values.get(journal.own)
            if found not in {journal.value, *journal.unknown}:
                missing.append(f"{journal.own}: {found} instead of {journal.value}")
            lost = (when for when in journal.contacts if (journal.own, when) not in told)
            missing += [f"{journal.own}: contact {when}" for when in sorted(lost)]
        return missing

    def doubled(self, connection: Connection) -> list[Any]:
        """Return what is stored more often than it was asked for."""
        mentees = connection.execute(select(assignments.c.mentee_id)).all()
        told = connection.execute(select(contacts.c.assignment_id, contacts.c.contact_date)).all()
        counts = Counter([tuple(row) for row in (*mentees, *told)])
        return [what for what, times in counts.items() if times > 1]


@contextmanager
def under_load(
    rest: str,
    grpc: str,
    *,
    keyed: bool = True,
    rest_callers: int = 4,
    grpc_callers: int = 2,
    pause_s: float = PAUSE_S,
    secured: Secured | None = None,
) -> Iterator[Load]:
    """Let callers work until the end of the block."""
    load = Load(keyed=keyed, pause_s=pause_s)
    callers: list[Caller] = []
    callers += [RestCaller(rest, keyed=keyed, secured=secured) for _ in range(rest_callers)]
    callers += [GrpcCaller(grpc, keyed=keyed, secured=secured) for _ in range(grpc_callers)]
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
