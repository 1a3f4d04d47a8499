"""The forms of each RPC that cost something different.

The database has assignments and templates from key 1 on, enough of them in `org_1` for a second
page, and knows `coordinator_1`, `mentor_1` and `mentee_1`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from peermentor.v1.assignments_pb2 import (
    CreateAssignmentRequest,
    DeleteAssignmentRequest,
    GetAssignmentRequest,
    GetAssignmentSummaryRequest,
    ListAssignmentsRequest,
    ListContactsRequest,
    ListOverdueAssignmentsRequest,
    UpdateAssignmentRequest,
    UpdateLastContactRequest,
)
from peermentor.v1.templates_pb2 import (
    CreateTemplateRequest,
    DeleteTemplateRequest,
    GetTemplateCalendarRequest,
    GetTemplateRequest,
    ListOccurrencesRequest,
    ListTemplatesByCoordinatorRequest,
    ListTemplatesByOrganizationRequest,
    ListTemplatesRequest,
    UpdateTemplateRequest,
)
from peermentor_server.services.idempotency import KEY_HEADER
from support.direct_calls import DirectCalls, Metadata
from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE, instant


@dataclass(frozen=True, slots=True)
class Form:
    """An RPC and its requests: the n-th is about the n-th row, or makes one of its own."""

    rpc: str
    request: Callable[[int], Any]
    key: Callable[[int], str] | None = None
    """The idempotency key of the n-th request."""
    by_token: bool = False
    """Whether it is for the page after the first one of this list."""

    def prepare(self, calls: DirectCalls, number: int, limit: int = 0) -> tuple[Message, Metadata]:
        """Return the n-th request and its metadata; a limit other than 0 is for a list."""
        request = self.request(number)
        if self.by_token:
            request.page_token = calls.call(self.rpc, request).next_page_token
            assert request.page_token
        if limit:
            request.limit = limit
        return request, ((KEY_HEADER, self.key(number)),) if self.key else ()

    @property
    def is_list(self) -> bool:
        """Whether it asks for a page."""
        return "limit" in self.request(1).DESCRIPTOR.fields_by_name


def _always(request: Message) -> Callable[[int], Message]:
    # A copy each: one by a token gets that put in.
    return lambda _number: type(request).FromString(request.SerializeToString())


def _of_row(request_type: Callable[..., Message], **fields: Any) -> Callable[[int], Message]:
    return lambda number: request_type(assignment_id=f"asgn_{number:03}", **fields)


def _of_template(request_type: Callable[..., Message], **fields: Any) -> Callable[[int], Message]:
    return lambda number: request_type(id=f"rt-{number:03}", **fields)


_LIST = _always(ListAssignmentsRequest())
_OF_ORG = _always(ListAssignmentsRequest(org_id="org_1"))
_OVERDUE = _always(ListOverdueAssignmentsRequest())
_TEMPLATES = _always(ListTemplatesRequest())
_OF_ORGANIZATION = _always(ListTemplatesByOrganizationRequest(organization_id="org_1"))
_CONTACTS = _always(ListContactsRequest(assignment_id="asgn_001"))
_CREATE = _always(CreateAssignmentRequest(**NEW_ASSIGNMENT))
_CREATE_TEMPLATE = _always(CreateTemplateRequest(**NEW_TEMPLATE))
_CONTACT = {"contact_date": instant("2026-03-26T09:45:00Z"), "contact_type": "message"}

FORMS = {
    "get": Form("GetAssignment", _of_row(GetAssignmentRequest)),
    "list": Form("ListAssignments", _LIST),
    "list, second page": Form("ListAssignments", _always(ListAssignmentsRequest(page=2))),
    "list, by token": Form("ListAssignments", _LIST, by_token=True),
    "list of an organisation": Form("ListAssignments", _OF_ORG),
    "list of an organisation, by token": Form("ListAssignments", _OF_ORG, by_token=True),
    "overdue": Form("ListOverdueAssignments", _OVERDUE),
    "overdue, second page": Form(
        "ListOverdueAssignments", _always(ListOverdueAssignmentsRequest(page=2))
    ),
    "overdue, by token": Form("ListOverdueAssignments", _OVERDUE, by_token=True),
    "overdue of an organisation": Form(
        "ListOverdueAssignments", _always(ListOverdueAssignmentsRequest(org_id="org_1"))
    ),
    "overdue of an organisation, reminded": Form(
        "ListOverdueAssignments",
        _always(ListOverdueAssignmentsRequest(org_id="org_1", reminded=True)),
    ),
    "overdue without newcomers": Form(
        "ListOverdueAssignments",
        _always(ListOverdueAssignmentsRequest(started_before="2026-03-01")),
    ),
    "create": Form("CreateAssignment", _CREATE),
    "create with a name": Form(
        "CreateAssignment",
        _always(CreateAssignmentRequest(**NEW_ASSIGNMENT, mentee_name="New Name")),
    ),
    "create with a key": Form("CreateAssignment", _CREATE, key=lambda number: f"new-{number}"),
    "create again": Form("CreateAssignment", _CREATE, key=lambda _: "the-same"),
    "update": Form("UpdateAssignment", _of_row(UpdateAssignmentRequest, status="paused")),
    "update with a key": Form(
        "UpdateAssignment",
        _of_row(UpdateAssignmentRequest, status="paused"),
        key=lambda number: f"new-{number}",
    ),
    "update that renames": Form(
        "UpdateAssignment", _of_row(UpdateAssignmentRequest, mentee_name="New Name")
    ),
    "last contact": Form("UpdateLastContact", _of_row(UpdateLastContactRequest, **_CONTACT)),
    "last contact, only if later": Form(
        "UpdateLastContact", _of_row(UpdateLastContactRequest, **_CONTACT, only_if_later=True)
    ),
    "summary": Form("GetAssignmentSummary", _always(GetAssignmentSummaryRequest())),
    "summary of an organisation": Form(
        "GetAssignmentSummary", _always(GetAssignmentSummaryRequest(org_id="org_1"))
    ),
    "summary of a coordinator": Form(
        "GetAssignmentSummary", _always(GetAssignmentSummaryRequest(coordinator_id="coordinator_1"))
    ),
    "contacts": Form("ListContacts", _CONTACTS),
    "contacts of a time and a type": Form(
        "ListContacts",
        _always(
            ListContactsRequest(
                assignment_id="asgn_001",
                contacted_from="2026-01-01",
                contacted_before="2027-01-01",
                contact_type="call",
            )
        ),
    ),
    "delete": Form("DeleteAssignment", _of_row(DeleteAssignmentRequest)),
    "delete with an etag": Form("DeleteAssignment", _of_row(DeleteAssignmentRequest, etag="*")),
    "get template": Form("GetTemplate", _of_template(GetTemplateRequest)),
    "list templates": Form("ListTemplates", _TEMPLATES),
    "list templates, second page": Form("ListTemplates", _always(ListTemplatesRequest(page=2))),
    "list templates, by token": Form("ListTemplates", _TEMPLATES, by_token=True),
    "list templates of a coordinator": Form(
        "ListTemplatesByCoordinator",
        _always(ListTemplatesByCoordinatorRequest(coordinator_id="coordinator_1")),
    ),
    "list templates of an organisation": Form("ListTemplatesByOrganization", _OF_ORGANIZATION),
    "list templates of an organisation, active": Form(
        "ListTemplatesByOrganization",
        _always(ListTemplatesByOrganizationRequest(organization_id="org_1", is_active=True)),
    ),
    "list templates of an organisation, by token": Form(
        "ListTemplatesByOrganization", _OF_ORGANIZATION, by_token=True
    ),
    "create template": Form("CreateTemplate", _CREATE_TEMPLATE),
    "create template with a key": Form(
        "CreateTemplate", _CREATE_TEMPLATE, key=lambda number: f"new-{number}"
    ),
    "create template again": Form("CreateTemplate", _CREATE_TEMPLATE, key=lambda _: "the-same"),
    "update template": Form(
        "UpdateTemplate", _of_template(UpdateTemplateRequest, name="Monthly Review")
    ),
    "update template's rule": Form(
        "UpdateTemplate", _of_template(UpdateTemplateRequest, recurrence_rule="FREQ=WEEKLY")
    ),
    "occurrences": Form(
        "ListOccurrences", _of_template(ListOccurrencesRequest, from_date="2026-03-26")
    ),
    "calendar": Form("GetTemplateCalendar", _of_template(GetTemplateCalendarRequest)),
    "delete template": Form("DeleteTemplate", _of_template(DeleteTemplateRequest)),
}


def _filtered(rpc: str, request_type: Any) -> dict[str, Form]:
    filters = {
        "status": "active",
        "coordinator_id": "coordinator_1",
        "peer_mentor_id": "mentor_1",
        "mentee_id": "mentee_1",
    }
    return {
        f"{rpc} by {name}": Form(rpc, _always(request_type(**{name: value})))
        for name, value in filters.items()
    }


# What differs for the database alone: each filter has an index of its own.
FILTERED = {
    **_filtered("ListAssignments", ListAssignmentsRequest),
    **_filtered("ListOverdueAssignments", ListOverdueAssignmentsRequest),
}
