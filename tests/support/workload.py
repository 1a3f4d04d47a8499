"""Callers of the REST API who write without a pause, and remember what was acknowledged.

Each writer has an assignment of its own, on which it counts and tells of contacts, and makes
new assignments by keyed POSTs. A POST that fails is sent again under its key until it is
answered; a PUT that fails is left, and may or may not have been stored.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from support.factories import NEW_ASSIGNMENT

Execute = Callable[[str], list[tuple[Any, ...]]]

_FIRST_CONTACT = datetime(2026, 1, 1, tzinfo=UTC)
_TIMEOUT_S = 15


@dataclass
class Journal:
    """What one caller was told."""

    name: str
    created: dict[str, str] = field(default_factory=dict)
    """The ids of acknowledged assignments by their mentees, who stand for the keys."""
    counted: int = 0
    """The last count that was acknowledged."""
    sent: int = 0
    """The last count that was sent."""
    contacts: set[datetime] = field(default_factory=set)
    """The contacts that were acknowledged."""
    acknowledged_at: list[float] = field(default_factory=list)
    errors: list[tuple[float, int, str]] = field(default_factory=list)
    """When a call failed, with which status and body; 0 without an answer."""
    slowest: float = 0.0
    """Seconds of the call that took longest."""


class Load:
    """Writers and readers at work."""

    def __init__(self, url: str, writers: int, readers: int) -> None:
        self._url = url
        self._stopping = threading.Event()
        self.journals = [Journal(f"writer-{number}") for number in range(writers)]
        self.readers = [Journal(f"reader-{number}") for number in range(readers)]
        self._threads = [
            *(threading.Thread(target=self._write, args=[each]) for each in self.journals),
            *(threading.Thread(target=self._read, args=[each]) for each in self.readers),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let every caller finish what it is at."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * _TIMEOUT_S)

    @property
    def errors(self) -> list[tuple[float, int, str]]:
        return sorted(error for each in self._all() for error in each.errors)

    @property
    def slowest(self) -> float:
        return max(each.slowest for each in self._all())

    @property
    def acknowledged(self) -> int:
        return len(self.acknowledged_at)

    @property
    def acknowledged_at(self) -> list[float]:
        """When writes were acknowledged."""
        return sorted(when for each in self.journals for when in each.acknowledged_at)

    def first_after(self, moment: float) -> float:
        """Return how long after this moment the first write was acknowledged, in seconds."""
        return next((when for when in self.acknowledged_at if when > moment), float("inf")) - moment

    def longest_gap(self) -> float:
        """Return the longest time without an acknowledged write, in seconds."""
        moments = self.acknowledged_at
        return max(after - before for before, after in itertools.pairwise(moments))

    def _all(self) -> list[Journal]:
        return [*self.journals, *self.readers]

    def _write(self, journal: Journal) -> None:
        with httpx.Client(base_url=self._url, timeout=_TIMEOUT_S) as client:
            self._create(client, journal, journal.name)
            while not self._stopping.is_set():
                journal.sent += 1
                self._create(client, journal, f"{journal.name}-{journal.sent}")
                self._count(client, journal)
                self._tell(client, journal)

    def _create(self, client: httpx.Client, journal: Journal, mentee: str) -> None:
        body = {**NEW_ASSIGNMENT, "mentee_id": mentee}
        while True:
            answer = _call(
                client, journal, "POST", "", json=body, headers={"Idempotency-Key": mentee}
            )
            if answer is not None:
                journal.created[mentee] = answer["assignment_id"]
                return
            if self._stopping.is_set():
                return

    def _count(self, client: httpx.Client, journal: Journal) -> None:
        own = journal.created.get(journal.name)
        body = {"coordinator_id": f"count-{journal.sent}"}
        if _call(client, journal, "PUT", f"/{own}", json=body) is not None:
            journal.counted = journal.sent

    def _tell(self, client: httpx.Client, journal: Journal) -> None:
        own = journal.created.get(journal.name)
        when = _FIRST_CONTACT + timedelta(seconds=journal.sent)
        body = {"contact_date": when.isoformat()}
        if _call(client, journal, "PUT", f"/{own}/last-contact", json=body) is not None:
            journal.contacts.add(when)

    def _read(self, journal: Journal) -> None:
        with httpx.Client(base_url=self._url, timeout=_TIMEOUT_S) as client:
            while not self._stopping.wait(0.02):
                _call(client, journal, "GET", "?limit=2")


def _call(
    client: httpx.Client, journal: Journal, method: str, path: str, **more: Any
) -> dict[str, Any] | None:
    """Return the answer, or note the error and return None."""
    started = time.monotonic()
    try:
        response = client.request(method, f"/api/v1/assignments{path}", **more)
        status, text = response.status_code, response.text
    except httpx.TransportError as error:
        status, text = 0, type(error).__name__
    ended = time.monotonic()
    journal.slowest = max(journal.slowest, ended - started)
    if status != 200:
        journal.errors.append((ended, status, f"{method} {text}"))
        time.sleep(0.05)
        return None
    if method != "GET":
        journal.acknowledged_at.append(ended)
    answer: dict[str, Any] = response.json()
    return answer


@contextmanager
def load(url: str, writers: int = 6, readers: int = 1) -> Iterator[Load]:
    """Let callers work until the end of the block."""
    work = Load(url, writers, readers)
    work.start()
    try:
        yield work
    finally:
        work.stop()


def lost(journals: Iterable[Journal], execute: Execute) -> list[str]:
    """Return what was acknowledged and is not there; `execute` asks the server that is left."""
    rows = execute("SELECT mentee_id, id, coordinator_id FROM assignments")
    names = {mentee: f"asgn_{key:03d}" for mentee, key, _ in rows}
    counts = {mentee: int(count[6:]) for mentee, _, count in rows if count.startswith("count-")}
    told = set(
        execute(
            "SELECT mentee_id, contact_date FROM contacts "
            "JOIN assignments ON assignments.id = contacts.assignment_id"
        )
    )
    missing = []
    for journal in journals:
        missing += [each for each, name in journal.created.items() if names.get(each) != name]
        if not journal.counted <= (count := counts.get(journal.name, 0)) <= journal.sent:
            missing.append(f"{journal.name}: {journal.counted} was counted, {count} is there")
        missing += [
            f"{journal.name}: contact {when}"
            for when in sorted(journal.contacts)
            if (journal.name, when) not in told
        ]
    return missing


def doubled(execute: Execute) -> list[Any]:
    """Return what was stored more often than it was asked for."""
    mentees = Counter(mentee for (mentee,) in execute("SELECT mentee_id FROM assignments"))
    contacts = Counter(execute("SELECT assignment_id, contact_date FROM contacts"))
    return [what for counter in (mentees, contacts) for what, times in counter.items() if times > 1]
