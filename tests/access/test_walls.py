"""Walls around organisations: what one does changes nothing of what another sees.

Random histories of two organisations in one database, each compared with the same history of one
of them in a database of its own.
"""

import inspect
import random
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import grpc
import pytest

from peermentor_server.rules.principals import Wall
from peermentor_server.storage import assignments, contacts, summaries, templates, transfer
from peermentor_server.storage.engine.database import Database
from support.apps import own_server
from support.clock import SettableClock
from support.databases import migrated
from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE, instant
from support.keys import bearer, new_key
from support.rpcs import Rpcs

# What has no wall: it is for commands, which are for whoever runs the service, or is called behind
# one.
FOR_COMMANDS = {"forget_mentee", "name_mentee", "states"}
STEPS = 60


@pytest.mark.parametrize(
    "module",
    [assignments, contacts, summaries, templates, transfer],
    ids=lambda module: module.__name__,
)
def test_every_function_of_storage_is_told_the_wall(module: ModuleType) -> None:
    told = {}
    for name, function in inspect.getmembers(module, inspect.isfunction):
        names = list(inspect.signature(function).parameters)
        if (
            function.__module__ == module.__name__
            and names[:1] == ["connection"]
            and name[0] != "_"
        ):
            told[name] = names[1:2] == ["wall"]
    assert {name for name, is_told in told.items() if not is_told} == FOR_COMMANDS & told.keys()
    assert told


class Tenant:
    """Somebody of one organisation, who remembers the ids of what they have made."""

    def __init__(self, org: str, channel: grpc.Channel, metadata: Any) -> None:
        self.org, self._rpcs, self._metadata = org, Rpcs(channel), metadata
        self._ids: list[str] = []

    def step(self, choice: random.Random) -> str:
        """Make a call by chance; return its answer with each id as the number of its creation."""
        prefix = choice.choice(["asgn_", "rt-"])
        mine = [each for each in self._ids if each.startswith(prefix)]
        number = choice.randrange(12)
        given_id = mine[number] if number < len(mine) else f"{prefix}987654"
        rpc, fields = choice.choice(self._calls(prefix, given_id, choice))
        try:
            answer = self._rpcs.call(rpc, metadata=self._metadata, **fields)
        except grpc.RpcError as error:
            return self._as_numbers(f"{rpc} {error.code()} {error.details()}")
        if rpc.startswith("Create"):
            self._ids.append(getattr(answer, "assignment_id", "") or answer.id)
        if hasattr(answer, "next_page_token"):
            # It has keys in it.
            answer.next_page_token = str(bool(answer.next_page_token))
        return self._as_numbers(f"{rpc} {answer}")

    def _calls(self, prefix: str, key: str, choice: random.Random) -> list[tuple[str, Any]]:
        person = choice.choice(["user_1", "user_2"])
        request_id = choice.choice(["one", "two", "three", "four"])
        if prefix == "rt-":
            new = NEW_TEMPLATE | {"organization_id": self.org, "coordinator_id": person}
            return [
                ("CreateTemplate", new),
                ("CreateTemplate", new | {"request_id": request_id, "duration_minutes": 30}),
                ("GetTemplate", {"id": key}),
                ("UpdateTemplate", {"id": key, "name": person}),
                ("DeleteTemplate", {"id": key}),
                ("ListOccurrences", {"id": key, "limit": 2}),
                ("GetTemplateCalendar", {"id": key}),
                ("ListTemplates", {"limit": 3, "is_active": True}),
                ("ListTemplatesByCoordinator", {"coordinator_id": person}),
                ("ListTemplatesByOrganization", {"organization_id": self.org}),
            ]
        new = NEW_ASSIGNMENT | {"org_id": self.org, "mentee_id": person}
        moment = instant(f"2026-03-{choice.randint(1, 25):02}T10:00:00Z")
        return [
            ("CreateAssignment", new),
            ("CreateAssignment", new | {"mentee_name": f"{self.org[:3]} {person}"}),
            ("CreateAssignment", new | {"request_id": request_id}),
            ("GetAssignment", {"assignment_id": key}),
            ("UpdateAssignment", {"assignment_id": key, "mentee_name": request_id}),
            ("UpdateAssignment", {"assignment_id": key, "coordinator_id": person}),
            ("UpdateLastContact", {"assignment_id": key, "contact_date": moment}),
            ("DeleteAssignment", {"assignment_id": key}),
            ("ListContacts", {"assignment_id": key, "limit": 2}),
            ("ListAssignments", {"limit": 3, "page": 1}),
            ("ListAssignments", {"mentee_id": person}),
            ("GetAssignmentSummary", {"coordinator_id": person}),
            ("ListAssignments", {"updated_after": "2026-03-01", "reminded": False}),
            ("ListOverdueAssignments", {"started_before": "2026-04-01"}),
        ]

    def _as_numbers(self, text: str) -> str:
        numbers = {each: f"#{place}" for place, each in enumerate(self._ids)}
        # In the ids of events are those of their templates.
        text = re.sub(r"UID:[\w-]+", "UID", text)
        return re.sub(r"asgn_\d+|rt-\d+", lambda found: numbers.get(found[0], found[0]), text)


@pytest.fixture
def alone(new_url: Callable[[], str]) -> Iterator[Database]:
    """A second database."""
    with migrated(new_url()) as database:
        yield database


@pytest.mark.parametrize("seed", range(3))
def test_an_organisation_cannot_tell_that_there_is_another(
    own: Database, alone: Database, clock: SettableClock, seed: int
) -> None:
    # One has another key for each of two more organisations, in which nothing is.
    first = ["org_1"] if seed else ["org_1", "org_7", "org_8"]
    of_first, of_second, of_lonely = (
        bearer(new_key(database, organizations))
        for database, organizations in ((own, first), (own, ["org_2"]), (alone, first))
    )
    with (
        own_server(own, clock, access="required") as shared_channel,
        own_server(alone, clock, access="required") as lonely_channel,
    ):
        tenant = Tenant("org_1", shared_channel, of_first)
        neighbour = Tenant("org_2", shared_channel, of_second)
        lonely = Tenant("org_1", lonely_channel, of_lonely)
        chances = [random.Random(f"{seed}{name}") for name in ("a", "b", "a")]
        answers = set()
        for _ in range(STEPS):
            told = [
                each.step(chance)
                for each, chance in zip((tenant, neighbour, lonely), chances, strict=True)
            ]
            assert told[0] == told[2]
            answers.add(told[0].split()[0])
    assert len(answers) > 8


def test_a_wall_holds_what_is_inside() -> None:
    assert Wall().holds("any")
    assert Wall(frozenset({"one"})).holds("one")
    assert not Wall(frozenset({"one"})).holds("other")
    assert not Wall(frozenset()).holds("any")
