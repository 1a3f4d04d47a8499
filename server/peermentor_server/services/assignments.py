"""AssignmentService: each RPC checks its request, runs one transaction, returns one message."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from functools import partial

import grpc

from peermentor.v1.assignments_pb2 import (
    Assignment,
    AssignmentSummary,
    CreateAssignmentRequest,
    DeleteAssignmentRequest,
    DeleteAssignmentResponse,
    GetAssignmentRequest,
    GetAssignmentSummaryRequest,
    ListAssignmentsRequest,
    ListAssignmentsResponse,
    ListContactsRequest,
    ListContactsResponse,
    ListOverdueAssignmentsRequest,
    UpdateAssignmentRequest,
    UpdateLastContactRequest,
)
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceServicer
from peermentor_server.rules import clock, ids
from peermentor_server.rules.clock import Clock
from peermentor_server.rules.errors import AssignmentNotFound
from peermentor_server.rules.pages import Page, Position
from peermentor_server.services import callers, idempotency, messages, preconditions
from peermentor_server.services.validation import Check, Checks, key_of
from peermentor_server.storage import assignments, contacts, idempotency_keys, summaries
from peermentor_server.storage.assignments import AssignmentRow, Contact
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.listing import Listing

_FILTERS: Mapping[str, Check] = {
    "status": Checks.status,
    "org_id": Checks.identifier,
    "coordinator_id": Checks.identifier,
    "peer_mentor_id": Checks.identifier,
    "mentee_id": Checks.identifier,
    "reminded": Checks.flag,
    "escalated": Checks.flag,
    "updated_after": Checks.date_or_instant,
}
_OVERDUE_FILTERS = {**_FILTERS, "started_before": Checks.day}

_SUMMARY_FILTERS = {name: _FILTERS[name] for name in ("org_id", "coordinator_id")}
# How long a contact counts as recent.
_RECENT_DAYS = 30
_key = partial(key_of, ids.ASSIGNMENT, "assignment_id", AssignmentNotFound)
_CONTACT_FILTERS: Mapping[str, Check] = {
    "contacted_from": Checks.date_or_instant,
    "contacted_before": Checks.date_or_instant,
    "contact_type": Checks.optional_word,
}

_CHANGES: Mapping[str, Check] = {
    "status": Checks.status,
    "peer_mentor_id": Checks.identifier,
    "coordinator_id": Checks.identifier,
    "org_id": Checks.identifier,
    "start_date": Checks.day,
    "mentee_name": Checks.optional_name,
    "reminder_sent_at": Checks.optional_instant,
    "escalation_sent_at": Checks.optional_instant,
}


class AssignmentService(AssignmentServiceServicer):
    """Answers the RPCs of protos/peermentor/v1/assignments.proto."""

    def __init__(self, database: Database, clock: Clock, overdue_after_days: int) -> None:
        self._database = database
        self._clock = clock
        self._overdue_after_days = overdue_after_days

    def ListAssignments(
        self, request: ListAssignmentsRequest, context: grpc.ServicerContext
    ) -> ListAssignmentsResponse:
        caller = callers.principal(context)
        with Checks(request) as check:
            filters = check.filters(_FILTERS)
            page = check.page(caller, filters)
        with self._database.read() as connection:
            listing = assignments.list_page(connection, caller.wall, filters, page)
        return self._answer(listing, page, lambda row: Position(row.id))

    def GetAssignment(
        self, request: GetAssignmentRequest, context: grpc.ServicerContext
    ) -> Assignment:
        caller = callers.principal(context)
        key = _key(request.assignment_id)
        with self._database.read() as connection:
            row = assignments.get(connection, caller.wall, key)
        return self._describe(row, request.assignment_id)

    def CreateAssignment(
        self, request: CreateAssignmentRequest, context: grpc.ServicerContext
    ) -> Assignment:
        caller = callers.principal(context)
        now = clock.stamp(self._clock)
        with Checks(request) as check:
            values = {
                "mentee_id": check.identifier("mentee_id"),
                "peer_mentor_id": check.identifier("peer_mentor_id"),
                "coordinator_id": check.identifier("coordinator_id"),
                "org_id": check.identifier("org_id"),
                "start_date": check.day("start_date") if check.has("start_date") else now.date(),
            }
            named = check.has("mentee_name")
            mentee_name = check.new_name("mentee_name") if named else None
            request_id = idempotency.request_id(check, request, context)
            content = {**values, "mentee_name": mentee_name}
            identity = idempotency.identify(check, caller, "CreateAssignment", request_id, content)
        make = partial(
            assignments.add, wall=caller.wall, values=values, mentee_name=mentee_name, now=now
        )
        with self._database.write() as connection:
            row = idempotency_keys.once(
                connection,
                identity,
                now,
                make=make,
                find=lambda connection, key: assignments.get(connection, caller.wall, key),
            )
        return self._describe(row)

    def UpdateAssignment(
        self, request: UpdateAssignmentRequest, context: grpc.ServicerContext
    ) -> Assignment:
        caller = callers.principal(context)
        with Checks(request) as check:
            changes = check.changes(_CHANGES)
            write_id = idempotency.write_id(check, request, context)
            expected = preconditions.read(check, request, context)
        key = _key(request.assignment_id)
        with self._database.write() as connection:
            now = clock.stamp(self._clock)
            row = assignments.change(connection, caller.wall, key, changes, now, write_id, expected)
        return self._describe(row, request.assignment_id)

    def DeleteAssignment(
        self, request: DeleteAssignmentRequest, context: grpc.ServicerContext
    ) -> DeleteAssignmentResponse:
        caller = callers.principal(context)
        with Checks(request) as check:
            expected = preconditions.read(check, request, context)
        key = _key(request.assignment_id)
        with self._database.erase() as connection:
            org_id = assignments.remove(connection, caller.wall, key, expected)
        if org_id is None:
            raise AssignmentNotFound(request.assignment_id)
        callers.note_organization(context, org_id)
        return DeleteAssignmentResponse(deleted=True, assignment_id=request.assignment_id)

    def UpdateLastContact(
        self, request: UpdateLastContactRequest, context: grpc.ServicerContext
    ) -> Assignment:
        caller = callers.principal(context)
        with Checks(request) as check:
            contact = Contact(
                check.past_instant("contact_date", self._clock()),
                check.optional_word("contact_type"),
                request.only_if_later,
            )
            write_id = idempotency.write_id(check, request, context)
            expected = preconditions.read(check, request, context)
        key = _key(request.assignment_id)
        with self._database.write() as connection:
            now = clock.stamp(self._clock)
            row = assignments.record_contact(
                connection, caller.wall, key, contact, now, write_id, expected
            )
        return self._describe(row, request.assignment_id)

    def ListOverdueAssignments(
        self, request: ListOverdueAssignmentsRequest, context: grpc.ServicerContext
    ) -> ListAssignmentsResponse:
        caller = callers.principal(context)
        with Checks(request) as check:
            filters = check.filters(_OVERDUE_FILTERS)
            cutoff = self._cutoff(check)
            # Without its own cutoff a token stays good over midnight: the later cutoff
            # only adds assignments to the end of the list.
            own_cutoff = cutoff if check.has("cutoff_date") else None
            page = check.page(caller, filters, own_cutoff)
        with self._database.read() as connection:
            listing = assignments.list_overdue_page(
                connection, caller.wall, filters, page, cutoff=cutoff
            )
        return self._answer(listing, page, lambda row: Position(row.id, row.last_contact_date))

    def GetAssignmentSummary(
        self, request: GetAssignmentSummaryRequest, context: grpc.ServicerContext
    ) -> AssignmentSummary:
        caller = callers.principal(context)
        with Checks(request) as check:
            filters = check.filters(_SUMMARY_FILTERS)
        today = self._today()
        with self._database.read() as connection:
            summary = summaries.summarize(
                connection,
                caller.wall,
                filters,
                cutoff=clock.overdue_cutoff(today, self._overdue_after_days),
                recent_from=clock.midnight(today - timedelta(days=_RECENT_DAYS)),
            )
        return messages.summary(summary, today)

    def ListContacts(
        self, request: ListContactsRequest, context: grpc.ServicerContext
    ) -> ListContactsResponse:
        caller = callers.principal(context)
        with Checks(request) as check:
            filters = check.filters(_CONTACT_FILTERS)
            page = check.page(caller, request.assignment_id, filters)
        key = _key(request.assignment_id)
        with self._database.read() as connection:
            listing = contacts.list_page(connection, caller.wall, key, filters, page)
        if listing is None:
            raise AssignmentNotFound(request.assignment_id)
        answer = ListContactsResponse(
            pagination=messages.pagination(page, listing.total),
            next_page_token=messages.next_page_token(page, listing, lambda row: Position(row.id)),
        )
        for row in listing.rows:
            messages.contact(answer.data.add(), row)
        return answer

    def _cutoff(self, check: Checks) -> datetime:
        if check.has("cutoff_date"):
            return check.date_or_instant("cutoff_date")
        return clock.overdue_cutoff(self._today(), self._overdue_after_days)

    def _today(self) -> date:
        return self._clock().date()

    def _describe(self, row: AssignmentRow | None, given_id: str | None = None) -> Assignment:
        if row is None:
            raise AssignmentNotFound(given_id)
        return messages.assignment(Assignment(), row, self._today())

    def _answer(
        self,
        listing: Listing[AssignmentRow],
        page: Page,
        position: Callable[[AssignmentRow], Position],
    ) -> ListAssignmentsResponse:
        today = self._today()
        answer = ListAssignmentsResponse(
            pagination=messages.pagination(page, listing.total),
            next_page_token=messages.next_page_token(page, listing, position),
        )
        for row in listing.rows:
            messages.assignment(answer.data.add(), row, today)
        return answer
