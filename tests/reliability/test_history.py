"""Random calls with random faults, and a small model of the service that must explain them."""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from peermentor import Client, NotFound, PeermentorError
from peermentor_server.rules.errors import DomainError
from peermentor_server.storage.engine.database import Database
from support.databases import Postgres, locked, url_of
from support.history import MISSING, REFUSED, UNKNOWN, Call, Fields, is_explained
from support.load import PAUSE_S, PEOPLE, Failed, RestCaller
from support.serving import Running, served
from support.torture import either, measured

NO_ANSWER = "no answer"
START = datetime(2026, 3, 1, tzinfo=UTC)
CALLERS = 4
SUBJECTS = 2
CALLS_OF_A_SUBJECT = 24
# The search for an explanation takes much longer the more calls have no answer.
UNKNOWN_OF_A_SUBJECT = 4


# --- The checker itself ---


def call(kind: Any, value: Any, start: float, end: float, answer: Any) -> Call:
    return Call(kind, value, start, end, answer)


A, B = ("a", None), ("b", None)


@pytest.mark.parametrize(
    ("history", "explained"),
    [
        ([call("update", "b", 0, 1, B), call("read", None, 2, 3, B)], True),
        # A lost update, and a stale read.
        ([call("update", "b", 0, 1, B), call("read", None, 2, 3, A)], False),
        # While the update runs, either may be read; but not back and forth.
        ([call("update", "b", 0, 9, B), call("read", None, 1, 2, A)], True),
        (
            [
                call("update", "b", 0, 9, B),
                call("read", None, 1, 2, B),
                call("read", None, 3, 4, A),
            ],
            False,
        ),
        # Without an answer, it may have happened or not.
        ([Call("update", "b", 0), call("read", None, 2, 3, A)], True),
        ([Call("update", "b", 0), call("read", None, 2, 3, B)], True),
        ([Call("update", "b", 2), call("read", None, 0, 1, B)], False),
        # Once told of a failure, it has happened before that or never does.
        ([call("update", "b", 0, 1, UNKNOWN), call("read", None, 2, 3, B)], True),
        ([call("update", "b", 0, 1, UNKNOWN), call("read", None, 2, 3, A)], True),
        (
            [
                call("update", "b", 0, 1, UNKNOWN),
                call("read", None, 2, 3, A),
                call("read", None, 4, 5, B),
            ],
            False,
        ),
        # And when none of it was done, it never does.
        ([call("update", "b", 0, 1, REFUSED), call("read", None, 2, 3, A)], True),
        ([call("update", "b", 0, 1, REFUSED), call("read", None, 2, 3, B)], False),
        # What was overwritten never comes back.
        (
            [
                call("update", "b", 0, 9, B),
                call("read", None, 1, 1.5, B),
                call("update", "c", 2, 3, ("c", None)),
                call("read", None, 4, 5, B),
            ],
            False,
        ),
        # Gone is gone.
        ([call("delete", None, 0, 1, None), call("read", None, 2, 3, MISSING)], True),
        ([call("delete", None, 0, 1, None), call("read", None, 2, 3, A)], False),
        ([call("read", None, 0, 1, MISSING)], False),
    ],
)
def test_the_model_tells_right_from_wrong(history: list[Call], *, explained: bool) -> None:
    assert is_explained(history, ("a", None)) is explained


# --- The service ---


class GrpcCaller:
    """Calls over native gRPC, by the client, which repeats what is safe to repeat."""

    def __init__(self, address: str) -> None:
        self._client = Client(address)

    def create(self, key: str) -> str:
        fields: dict[str, Any] = PEOPLE | {"mentee_id": key, "request_id": key}
        return self._client.assignments.create(**fields).assignment_id

    def call(self, assignment_id: str, kind: str, value: Any) -> Any:
        """Return the fields of the answer, MISSING, or NO_ANSWER."""
        assignments = self._client.assignments
        calls: dict[str, Callable[[], Any]] = {
            "read": lambda: assignments.get(assignment_id),
            "update": lambda: assignments.update(assignment_id, coordinator_id=value),
            "contact": lambda: assignments.update_last_contact(assignment_id, contact_date=value),
            "delete": lambda: assignments.delete(assignment_id),
        }
        try:
            made = calls[kind]()
        except NotFound:
            return MISSING
        except PeermentorError:
            # It may be the client's own, who has asked more than once.
            return NO_ANSWER
        return made and (made.coordinator_id, made.last_contact_date)

    def close(self) -> None:
        self._client.close()


class TranscodedCaller:
    """Calls the REST routes, and repeats nothing."""

    def __init__(self, address: str) -> None:
        self._rest = RestCaller(address, keyed=True)

    def create(self, key: str) -> str:
        return self._rest.create(key)

    def call(self, assignment_id: str, kind: str, value: Any) -> Any:
        """Return the fields of the answer, MISSING, REFUSED, UNKNOWN, or NO_ANSWER."""
        path = f"/api/v1/assignments/{assignment_id}"
        calls: dict[str, tuple[str, str, Any]] = {
            "read": ("GET", path, None),
            "update": ("PUT", path, {"coordinator_id": value}),
            "contact": ("PUT", f"{path}/last-contact", {"contact_date": str(value)}),
            "delete": ("DELETE", path, None),
        }
        if kind == "contact":
            calls["contact"][2]["contact_date"] = value.isoformat()
        try:
            made = self._rest.call(*calls[kind])
        except Failed as failed:
            return _told(failed.status)
        if kind == "delete":
            return None
        last = made["last_contact_date"]
        return made["coordinator_id"], last and datetime.fromisoformat(last)

    def close(self) -> None:
        self._rest.close()


def _told(status: int) -> str:
    # Nothing explains an internal error.
    known = {0: NO_ANSWER, 404: MISSING, 429: REFUSED, 500: "internal error"}
    return known.get(status, UNKNOWN)


Caller = GrpcCaller | TranscodedCaller


@dataclass
class Subject:
    """An assignment that several callers use at the same time, and what they did to it."""

    assignment_id: str
    calls: list[Call] = field(default_factory=list)

    def is_full(self) -> bool:
        """Tell whether there is enough to explain."""
        unknown = sum(call.answer == UNKNOWN for call in self.calls)
        # Some of these still run.
        return len(self.calls) >= CALLS_OF_A_SUBJECT or unknown >= UNKNOWN_OF_A_SUBJECT + CALLERS


class Campaign:
    """Callers at work on a few assignments, which are replaced by new ones as they go."""

    def __init__(self) -> None:
        self.subjects: list[Subject] = []
        self.finished: list[Subject] = []
        self.faults: list[float] = []
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._numbers = iter(range(10**9))

    def next_number(self) -> int:
        with self._lock:
            return next(self._numbers)

    def work(self, caller: Caller) -> None:
        """Call at random until told to stop."""
        while not self.stopped.is_set():
            self._make_one_call(self._subject(caller), caller)
        caller.close()

    def _subject(self, caller: Caller) -> Subject:
        with self._lock:
            old = [each for each in self.subjects if each.is_full()]
            self.finished += old
            self.subjects = [each for each in self.subjects if each not in old]
            if len(self.subjects) >= SUBJECTS:
                return random.choice(self.subjects)
        made = Subject(self._create(caller, f"subject{self.next_number()}"))
        with self._lock:
            self.subjects.append(made)
        return made

    def _create(self, caller: Caller, key: str) -> str:
        deadline = time.monotonic() + 60
        while True:
            try:
                return caller.create(key)
            except (PeermentorError, Failed):
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def _make_one_call(self, subject: Subject, caller: Caller) -> None:
        number = self.next_number()
        kinds: list[tuple[Any, Any]] = [
            ("read", None),
            ("update", f"value{number}"),
            ("contact", START + timedelta(seconds=number)),
            ("delete", None),
        ]
        ((kind, value),) = random.choices(kinds, [6, 5, 3, 0.4])
        made = Call(kind, value, time.monotonic())
        with self._lock:
            subject.calls.append(made)
        answer = caller.call(subject.assignment_id, kind, value)
        if answer != NO_ANSWER:
            made.end, made.answer = time.monotonic(), answer
        time.sleep(PAUSE_S)

    def check(self) -> str:
        """Look for an explanation of every history; say how many calls there were."""
        first: Fields = ("load", None)
        subjects = [*self.finished, *self.subjects]
        for subject in subjects:
            assert is_explained(subject.calls, first), subject
        calls = [each for subject in subjects for each in subject.calls]
        unknown = sum(each.answer == UNKNOWN for each in calls)
        return (
            f"{len(calls)} calls on {len(subjects)} assignments, {unknown} without an answer, "
            f"{len(self.faults)} faults"
        )


@contextmanager
def campaign(running: Running) -> Iterator[Campaign]:
    made = Campaign()
    callers: list[Caller] = [
        GrpcCaller(running.grpc),
        *(TranscodedCaller(running.rest) for _ in range(CALLERS - 1)),
    ]
    threads = [threading.Thread(target=made.work, args=(caller,)) for caller in callers]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        made.stopped.set()
        for thread in threads:
            thread.join(60)


def kill_a_worker(running: Running) -> None:
    random.choice(running.named("worker")).kill()


def kill_the_gateway(running: Running) -> None:
    for process in running.named("envoy"):
        process.kill()


def replace_workers(running: Running) -> None:
    running.process.send_signal(signal.SIGUSR1)


def freeze_a_worker(running: Running) -> None:
    frozen = random.choice(running.named("worker"))
    frozen.suspend()
    # For a moment, or so long that others are asked.
    time.sleep(random.choice([1, 1, 7]))
    frozen.resume()


def lock_the_rows(running: Running) -> None:
    """Let writes wait for another program, for longer than they do."""
    with suppress(DomainError), locked(running.environment["PEERMENTOR_DATABASE_URL"]):
        time.sleep(random.choice([1, 5]))


Fault = Callable[[Running], None]
FAULTS: list[Fault] = [
    kill_a_worker,
    kill_a_worker,
    kill_the_gateway,
    replace_workers,
    freeze_a_worker,
    lock_the_rows,
]


def shuffled_for(seconds: float, faults: list[Fault]) -> Iterator[Fault]:
    """Give all of them in random order, and again until so much time has passed."""
    end = time.monotonic() + seconds
    while True:
        yield from random.sample(faults, len(faults))
        if time.monotonic() >= end:
            return


def pause() -> None:
    """Let calls be made between faults."""
    time.sleep(random.uniform(either(0.5, 1), either(2, 5)))


@pytest.mark.timeout(either(400, 7200))
def test_every_history_has_an_explanation(
    kind: str, own: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    faults = list(FAULTS)
    if kind == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        faults.append(lambda _: postgres.break_connections())
    with served(url_of(own), tmp_path, workers=2) as running:
        with campaign(running) as made:
            for fault in shuffled_for(either(0, 900), faults):
                pause()
                made.faults.append(time.monotonic())
                # Whom it is meant for may just be being started again.
                with suppress(psutil.NoSuchProcess, IndexError):
                    fault(running)
            pause()
        measured(made.check())
    assert made.faults
