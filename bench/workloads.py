"""What is asked of every contestant, over REST and over gRPC, and what it must answer."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from google.protobuf import message_factory
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from bench import dataset
from peermentor.v1 import assignments_pb2 as pb

_ASSIGNMENTS = "/api/v1/assignments"
SERVICE = pb.DESCRIPTOR.services_by_name["AssignmentService"]


class WrongAnswer(Exception):
    """A contestant answered something else than it should have."""


@dataclass(frozen=True)
class Workload:
    """One kind of call. One that concerns a single assignment has `{id}` in its path."""

    name: str
    verb: str
    path: str
    rpc: str

    @property
    def of_one(self) -> bool:
        """Whether it concerns a single assignment."""
        return "{id}" in self.path

    @property
    def writes(self) -> bool:
        """Whether it changes one."""
        return self.verb != "GET"

    @property
    def method(self) -> str:
        """The path of the gRPC call."""
        return f"/{SERVICE.full_name}/{self.rpc}"

    @cached_property
    def messages(self) -> tuple[type[Message], type[Message]]:
        """The classes of request and answer over gRPC."""
        rpc = SERVICE.methods_by_name[self.rpc]
        get = message_factory.GetMessageClass
        return get(rpc.input_type), get(rpc.output_type)

    def rest_path(self, key: int) -> str:
        """Return the path of the REST call for the assignment of this key."""
        return self.path.format(id=dataset.assignment_id(key))

    def message(self, key: int, body: dict[str, Any] | None) -> bytes:
        """Return the request of the gRPC call, without its frame."""
        named = {"assignment_id": dataset.assignment_id(key)} if self.of_one else {}
        return ParseDict({**named, **(body or {})}, self.messages[0]()).SerializeToString()

    def read(self, answer: bytes) -> dict[str, Any]:
        """Return an answer over gRPC as the one over REST would be."""
        message = self.messages[1].FromString(answer)
        return MessageToDict(message, preserving_proto_field_name=True)

    def body(self) -> dict[str, Any] | None:
        """Return what a call that writes sends along now.

        All calls of a measurement tell of the same contact, which the service keeps in its
        history once.
        """
        if not self.writes:
            return None
        now = datetime.now(UTC).replace(microsecond=0)
        return {"contact_date": now.isoformat().replace("+00:00", "Z"), "contact_type": "message"}


LIST = Workload("list", "GET", _ASSIGNMENTS, "ListAssignments")
GET = Workload("get", "GET", _ASSIGNMENTS + "/{id}", "GetAssignment")
OVERDUE = Workload("overdue", "GET", _ASSIGNMENTS + "/overdue", "ListOverdueAssignments")
LAST_CONTACT = Workload(
    "last-contact", "PUT", _ASSIGNMENTS + "/{id}/last-contact", "UpdateLastContact"
)
WORKLOADS = (LIST, GET, OVERDUE, LAST_CONTACT)


@dataclass(frozen=True)
class Plan:
    """Whom calls concern among so many rows, and which totals they find."""

    rows: int

    @cached_property
    def keys(self) -> list[int]:
        """Assignments from all over the rows."""
        return list(dataset.in_touch(self.rows, 64))

    @cached_property
    def totals(self) -> dict[str, int]:
        """What the two lists report."""
        return {
            LIST.name: dataset.open_total(self.rows),
            OVERDUE.name: dataset.overdue_total(self.rows),
        }

    def check(
        self, workload: Workload, key: int, body: dict[str, Any] | None, answer: dict[str, Any]
    ) -> None:
        """Raise WrongAnswer unless this is what the rows answer."""
        if workload.of_one:
            expected: tuple[Any, ...] = (dataset.assignment_id(key), f"Åse Mentée {key}")
            found: tuple[Any, ...] = (answer.get("assignment_id"), answer.get("mentee_name"))
        else:
            expected = (20, self.totals[workload.name])
            found = (len(answer["data"]), int(answer["pagination"]["total"]))
        if body is not None:
            expected += (body["contact_date"],)
            found += (answer.get("last_contact_date"),)
        if found != expected:
            raise WrongAnswer(f"{workload.name} answered {found} instead of {expected}")
