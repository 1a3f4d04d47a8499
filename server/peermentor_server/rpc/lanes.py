"""Where calls run: each kind of work has threads of its own, and a queue in front of them.

A call enters its lane when its whole request is there, and leaves it with its answer in hand:
who sends or reads slowly takes nothing from others. In the queue callers take turns, and when
it is full, whoever asks for most is refused first. So one caller can keep nobody else out.

Everything here runs in the event loop, but for the work itself. What waits for nothing and
takes no time is quickest there too, see AtOnce.
"""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote

from google.protobuf.message import Message

from peermentor_server.rules.errors import Overloaded
from peermentor_server.rules.pages import DEFAULT_LIMIT
from peermentor_server.services import idempotency
from peermentor_server.storage.engine.deadlines import Deadline, WouldWait
from peermentor_server.telemetry import metrics
from peermentor_server.timing import USUAL, Timing

# The calls of a lane, waiting and running. More would only wait for longer.
MAX_CALLS = 24
# How many calls a thread takes at once, where it gains by that.
MAX_TOGETHER = 16
# How often the threads of a lane are looked after: how long an answer may lie about, and how long
# they may have taken no other call before one more of them begins. Those who write wait for a
# disk, and several can do that at once.
LOOK_S = 0.005
LOOK_AT_WRITES_S = 0.001
# How long work in the event loop may take, during which no other call goes on; and for how long
# lanes take over when it has taken longer.
MAX_AT_ONCE_S = 0.01
MISTRUST_S = 5.0
# How soon after another a call comes in a crowd; how long the latest of it then waits for one
# more, and the first at most; how many make that worth while; and for how long it is not tried
# again when they were fewer.
CROWDED_S = 0.002
ALONE_S = 0.0003
GATHERED_FOR_S = 0.002
CROWD = 3
NO_CROWD_S = 0.03
# Filters of lists that few rows meet, however many there are.
SELECTIVE_FIELDS = (
    "org_id",
    "coordinator_id",
    "peer_mentor_id",
    "mentee_id",
    "organization_id",
    "assignment_id",
)
# Reads that can be of very many rows have one of these fields: lists, and sums.
OF_MANY_FIELDS = ("page", "org_id")
# Reads that expand a recurrence rule, which can take longer than MAX_AT_ONCE_S.
OCCURRENCES = "/peermentor.v1.TemplateService/ListOccurrences"
CALENDAR = "/peermentor.v1.TemplateService/GetTemplateCalendar"
# Numbered pages beyond as many rows cost more than others.
MAX_PASSED_OVER = 1000


class Caller(NamedTuple):
    """Who calls: an address, and one of its connections."""

    address: str
    connection: str

    @classmethod
    def of(cls, peer: str) -> "Caller":
        """Take apart a connection, as gRPC or the gateway names it: `127.0.0.1:1234`."""
        peer = unquote(peer.removeprefix("ipv4:").removeprefix("ipv6:"))
        return cls(peer.rpartition(":")[0], peer)


class Work(Protocol):
    """What a call does."""

    caller: Caller
    deadline: Deadline

    def run(self) -> Any:
        """Return the answer."""


class Outcome(NamedTuple):
    """An answer, or what was raised instead."""

    answer: Any
    error: Any = None

    @classmethod
    def of(cls, work: Work) -> "Outcome":
        """Run it."""
        try:
            return cls(work.run())
        except BaseException as raised:
            return cls(None, raised)


# Runs calls that came to a thread at once, and returns the outcome of each.
Together: TypeAlias = Callable[[Sequence[Any]], Sequence[Outcome]]


def one_by_one(calls: Sequence[Work]) -> list[Outcome]:
    """Run calls that have nothing to do with each other."""
    return [Outcome.of(call) for call in calls]


@dataclass(eq=False, slots=True)
class _Job:
    number: int
    work: Work
    answer: "asyncio.Future[Any]"


class Lane:
    """Threads for one kind of work.

    A thread that has done its call goes on with the next one. As long as it gets on no other
    thread begins, and answers are handed over several at once: the more often threads take turns
    at Python, the slower each of them is.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        together: Together | None = None,
        look_s: float = LOOK_S,
        timing: Timing = USUAL,
    ) -> None:
        """With `together`, a thread takes as many calls at once as are there, to run them so."""
        self.name = name
        self._look_s, self._wait_s = look_s, timing.lane_wait_s
        self._together = together or one_by_one
        self._at_once = MAX_TOGETHER if together else 1
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._threads = threads
        self._busy = 0
        self._numbers = itertools.count(1)
        # The event loop and the threads change what follows, one at a time.
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
        self._running: list[_Job] = []
        self._done: list[tuple[_Job, Outcome]] = []
        self._taken_at = 0.0
        # When each address and connection that has calls here was last served, by number.
        self._served: dict[str, int] = {}
        self._runs: set[Future[None]] = set()
        self._look: asyncio.TimerHandle | None = None

    async def run(self, work: Work) -> Any:
        """Return what `work` returns in a thread.

        Raises Overloaded if it cannot begin: there are too many calls, or it has waited for too
        long. Work that has begun is left to itself when its caller goes.
        """
        if work.deadline.remaining() <= 0:
            metrics.current.late.labels(self.name).inc()
            raise Overloaded
        loop = asyncio.get_running_loop()
        job = _Job(next(self._numbers), work, loop.create_future())
        with self._lock:
            self._waiting.append(job)
            is_full = len(self._waiting) + len(self._running) > MAX_CALLS
            greediest = self._greediest() if is_full else None
        if greediest is not None:
            self._refuse(greediest)
        self._dispatch(loop)
        patience = min(self._wait_s, work.deadline.remaining())
        expiry = loop.call_later(patience, self._refuse, job)
        try:
            return await job.answer
        except asyncio.CancelledError:
            self._withdraw(job)
            raise
        finally:
            expiry.cancel()

    def is_idle(self) -> bool:
        """Tell whether no call is here."""
        return not self._waiting and not self._running

    def close(self, patience_s: float = 0) -> None:
        """Take no more work, once the event loop has ended.

        What runs is waited for, but not for long: threads that hang are left to themselves.
        """
        with self._lock:
            self._waiting.clear()
        self._pool.shutdown(wait=False)
        wait(self._runs, patience_s)

    def _greediest(self) -> _Job:
        """Return the call to refuse: the latest of the connection that asks for most.

        Of all addresses, the one with the most calls; a newcomer where several have as many.
        """
        jobs = [*self._waiting, *self._running]
        addresses = Counter(job.work.caller.address for job in jobs)
        connections = Counter(job.work.caller.connection for job in jobs)
        return max(
            self._waiting,
            key=lambda job: (
                addresses[job.work.caller.address],
                connections[job.work.caller.connection],
                job.number,
            ),
        )

    def _refuse(self, job: _Job) -> None:
        if self._withdraw(job) and not job.answer.done():
            metrics.current.shed.labels(self.name).inc()
            job.answer.set_exception(Overloaded())

    def _withdraw(self, job: _Job) -> bool:
        with self._lock:
            if job not in self._waiting:
                return False
            self._waiting.remove(job)
            return True

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let a thread begin if there is work for it, and look again as long as one runs."""
        now = time.monotonic()
        is_stuck = now - self._taken_at > self._look_s
        if self._waiting and self._busy < self._threads and (is_stuck or not self._busy):
            self._busy += 1
            self._taken_at = now
            self._runs.add(self._pool.submit(self._work, loop))
        if self._look is None and self._busy:
            self._look = loop.call_later(self._look_s, self._look_again, loop)

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look = None
        self._hand_over()
        self._dispatch(loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while jobs := self._take():
            # The event loop, which refuses those that wait for too long, may be late itself.
            late = [job for job in jobs if job.work.deadline.remaining() <= 0]
            begun = [job for job in jobs if job not in late]
            if late:
                metrics.current.late.labels(self.name).inc(len(late))
            outcomes = self._together([job.work for job in begun])
            with self._lock:
                self._done += zip(begun, outcomes, strict=True)
                self._done += [(job, Outcome(None, Overloaded())) for job in late]
                is_time = self._at_once > 1 or len(self._done) >= MAX_TOGETHER
            if is_time:
                loop.call_soon_threadsafe(self._hand_over)
        loop.call_soon_threadsafe(self._rest, loop)

    def _take(self) -> list[_Job]:
        with self._lock:
            jobs = [self._next() for _ in range(min(self._at_once, len(self._waiting)))]
            self._running += jobs
            self._taken_at = time.monotonic()
        return jobs

    def _next(self) -> _Job:
        job = min(self._waiting, key=self._turn) if len(self._waiting) > 1 else self._waiting[0]
        self._waiting.remove(job)
        self._served |= dict.fromkeys(job.work.caller, next(self._numbers))
        return job

    def _turn(self, job: _Job) -> tuple[int, int, int]:
        """Order calls by when their address, and then their connection, was served last."""
        address, connection = (self._served.get(name, 0) for name in job.work.caller)
        return address, connection, job.number

    def _hand_over(self) -> None:
        with self._lock:
            done, self._done = self._done, []
            for job, _ in done:
                self._running.remove(job)
            # Nobody waits, so nobody's turn has to be known. Else the names would pile up.
            if not self._waiting:
                self._served.clear()
        for job, outcome in done:
            if job.answer.done():
                continue
            if outcome.error is None:
                job.answer.set_result(outcome.answer)
            else:
                job.answer.set_exception(outcome.error)

    def _rest(self, loop: asyncio.AbstractEventLoop) -> None:
        self._hand_over()
        self._busy -= 1
        self._runs = {run for run in self._runs if not run.done()}
        self._dispatch(loop)


class AtOnce:
    """Work that is done in the event loop itself, for as long as it is short and need not wait.

    Otherwise it is done in a lane: at first, and for a while what comes after it.

    While calls come thick and fast, they are gathered for a moment and done one after the other.
    Between two calls gRPC, the loop and the kernel have their turn, and after that the same work
    takes two to five times as long: nothing that it needs is at hand for the processor any more.
    """

    def __init__(self, otherwise: Lane) -> None:
        self._lane = otherwise
        self.name = otherwise.name
        self._not_before = 0.0
        self._was_long = False
        self._gathered: list[tuple[Work, asyncio.Future[Any]]] = []
        self._came_at = 0.0
        self._ended_at = 0.0
        self._no_crowd_until = 0.0

    async def run(self, work: Work) -> Any:
        """Return what `work` returns; as Lane.run."""
        now = time.monotonic()
        if now >= self._not_before and work.deadline.remaining() > 0:
            try:
                if self._gathered or self._is_crowded(now):
                    return await self._gather(work, now)
                return self._run(work)
            except WouldWait:
                pass
        return await self._lane.run(work)

    def _is_crowded(self, now: float) -> bool:
        return now - self._ended_at < CROWDED_S and now >= self._no_crowd_until

    def _gather(self, work: Work, now: float) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._gathered.append((work, answer))
        self._came_at = now
        if len(self._gathered) == 1:
            loop.call_soon(self._await_more, loop, now + GATHERED_FOR_S)
        return answer

    def _await_more(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        if time.monotonic() < min(self._came_at + ALONE_S, until):
            # Not by a timer: those of the loop tick in milliseconds.
            loop.call_soon(self._await_more, loop, until)
        else:
            self._run_gathered()

    def _run_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        began = time.monotonic()
        if len(gathered) < CROWD:
            # They would have been done sooner one by one.
            self._no_crowd_until = began + NO_CROWD_S
        for work, answer in gathered:
            if answer.done():
                continue
            if self._ended_at - began > MAX_AT_ONCE_S:
                answer.set_exception(WouldWait())
                continue
            try:
                answer.set_result(self._run(work))
            except Exception as error:
                answer.set_exception(error)

    def _run(self, work: Work) -> Any:
        # Of the processor: on a busy machine the clock goes on for other reasons too.
        began = time.thread_time()
        try:
            return work.run()
        except WouldWait:
            self._mistrust()
            raise
        finally:
            was_long, self._was_long = self._was_long, time.thread_time() - began > MAX_AT_ONCE_S
            self._ended_at = time.monotonic()
            # One slow read says little: the first one connects, and compiles its statement.
            if was_long and self._was_long:
                self._mistrust()

    def _mistrust(self) -> None:
        self._not_before = time.monotonic() + MISTRUST_S


class Threads(NamedTuple):
    """How many threads each lane has, and whether short reads need none."""

    reads: int
    scans: int
    writes: int
    at_once: bool = False


class Lanes:
    """The lanes of a worker: a call that waits for others of its kind holds up no other kind."""

    def __init__(
        self, threads: Threads, together: Together | None = None, timing: Timing = USUAL
    ) -> None:
        """`together` runs the writes that came to a thread at once."""
        self._reads = Lane("reads", threads.reads, timing=timing)
        self._scans = Lane("scans", threads.scans, timing=timing)
        self._writes = Lane("writes", threads.writes, together, LOOK_AT_WRITES_S, timing)
        # One file at a time: several would end no sooner, as they take nothing but the processor.
        self._calendars = Lane("calendars", 1, timing=timing)
        self._all = (self._reads, self._scans, self._writes, self._calendars)
        self._expanding = {OCCURRENCES: self._reads, CALENDAR: self._calendars}
        self._short_reads: Lane | AtOnce = self._reads
        self._counts: Lane | AtOnce = self._scans
        if threads.at_once:
            self._short_reads, self._counts = AtOnce(self._reads), AtOnce(self._scans)

    def of(self, method: str, request: Any) -> Lane | AtOnce:
        """Return the lane in which to run a call."""
        if method not in idempotency.READS:
            return self._writes
        if method in self._expanding:
            return self._expanding[method]
        fields = request.DESCRIPTOR.fields_by_name if isinstance(request, Message) else {}
        if not any(name in fields for name in OF_MANY_FIELDS):
            return self._short_reads
        is_list = "page" in fields
        if is_list and _passes_over_many(request):
            return self._scans
        if _is_selective(request, fields):
            return self._short_reads
        # To sum up takes longer than to count.
        return self._counts if is_list else self._scans

    def are_idle(self) -> bool:
        """Tell whether no call is in any of them."""
        return all(lane.is_idle() for lane in self._all)

    def close(self, patience_s: float = 0) -> None:
        """Take no more work; see Lane.close."""
        for lane in self._all:
            lane.close(patience_s)


def _passes_over_many(request: Any) -> bool:
    return bool(request.page * max(request.limit, DEFAULT_LIMIT) > MAX_PASSED_OVER)


def _is_selective(request: Any, fields: Container[str]) -> bool:
    """Tell whether few rows meet a filter; otherwise very many may have to be counted."""
    return any(name in fields and request.HasField(name) for name in SELECTIVE_FIELDS)
