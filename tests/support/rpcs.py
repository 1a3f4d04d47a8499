"""Any RPC by its name, for what holds for several of them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from peermentor.v1 import assignments_pb2, templates_pb2
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE, RefusedCall, instant, refused

SERVICES = (
    assignments_pb2.DESCRIPTOR.services_by_name["AssignmentService"],
    templates_pb2.DESCRIPTOR.services_by_name["TemplateService"],
)


# A good request of every RPC, where there are an asgn_001 and an rt-001.
GOOD: dict[str, dict[str, Any]] = {
    "ListAssignments": {},
    "GetAssignment": {"assignment_id": "asgn_001"},
    "CreateAssignment": NEW_ASSIGNMENT,
    "UpdateAssignment": {"assignment_id": "asgn_001"},
    "DeleteAssignment": {"assignment_id": "asgn_001"},
    "UpdateLastContact": {
        "assignment_id": "asgn_001",
        "contact_date": instant("2026-03-26T09:45:00Z"),
    },
    "ListOverdueAssignments": {},
    "GetAssignmentSummary": {},
    "ListContacts": {"assignment_id": "asgn_001"},
    "ListTemplates": {},
    "GetTemplate": {"id": "rt-001"},
    "CreateTemplate": NEW_TEMPLATE,
    "UpdateTemplate": {"id": "rt-001"},
    "DeleteTemplate": {"id": "rt-001"},
    "ListTemplatesByCoordinator": {"coordinator_id": "coord-119"},
    "ListTemplatesByOrganization": {"organization_id": "org-44"},
    "ListOccurrences": {"id": "rt-001"},
    "GetTemplateCalendar": {"id": "rt-001"},
}


class Rpcs:
    """Calls RPCs by their names, with the fields of their requests."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._assignments = AssignmentServiceStub(channel)
        self._templates = TemplateServiceStub(channel)

    def call(self, rpc: str, *, metadata: Any = (), **fields: Any) -> Any:
        """Return the answer."""
        method, request = self._prepare(rpc, fields)
        return method(request, metadata=metadata)

    def refuse(self, rpc: str, *, metadata: Any = (), **fields: Any) -> RefusedCall:
        """Return how the call was refused."""
        method, request = self._prepare(rpc, fields)
        return refused(partial(method, metadata=metadata), request)

    def _prepare(self, rpc: str, fields: dict[str, Any]) -> tuple[Callable[..., Any], object]:
        of_templates = rpc in SERVICES[1].methods_by_name
        module: Any = templates_pb2 if of_templates else assignments_pb2
        stub = self._templates if of_templates else self._assignments
        return getattr(stub, rpc), getattr(module, f"{rpc}Request")(**fields)


class GoodRequests(Rpcs):
    """Calls RPCs with good requests, some fields of which are replaced."""

    def _prepare(self, rpc: str, fields: dict[str, Any]) -> tuple[Callable[..., Any], object]:
        return super()._prepare(rpc, GOOD[rpc] | fields)
