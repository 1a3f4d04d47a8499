"""Lanes: who runs when, and who is refused."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from google.protobuf.message import Message

from peermentor.v1.assignments_pb2 import (
    CreateAssignmentRequest,
    GetAssignmentRequest,
    ListAssignmentsRequest,
    ListOverdueAssignmentsRequest,
    UpdateAssignmentRequest,
)
from peermentor.v1.templates_pb2 import ListTemplatesByCoordinatorRequest, ListTemplatesRequest
from peermentor_server.lanes import MAX_CALLS, Caller, Lane, Lanes, Threads
from peermentor_server.rules.errors import Overloaded
from peermentor_server.storage.deadlines import Deadline

ONE, OTHER = Caller("10.0.0.1", "10.0.0.1:1"), Caller("10.0.0.2", "10.0.0.2:1")


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
    """Callers of a lane with one thread, which is held up until they are let go."""

    def __init__(self) -> None:
        self.lane = Lane("crowd", 1)
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

    async def outcomes(self) -> list[object]:
        """Let all of them go; return how each call ended."""
        self._let_go.set()
        ended = await asyncio.gather(*self._calls, return_exceptions=True)
        self.lane.close()
        return [type(each) if isinstance(each, BaseException) else each for each in ended]


def run(scene: Callable[[Crowd], Awaitable[None]]) -> None:
    async def play() -> None:
        await scene(Crowd())

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
    async def scene(crowd: Crowd) -> None:
        await crowd.comes(ONE, MAX_CALLS)
        await crowd.comes(OTHER, 2)
        outcomes = await crowd.outcomes()
        assert outcomes[:MAX_CALLS] == ["done"] * (MAX_CALLS - 2) + [Overloaded] * 2
        assert outcomes[MAX_CALLS:] == ["done"] * 2

    run(scene)


def test_a_lone_caller_has_the_whole_lane() -> None:
    async def scene(crowd: Crowd) -> None:
        await crowd.comes(ONE, MAX_CALLS + 2)
        assert await crowd.outcomes() == ["done"] * MAX_CALLS + [Overloaded] * 2

    run(scene)


def test_a_call_waits_no_longer_than_its_deadline() -> None:
    async def scene(crowd: Crowd) -> None:
        await crowd.comes(ONE)
        await crowd.comes(OTHER, patience_s=0.05)
        await asyncio.sleep(0.2)
        assert await crowd.outcomes() == ["done", Overloaded]
        assert crowd.begun == [ONE]

    run(scene)


def test_a_call_whose_deadline_has_passed_is_not_begun() -> None:
    async def scene(crowd: Crowd) -> None:
        await crowd.comes(ONE, patience_s=-1)
        assert await crowd.outcomes() == [Overloaded]
        assert crowd.begun == []

    run(scene)


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
        ("UpdateAssignment", UpdateAssignmentRequest(), "writes"),
        ("CreateAssignment", CreateAssignmentRequest(), "writes"),
    ],
)
def test_each_kind_of_work_has_a_lane(method: str, request_: Message, name: str) -> None:
    lanes = Lanes(Threads(1, 1, 1))
    assert lanes.of(f"{SERVICE}/{method}", request_).name == name
    lanes.close()


def test_templates_have_the_same_lanes() -> None:
    lanes = Lanes(Threads(1, 1, 1))
    service = "/peermentor.v1.TemplateService"
    assert lanes.of(f"{service}/ListTemplates", ListTemplatesRequest()).name == "scans"
    of_one = ListTemplatesByCoordinatorRequest(coordinator_id="coord-119")
    assert lanes.of(f"{service}/ListTemplatesByCoordinator", of_one).name == "reads"
    lanes.close()
