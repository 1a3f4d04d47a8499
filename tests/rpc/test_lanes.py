"""Lanes: who runs when, and who is refused."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.message import Message

from peermentor.v1.assignments_pb2 import (
    CreateAssignmentRequest,
    GetAssignmentRequest,
    GetAssignmentSummaryRequest,
    ListAssignmentsRequest,
    ListContactsRequest,
    ListOverdueAssignmentsRequest,
    UpdateAssignmentRequest,
)
from peermentor.v1.templates_pb2 import (
    GetTemplateCalendarRequest,
    GetTemplateRequest,
    ListOccurrencesRequest,
    ListTemplatesByCoordinatorRequest,
    ListTemplatesRequest,
)
from peermentor_server.rpc import lanes
from peermentor_server.rpc.lanes import (
    LOOK_S,
    MAX_AT_ONCE_S,
    MAX_CALLS,
    AtOnce,
    Caller,
    Lane,
    Lanes,
    Threads,
)
from peermentor_server.rules.errors import Overloaded
from peermentor_server.storage.engine.deadlines import Deadline, WouldWait
from support.moves import Moves

ONE, OTHER = Caller("10.0.0.1", "10.0.0.1:1"), Caller("10.0.0.2", "10.0.0.2:1")


@pytest.mark.parametrize("peer", ["10.0.0.1:1", "ipv4:10.0.0.1:1"])
def test_grpc_and_the_gateway_name_a_connection_in_their_ways(peer: str) -> None:
    assert Caller.of(peer) == ONE


@pytest.mark.parametrize("peer", ["[2001:db8::1]:1", "ipv6:%5B2001:db8::1%5D:1"])
def test_so_they_do_with_newer_addresses(peer: str) -> None:
    assert Caller.of(peer) == Caller("[2001:db8::1]", "[2001:db8::1]:1")


@dataclass
class Call:
    """A call, and what it does."""

    caller: Caller
    deadline: Deadline
    work: Callable[[], str]

    def run(self) -> str:
        """Do it."""
        return self.work()


class Crowd:
    """Callers of a lane whose one busy thread is held up until they are let go."""

    def __init__(self, threads: int) -> None:
        # No other thread of it begins meanwhile.
        self.lane = Lane("crowd", threads, look_s=60)
        self.begun: list[Caller] = []
        self._let_go = threading.Event()
        self._calls: list[asyncio.Task[str]] = []

    async def comes(self, caller: Caller, count: int = 1, patience_s: float = 60) -> None:
        """Let a caller make calls, one after the other, and wait until they have arrived."""
        for _ in range(count):
            call = Call(caller, Deadline(patience_s), lambda: self._work(caller))
            self._calls.append(asyncio.create_task(self.lane.run(call)))
            await asyncio.sleep(0)

    def _work(self, caller: Caller) -> str:
        self.begun.append(caller)
        assert self._let_go.wait(20)
        return "done"

    def give_up(self, index: int) -> None:
        """Let one of the calls be cancelled."""
        self._calls[index].cancel()

    def is_over(self, index: int) -> bool:
        """Tell whether one of the calls has ended."""
        return self._calls[index].done()

    def let_go(self) -> None:
        """Let the thread go on."""
        self._let_go.set()

    async def outcomes(self) -> list[object]:
        """Let all of them go; return how each call ended."""
        self.let_go()
        ended = await asyncio.gather(*self._calls, return_exceptions=True)
        self.lane.close()
        return [type(each) if isinstance(each, BaseException) else each for each in ended]


def run(scene: Callable[[Crowd], Awaitable[None]], threads: int = 1) -> None:
    async def play() -> None:
        await scene(Crowd(threads))

    asyncio.run(play())


def test_callers_take_turns() -> None:
    async def scene(crowd: Crowd) -> None:
        await crowd.comes(ONE, 10)
        await crowd.comes(OTHER, 3)
        assert await crowd.outcomes() == ["done"] * 13
        assert crowd.begun[:7] == [ONE, OTHER, ONE, OTHER, ONE, OTHER, ONE]

    run(scene)


def test_an_address_gets_no_more_turns_by_more_connections() -> None:
    async def scene(crowd: Crowd) -> None:
        for port in range(10):
            await crowd.comes(Caller("10.0.0.1", f"10.0.0.1:{port}"))
        await crowd.comes(OTHER, 3)
        await crowd.outcomes()
        assert [each.address for each in crowd.begun[:7]] == [*[ONE[0], OTHER[0]] * 3, ONE[0]]

    run(scene)


def test_connections_of_an_address_take_turns_too() -> None:
    async def scene(crowd: Crowd) -> None:
        second = Caller(ONE.address, "10.0.0.1:2")
        await crowd.comes(ONE, 10)
        await crowd.comes(second, 3)
        await crowd.outcomes()
        assert crowd.begun[:6] == [ONE, second] * 3

    run(scene)


def test_one_too_many_is_refused_to_whoever_asks_for_most() -> None:
    moves = Moves()

    async def scene(crowd: Crowd) -> None:
        await crowd.comes(ONE, MAX_CALLS)
        await crowd.comes(OTHER, 2)
        outcomes = await crowd.outcomes()
        assert outcomes[:MAX_CALLS] == ["done"] * (MAX_CALLS - 2) + [Overloaded] * 2
        assert outcomes[MAX_CALLS:] == ["done"] * 2

    run(scene)
    assert moves.of("peermentor_calls_shed_total", lane="crowd") == 2


@pytest.mark.parametrize("threads", [1, 4])
def test_a_lone_caller_has_the_whole_lane(threads: int) -> None:
    """Whether or not there are threads that another one gets on without."""

    async def scene(crowd: Crowd) -> None:
        await crowd.comes(ONE, MAX_CALLS + 2)
        assert await crowd.outcomes() == ["done"] * MAX_CALLS + [Overloaded] * 2

    run(scene, threads)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_call_waits_no_longer_than_its_deadline(threads: int) -> None:
    async def scene(crowd: Crowd) -> None:
        await crowd.comes(ONE)
        await crowd.comes(OTHER, patience_s=0.05)
        await asyncio.sleep(0.2)
        assert crowd.is_over(1)
        assert await crowd.outcomes() == ["done", Overloaded]
        assert crowd.begun == [ONE]

    run(scene, threads)


def test_a_call_whose_deadline_has_passed_is_not_begun() -> None:
    moves = Moves()

    async def scene(crowd: Crowd) -> None:
        await crowd.comes(ONE, patience_s=-1)
        assert await crowd.outcomes() == [Overloaded]
        assert crowd.begun == []

    run(scene)
    assert moves.of("peermentor_calls_late_total", lane="crowd") == 1


def test_a_call_whose_deadline_passes_while_the_loop_stands_still_is_not_begun() -> None:
    moves = Moves()

    async def scene(crowd: Crowd) -> None:
        await crowd.comes(ONE)
        await crowd.comes(OTHER, patience_s=0.05)
        time.sleep(0.1)
        crowd.let_go()
        time.sleep(0.1)
        assert await crowd.outcomes() == ["done", Overloaded]
        assert crowd.begun == [ONE]

    run(scene)
    assert moves.of("peermentor_calls_late_total", lane="crowd") == 1


def test_a_call_that_is_given_up_while_it_waits_is_not_begun() -> None:
    async def scene(crowd: Crowd) -> None:
        await crowd.comes(ONE, 3)
        crowd.give_up(1)
        await asyncio.sleep(0)
        assert await crowd.outcomes() == ["done", asyncio.CancelledError, "done"]
        assert len(crowd.begun) == 2

    run(scene)


SERVICE = "/peermentor.v1.AssignmentService"


@pytest.mark.parametrize(
    ("method", "request_", "name"),
    [
        ("GetAssignment", GetAssignmentRequest(), "reads"),
        ("ListAssignments", ListAssignmentsRequest(), "scans"),
        ("ListAssignments", ListAssignmentsRequest(org_id="org_03"), "reads"),
        ("ListAssignments", ListAssignmentsRequest(org_id="org_03", page=51), "scans"),
        ("ListAssignments", ListAssignmentsRequest(org_id="org_03", page=11, limit=100), "scans"),
        ("ListOverdueAssignments", ListOverdueAssignmentsRequest(), "scans"),
        ("ListContacts", ListContactsRequest(assignment_id="asgn_001"), "reads"),
        ("ListContacts", ListContactsRequest(assignment_id="asgn_001", page=51), "scans"),
        ("GetAssignmentSummary", GetAssignmentSummaryRequest(coordinator_id="user_007"), "reads"),
        ("GetAssignmentSummary", GetAssignmentSummaryRequest(), "scans"),
        ("UpdateAssignment", UpdateAssignmentRequest(), "writes"),
        ("CreateAssignment", CreateAssignmentRequest(), "writes"),
    ],
)
def test_each_kind_of_work_has_a_lane(method: str, request_: Message, name: str) -> None:
    each = Lanes(Threads(1, 1, 1))
    assert each.of(f"{SERVICE}/{method}", request_).name == name
    each.close()


def test_templates_have_the_same_lanes() -> None:
    each = Lanes(Threads(1, 1, 1))
    service = "/peermentor.v1.TemplateService"
    assert each.of(f"{service}/ListTemplates", ListTemplatesRequest()).name == "scans"
    of_one = ListTemplatesByCoordinatorRequest(coordinator_id="coord-119")
    assert each.of(f"{service}/ListTemplatesByCoordinator", of_one).name == "reads"
    each.close()


def test_rules_are_not_expanded_in_the_event_loop() -> None:
    each = Lanes(Threads(1, 1, 1, at_once=True))
    service = "/peermentor.v1.TemplateService"
    assert isinstance(each.of(f"{service}/GetTemplate", GetTemplateRequest()), AtOnce)
    for rpc, request in (
        ("ListOccurrences", ListOccurrencesRequest()),
        ("GetTemplateCalendar", GetTemplateCalendarRequest()),
    ):
        assert isinstance(each.of(f"{service}/{rpc}", request), Lane)
    each.close()


def test_calendar_files_are_written_one_at_a_time() -> None:
    """However many threads other lanes have, and however long one takes."""
    names: set[str] = set()

    def work() -> str:
        names.add(threading.current_thread().name)
        time.sleep(4 * LOOK_S)
        return ""

    async def scene() -> None:
        each = Lanes(Threads(4, 4, 4))
        rpc = "/peermentor.v1.TemplateService/GetTemplateCalendar"
        lane = each.of(rpc, GetTemplateCalendarRequest())
        calls = [Call(ONE, Deadline(60), work) for _ in range(4)]
        await asyncio.gather(*(lane.run(call) for call in calls))
        each.close()

    asyncio.run(scene())
    assert len(names) == 1


def test_a_call_that_hangs_holds_up_no_other_and_no_answer() -> None:
    """What a thread has done before is handed over, and another thread goes on."""

    async def scene() -> list[str]:
        lane, let_go = Lane("two", 2), threading.Event()
        works: list[Callable[[], str]] = [lambda: "before"]
        works += [lambda: str(let_go.wait(20)), lambda: "after"]
        calls = [lane.run(Call(ONE, Deadline(60), work)) for work in works]
        before, hanging, after = [asyncio.create_task(call) for call in calls]
        answers = [await asyncio.wait_for(each, 20) for each in (before, after)]
        assert not hanging.done()
        let_go.set()
        answers.append(await hanging)
        lane.close()
        return answers

    assert asyncio.run(scene()) == ["before", "after", "True"]


def test_a_thread_that_gets_on_is_not_joined_by_others() -> None:
    async def scene() -> set[str]:
        lane = Lane("four", 4, look_s=60)
        names: set[str] = set()
        all_there = threading.Event()

        def work() -> str:
            # A thread that finds nothing more to do ends, and is another one the next time.
            all_there.wait(20)
            names.add(threading.current_thread().name)
            return ""

        calls = [Call(ONE, Deadline(60), work) for _ in range(MAX_CALLS)]
        answers = [asyncio.create_task(lane.run(call)) for call in calls]
        await asyncio.sleep(0)
        all_there.set()
        await asyncio.gather(*answers)
        lane.close()
        return names

    assert len(asyncio.run(scene())) == 1


@pytest.fixture(autouse=True)
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes: what comes after another call comes soon after it."""
    monkeypatch.setattr(lanes, "CROWDED_S", 60.0)


class Loop:
    """Calls that are run in the event loop, in the order in which they are begun and answered."""

    def __init__(self) -> None:
        self.lane = Lane("otherwise", 1)
        self.at_once = AtOnce(self.lane)
        self.order: list[str] = []

    async def crowd(self, names: str, works: Mapping[str, Callable[[], object]] = {}) -> list[Any]:
        """Let calls of these names come one right after the other; return their answers."""

        async def call(name: str) -> object:
            def work() -> object:
                self.order.append(f"{name} in {threading.current_thread().name}")
                return works[name]() if name in works else name

            answer = await self.at_once.run(Call(ONE, Deadline(60), work))  # type: ignore[arg-type]
            self.order.append(f"{name} answered")
            return answer

        return await asyncio.gather(*(call(name) for name in names), return_exceptions=True)


def in_loop(scene: Callable[[Loop], Awaitable[object]]) -> list[str]:
    """Play it; return the order of things."""
    loop = Loop()

    async def play() -> None:
        await scene(loop)
        loop.lane.close()

    asyncio.run(play())
    return [each.replace(threading.current_thread().name, "loop") for each in loop.order]


def test_a_call_that_comes_alone_is_run_at_once() -> None:
    assert in_loop(lambda loop: loop.crowd("a")) == ["a in loop", "a answered"]


def test_calls_of_a_crowd_are_run_one_after_the_other_before_any_is_answered() -> None:
    async def scene(loop: Loop) -> None:
        assert await loop.crowd("abcd") == list("abcd")

    runs, answers = [f"{name} in loop" for name in "bcd"], [f"{name} answered" for name in "bcd"]
    assert in_loop(scene) == ["a in loop", "a answered", *runs, *answers]


def test_one_of_a_crowd_that_fails_or_has_to_wait_takes_no_other_along() -> None:
    def fail() -> None:
        raise Overloaded

    def wait_in_loop() -> str:
        if threading.current_thread() is threading.main_thread():
            raise WouldWait
        return "waited"

    async def scene(loop: Loop) -> None:
        answers = await loop.crowd("abcd", {"b": fail, "c": wait_in_loop})
        assert isinstance(answers[1], Overloaded)
        assert [answers[0], *answers[2:]] == ["a", "waited", "d"]

    assert "c in otherwise_0" in in_loop(scene)


def test_a_crowd_that_takes_long_goes_on_in_a_lane() -> None:
    def take_long() -> str:
        time.sleep(2 * MAX_AT_ONCE_S)
        return "long"

    async def scene(loop: Loop) -> None:
        assert await loop.crowd("abcd", {"b": take_long}) == ["a", "long", "c", "d"]

    order = in_loop(scene)
    assert "b in loop" in order
    assert {"c in otherwise_0", "d in otherwise_0"} < set(order)


def test_one_of_a_crowd_that_is_given_up_is_not_run() -> None:
    async def scene(loop: Loop) -> None:
        await loop.crowd("a")
        calls = [asyncio.create_task(loop.crowd(name)) for name in "bc"]
        await asyncio.sleep(0)
        calls[0].cancel()
        assert await calls[1] == ["c"]

    order = in_loop(scene)
    assert "c in loop" in order
    assert "b in loop" not in order
