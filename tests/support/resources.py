"""The two resources and their five lists, for what all of them do alike.

A test that takes one of them says what it is of by numbers: the second assignment is 2, and
asgn_002 to callers, as the second template is rt-002.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from sqlalchemy import Table, update

from peermentor.v1.assignments_pb2 import Assignment, DeleteAssignmentResponse
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2 import DeleteTemplateResponse
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server.storage import tables
from peermentor_server.storage.engine.database import Database
from support.factories import (
    NEW_ASSIGNMENT,
    NEW_TEMPLATE,
    RefusedCall,
    instant,
    new_assignment,
    new_template,
)
from support.rpcs import Rpcs


@dataclass(frozen=True)
class Kind:
    """What tells one resource from the other."""

    noun: str
    """As the RPCs are called: GetAssignment."""
    id_field: str
    id_prefix: str
    table: Table
    new: dict[str, Any]
    """A good request of a create."""
    create: Callable[..., Any]
    """Makes one from a stub and from fields that are not to be as in `new`."""
    stub: Callable[[grpc.Channel], Any]
    variants: tuple[dict[str, Any], ...]
    """For `create`: what gives a resource another place in some list."""
    optional: dict[str, Any]
    """What a create may say besides `new`."""
    changes: tuple[tuple[str, Any], ...]
    """Other values than those in `new`, of every field that can change."""
    bad: dict[str, Any]
    """Values that are refused."""
    clearable: tuple[str, ...]
    """The fields that may be empty."""
    updates: tuple[tuple[str, dict[str, Any]], ...]
    """Every RPC that changes one, with what it is to change."""
    deleted: Callable[[str], Message]
    """The answer when the one of an id is deleted."""

    @property
    def required(self) -> list[str]:
        """The fields that cannot be empty."""
        return [name for name in dict(self.changes) if name not in self.clearable]


ASSIGNMENT = Kind(
    noun="Assignment",
    id_field="assignment_id",
    id_prefix="asgn_",
    table=tables.assignments,
    new=NEW_ASSIGNMENT,
    create=new_assignment,
    stub=AssignmentServiceStub,
    variants=(
        {},
        {"last_contact": "2026-03-01T00:00:00Z"},
        {"last_contact": "2026-03-01T00:00:00.000001Z"},
        {"last_contact": "2026-03-02T00:00:00Z"},
    ),
    optional={"mentee_name": "Bjørn Solberg"},
    changes=(
        ("status", Assignment.paused),
        ("status", Assignment.completed),
        ("status", Assignment.cancelled),
        ("peer_mentor_id", "user_055"),
        ("coordinator_id", "user_008"),
        ("org_id", "org_04"),
        ("start_date", "2026-04-01"),
        ("mentee_name", "Lars Eriksson"),
        ("reminder_sent_at", instant("2026-03-18T08:00:00Z")),
        ("escalation_sent_at", instant("2026-03-20T08:00:00Z")),
    ),
    bad={"start_date": "whenever"},
    clearable=("mentee_name", "reminder_sent_at", "escalation_sent_at"),
    updates=(
        ("UpdateAssignment", {"mentee_name": "x"}),
        ("UpdateLastContact", {"contact_date": instant("2026-03-26T09:45:00Z")}),
    ),
    deleted=lambda given_id: DeleteAssignmentResponse(deleted=True, assignment_id=given_id),
)

TEMPLATE = Kind(
    noun="Template",
    id_field="id",
    id_prefix="rt-",
    table=tables.templates,
    new=NEW_TEMPLATE,
    create=new_template,
    stub=TemplateServiceStub,
    variants=({},),
    optional={"is_active": True},
    changes=(
        ("coordinator_id", "coord-205"),
        ("organization_id", "org-45"),
        ("name", "Monthly Review"),
        ("activity_type", "review"),
        ("recurrence_rule", "FREQ=MONTHLY;BYDAY=1MO"),
        ("duration_minutes", 120),
        ("mentor_ids", ["mentor-1"]),
        ("notes_template", "Bring the list"),
        ("is_active", False),
        ("starts_on", "2026-04-01"),
        ("time_zone", "Europe/Oslo"),
        ("excluded_dates", ["2026-12-25"]),
    ),
    bad={"duration_minutes": -1, "mentor_ids": ["no good"], "time_zone": "Oslo"},
    clearable=("mentor_ids", "notes_template", "excluded_dates"),
    updates=(("UpdateTemplate", {"name": "x"}),),
    deleted=lambda given_id: DeleteTemplateResponse(success=True, deleted_id=given_id),
)

KINDS = (ASSIGNMENT, TEMPLATE)


class Resource:
    """One of the two, as a server has it."""

    def __init__(self, kind: Kind, channel: grpc.Channel) -> None:
        self.kind = kind
        self.rpcs = Rpcs(channel)
        self._stub = kind.stub(channel)

    def rpc(self, verb: str) -> str:
        """Return the name of an RPC, as that of "Get"."""
        return f"{verb}{self.kind.noun}"

    def create(self, **fields: Any) -> Any:
        """Make one, with some fields of its own."""
        return self.kind.create(self._stub, **fields)

    def fill(self, count: int) -> list[Any]:
        """Make several."""
        return [self.create() for _ in range(count)]

    def get(self, number: int) -> Any:
        """Return one as it is now."""
        return self.rpcs.call(self.rpc("Get"), **self.named(self.id(number)))

    def update(self, number: int, **fields: Any) -> Any:
        """Change one."""
        return self.rpcs.call(self.rpc("Update"), **self.named(self.id(number)), **fields)

    def refuse_update(self, number: int, **fields: Any) -> RefusedCall:
        """Return how a change is refused."""
        return self.rpcs.refuse(self.rpc("Update"), **self.named(self.id(number)), **fields)

    def delete(self, number: int) -> Any:
        """Delete one."""
        return self.rpcs.call(self.rpc("Delete"), **self.named(self.id(number)))

    def move(self, database: Database, number: int, new_number: int) -> None:
        """Give one another key, to see one that would take thousands of calls."""
        key = self.kind.table.c.id
        with database.write() as connection:
            connection.execute(update(self.kind.table).where(key == number).values(id=new_number))

    def listed(self) -> list[int]:
        """Return which there are."""
        return self.numbers(self.rpcs.call(self.rpc("List") + "s"))

    def id(self, number: int) -> str:
        """Return the id of one."""
        return f"{self.kind.id_prefix}{number:03}"

    def named(self, given_id: str) -> dict[str, Any]:
        """Return the field of a request that says which one is meant."""
        return {self.kind.id_field: given_id}

    def number(self, answer: Any) -> int:
        """Return which one this is."""
        given_id = getattr(answer, self.kind.id_field)
        number = int(given_id.removeprefix(self.kind.id_prefix))
        assert given_id == self.id(number)
        return number

    def numbers(self, page: Any) -> list[int]:
        """Return which are on a page."""
        return [self.number(each) for each in page.data]


@dataclass(frozen=True)
class ListForm:
    """An RPC that lists, what it needs to list what `new` makes, and one of its filters."""

    rpc: str
    kind: Kind
    needs: Sequence[str] = ()
    filter: str = ""


LISTS = (
    ListForm("ListAssignments", ASSIGNMENT, filter="org_id"),
    ListForm("ListOverdueAssignments", ASSIGNMENT, filter="org_id"),
    ListForm("ListTemplates", TEMPLATE),
    ListForm("ListTemplatesByCoordinator", TEMPLATE, ["coordinator_id"], "coordinator_id"),
    ListForm("ListTemplatesByOrganization", TEMPLATE, ["organization_id"], "organization_id"),
)


class Pages:
    """One of the lists, as a server has it: called with what a request says, it returns a page."""

    def __init__(self, form: ListForm, channel: grpc.Channel) -> None:
        self.filter = form.filter
        self.resource = Resource(form.kind, channel)
        self._rpc = form.rpc
        self._needed = {name: form.kind.new[name] for name in form.needs}

    def __call__(self, **fields: Any) -> Any:
        """Return a page."""
        return self.resource.rpcs.call(self._rpc, **self._needed | fields)

    def refuse(self, **fields: Any) -> RefusedCall:
        """Return how a page is refused."""
        return self.resource.rpcs.refuse(self._rpc, **self._needed | fields)

    def numbers(self, **fields: Any) -> list[int]:
        """Return which are on a page."""
        return self.resource.numbers(self(**fields))
