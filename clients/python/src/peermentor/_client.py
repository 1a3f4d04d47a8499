"""The synchronous client.

Written by clients/generator from protos/; never edited.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from peermentor import _models
from peermentor._sync import Connection, Listing
from peermentor._connection import Method, Part
from peermentor._arguments import UNSET, Unset, day, day_or_instant, fill, uuid
from peermentor.v1 import pagination_pb2
from peermentor.v1 import assignments_pb2
from peermentor.v1 import error_reason_pb2
from peermentor.v1 import templates_pb2

__all__ = [
    "Assignments",
    "Client",
    "Templates",
]


class Assignments:
    """Who mentors whom, when they last had contact, who is overdue, and when a
    reminder or an escalation went out.

    Conventions of every RPC:
    - Identifiers (`mentee_id`, `peer_mentor_id`, `coordinator_id`, `org_id`) belong to
      the caller: 1 to 128 ASCII letters, digits and signs, without spaces, slashes or
      backslashes, and not `.` or `..`. They are case-sensitive.
    - Free text keeps tabs and line breaks, and refuses other control characters.
    - Instants are UTC. Offsets are accepted and normalised; fractions are kept to the
      microsecond. What the server stamps is in whole seconds.
    - A "day" is a UTC calendar day.
    - A refused field answers INVALID_ARGUMENT with a google.rpc.BadRequest that lists
      every violation at once; of a long list, the first 20 and how many more. Every error
      carries a google.rpc.ErrorInfo whose `reason` is an ErrorReason without its prefix.
    - A call that fails changes nothing.
    - A create with a `request_id` is safe to repeat: when no answer came, send the same
      request again with the same id. For a day the server answers with what the first one
      made, as it is by then, and makes nothing more; NOT_FOUND when that has been deleted.
      The same id with other content is refused: ALREADY_EXISTS (REQUEST_ID_REUSED). Each
      RPC has ids of its own, and a create that failed has used none. The header, or gRPC
      metadata, `idempotency-key` does the same as the field. Neither is the `x-request-id`,
      which names a call in the log.
    - An update with an `idempotency-key` is safe to repeat: within a minute, the same request
      with the same key is stored once and has the same answer, even if others have changed the
      resource since.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __repr__(self) -> str:
        """Tell whose part this is."""
        return f"<{type(self).__name__} of {self._connection!r}>"

    def list(
        self,
        *,
        status: _models.AssignmentStatus | _models.AssignmentStatusName | None = None,
        org_id: str | None = None,
        coordinator_id: str | None = None,
        peer_mentor_id: str | None = None,
        mentee_id: str | None = None,
        page: int | None = None,
        limit: int | None = None,
        page_token: str | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> Listing[_models.Assignment]:
        """Lists assignments by ascending id; without `status`, the open ones (active or paused).

        Errors: INVALID_ARGUMENT.

        Arguments:
            status: Only this status. Absent: the open ones (active or paused).
            org_id: Only this organization.
            coordinator_id: Only this coordinator.
            peer_mentor_id: Only this peer mentor.
            mentee_id: Only this mentee.
            page: The page, from 1 (the default) to 100,000. Beyond that, go on by `page_token`.
            limit: The size of a page: 1 to 100, default 20. More than 100 means 100.
            page_token: The `next_page_token` of the page before, with the same filters; then without `page`.
            timeout: Seconds that each page may take with its repetitions. Default: the client's.
            metadata: More headers for each page, over those of the client.
            retries: How often each page is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.AssignmentService/ListAssignments",
            assignments_pb2.ListAssignmentsRequest,
            assignments_pb2.ListAssignmentsResponse,
            repeatable=True,
            key_lasts=0,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            assignments_pb2.ListAssignmentsRequest(),
            {},
            {
                "status": status,
                "org_id": org_id,
                "coordinator_id": coordinator_id,
                "peer_mentor_id": peer_mentor_id,
                "mentee_id": mentee_id,
                "page": page,
                "limit": limit,
                "page_token": page_token,
            },
            {},
        )
        return Listing(call, request, _models.Assignment)

    def get(
        self,
        assignment_id: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> _models.Assignment:
        """Gets one assignment.

        Errors: NOT_FOUND (ASSIGNMENT_NOT_FOUND).

        Arguments:
            assignment_id: The assignment.
            timeout: Seconds that the call may take with its repetitions. Default: the client's.
            metadata: More headers for the call, over those of the client.
            retries: How often the call is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.AssignmentService/GetAssignment",
            assignments_pb2.GetAssignmentRequest,
            assignments_pb2.Assignment,
            repeatable=True,
            key_lasts=0,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            assignments_pb2.GetAssignmentRequest(),
            {"assignment_id": assignment_id},
            {},
            {},
        )
        return _models.Assignment.from_message(call(request))

    def create(
        self,
        *,
        mentee_id: str,
        peer_mentor_id: str,
        coordinator_id: str,
        org_id: str,
        start_date: str | date | Unset = UNSET,
        mentee_name: str | Unset = UNSET,
        request_id: str | UUID | Unset = UNSET,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> _models.Assignment:
        """Creates an assignment, which is active and has had no contact yet; once for each
        `request_id`.

        Errors: INVALID_ARGUMENT; ALREADY_EXISTS (REQUEST_ID_REUSED); NOT_FOUND
        (ASSIGNMENT_NOT_FOUND), when what the `request_id` made has been deleted.

        Arguments:
            mentee_id: Who is mentored. Required.
            peer_mentor_id: Who mentors. Required.
            coordinator_id: Who looks after the pair. Required.
            org_id: The organization both belong to. Required.
            start_date: The first day, `YYYY-MM-DD`. Default: today in UTC.
            mentee_name: Sets the name of this mentee, also on the mentee's other assignments; at most 200
                characters, not blank. Absent: the name already known, if any.
            request_id: Makes this create safe to repeat: 1 to 64 printable ASCII characters without spaces,
                chosen by the caller, best a UUID4. Where `idempotency-key` is sent too, both must be
                the same.
            timeout: Seconds that the call may take with its repetitions. Default: the client's.
            metadata: More headers for the call, over those of the client.
            retries: How often the call is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.AssignmentService/CreateAssignment",
            assignments_pb2.CreateAssignmentRequest,
            assignments_pb2.Assignment,
            repeatable=True,
            key_lasts=86000,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            assignments_pb2.CreateAssignmentRequest(),
            {},
            {
                "mentee_id": mentee_id,
                "peer_mentor_id": peer_mentor_id,
                "coordinator_id": coordinator_id,
                "org_id": org_id,
                "start_date": start_date,
                "mentee_name": mentee_name,
                "request_id": request_id,
            },
            {"start_date": day, "request_id": uuid},
        )
        return _models.Assignment.from_message(call(request))

    def update(
        self,
        assignment_id: str,
        *,
        status: _models.AssignmentStatus | _models.AssignmentStatusName | Unset = UNSET,
        peer_mentor_id: str | Unset = UNSET,
        coordinator_id: str | Unset = UNSET,
        org_id: str | Unset = UNSET,
        start_date: str | date | Unset = UNSET,
        mentee_name: str | Unset = UNSET,
        reminder_sent_at: datetime | None | Unset = UNSET,
        escalation_sent_at: datetime | None | Unset = UNSET,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> _models.Assignment:
        """Changes the fields that the request names and leaves the others as they are, in one
        statement: two callers that change different fields never undo each other.

        Errors: INVALID_ARGUMENT, also when nothing is named; NOT_FOUND (ASSIGNMENT_NOT_FOUND).

        Arguments:
            assignment_id: The assignment.
            status: Where the assignment stands.
            peer_mentor_id: Who mentors.
            coordinator_id: Who looks after the pair.
            org_id: The organization both belong to.
            start_date: The first day, `YYYY-MM-DD`.
            mentee_name: Sets the name of this mentee, also on the mentee's other assignments; at most 200
                characters, not blank. Empty clears it.
            reminder_sent_at: When the reminder of this cycle went out. None clears it.
            escalation_sent_at: When the escalation of this cycle went out. None clears it.
            timeout: Seconds that the call may take with its repetitions. Default: the client's.
            metadata: More headers for the call, over those of the client.
            retries: How often the call is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.AssignmentService/UpdateAssignment",
            assignments_pb2.UpdateAssignmentRequest,
            assignments_pb2.Assignment,
            repeatable=True,
            key_lasts=50,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            assignments_pb2.UpdateAssignmentRequest(),
            {"assignment_id": assignment_id},
            {
                "status": status,
                "peer_mentor_id": peer_mentor_id,
                "coordinator_id": coordinator_id,
                "org_id": org_id,
                "start_date": start_date,
                "mentee_name": mentee_name,
                "reminder_sent_at": reminder_sent_at,
                "escalation_sent_at": escalation_sent_at,
            },
            {"start_date": day},
        )
        return _models.Assignment.from_message(call(request))

    def delete(
        self,
        assignment_id: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> None:
        """Deletes an assignment and its contact history. With a mentee's last assignment goes
        the mentee's name: it is personal data that nothing needs any more.

        Errors: NOT_FOUND (ASSIGNMENT_NOT_FOUND).

        Arguments:
            assignment_id: The assignment.
            timeout: Seconds that the call may take with its repetitions. Default: the client's.
            metadata: More headers for the call, over those of the client.
            retries: How often the call is repeated at most. Default: not at all.
        """
        method = Method(
            "/peermentor.v1.AssignmentService/DeleteAssignment",
            assignments_pb2.DeleteAssignmentRequest,
            assignments_pb2.DeleteAssignmentResponse,
            repeatable=False,
            key_lasts=0,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            assignments_pb2.DeleteAssignmentRequest(),
            {"assignment_id": assignment_id},
            {},
            {},
        )
        call(request)

    def update_last_contact(
        self,
        assignment_id: str,
        *,
        contact_date: datetime,
        contact_type: str | Unset = UNSET,
        only_if_later: bool | Unset = UNSET,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> _models.Assignment:
        """Sets when mentor and mentee last had contact, and keeps the entry in the contact
        history. A date later than the stored one starts a new reminder cycle:
        `reminder_sent_at` and `escalation_sent_at` become null. An earlier date is a
        correction and leaves both. A client that tells of contacts long after they were, since
        it was offline, sends `only_if_later` along: a later last contact then stays.

        The same date and type again, with no other contact in between, is a repetition: it is
        not kept in the history twice.

        Errors: INVALID_ARGUMENT; NOT_FOUND (ASSIGNMENT_NOT_FOUND).

        Arguments:
            assignment_id: The assignment.
            contact_date: When the contact was. Required; at most 5 minutes in the future.
            contact_type: How the contact was made, in the caller's words, such as `message` or `call`; at
                most 64 characters, without control characters.
            only_if_later: Keeps a later last contact: unless `contact_date` is later than that, this contact goes
                into the history alone. The answer shows which last contact holds. Default: false, the
                last contact becomes this one.
            timeout: Seconds that the call may take with its repetitions. Default: the client's.
            metadata: More headers for the call, over those of the client.
            retries: How often the call is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.AssignmentService/UpdateLastContact",
            assignments_pb2.UpdateLastContactRequest,
            assignments_pb2.Assignment,
            repeatable=True,
            key_lasts=50,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            assignments_pb2.UpdateLastContactRequest(),
            {"assignment_id": assignment_id},
            {
                "contact_date": contact_date,
                "contact_type": contact_type,
                "only_if_later": only_if_later,
            },
            {},
        )
        return _models.Assignment.from_message(call(request))

    def list_overdue(
        self,
        *,
        cutoff_date: str | date | None = None,
        started_before: str | date | None = None,
        status: _models.AssignmentStatus | _models.AssignmentStatusName | None = None,
        org_id: str | None = None,
        coordinator_id: str | None = None,
        peer_mentor_id: str | None = None,
        mentee_id: str | None = None,
        page: int | None = None,
        limit: int | None = None,
        page_token: str | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> Listing[_models.Assignment]:
        """Lists the active assignments without contact since the cutoff, the longest-silent
        first and the never-contacted before all; assignments of equal silence by id.

        Errors: INVALID_ARGUMENT.

        Arguments:
            cutoff_date: No contact since: a date `YYYY-MM-DD`, which means its midnight UTC, or an RFC 3339
                instant. Default: the server's setting, 14 days ago at midnight UTC.
            started_before: Only assignments whose `start_date` is before this date, `YYYY-MM-DD`: leaves out
                newcomers who have had no time for a contact yet.
            status: Only this status. Only active assignments are ever overdue, so any other status
                lists none.
            org_id: Only this organization.
            coordinator_id: Only this coordinator.
            peer_mentor_id: Only this peer mentor.
            mentee_id: Only this mentee.
            page: The page, from 1 (the default) to 100,000. Beyond that, go on by `page_token`.
            limit: The size of a page: 1 to 100, default 20. More than 100 means 100.
            page_token: The `next_page_token` of the page before, with the same filters; then without `page`.
            timeout: Seconds that each page may take with its repetitions. Default: the client's.
            metadata: More headers for each page, over those of the client.
            retries: How often each page is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.AssignmentService/ListOverdueAssignments",
            assignments_pb2.ListOverdueAssignmentsRequest,
            assignments_pb2.ListAssignmentsResponse,
            repeatable=True,
            key_lasts=0,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            assignments_pb2.ListOverdueAssignmentsRequest(),
            {},
            {
                "cutoff_date": cutoff_date,
                "started_before": started_before,
                "status": status,
                "org_id": org_id,
                "coordinator_id": coordinator_id,
                "peer_mentor_id": peer_mentor_id,
                "mentee_id": mentee_id,
                "page": page,
                "limit": limit,
                "page_token": page_token,
            },
            {"cutoff_date": day_or_instant, "started_before": day},
        )
        return Listing(call, request, _models.Assignment)


class Templates:
    """Templates of recurring activities, so that nobody types them in again each time.

    The conventions of AssignmentService hold here too: identifiers (`coordinator_id`,
    `organization_id`, `mentor_ids`), free text, instants, errors, creates that are repeated.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __repr__(self) -> str:
        """Tell whose part this is."""
        return f"<{type(self).__name__} of {self._connection!r}>"

    def list(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        page_token: str | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> Listing[_models.RecurringTemplate]:
        """Lists templates by ascending id.

        Errors: INVALID_ARGUMENT.

        Arguments:
            page: The page, from 1 (the default) to 100,000. Beyond that, go on by `page_token`.
            limit: The size of a page: 1 to 100, default 20. More than 100 means 100.
            page_token: The `next_page_token` of the page before; then without `page`.
            timeout: Seconds that each page may take with its repetitions. Default: the client's.
            metadata: More headers for each page, over those of the client.
            retries: How often each page is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.TemplateService/ListTemplates",
            templates_pb2.ListTemplatesRequest,
            templates_pb2.ListTemplatesResponse,
            repeatable=True,
            key_lasts=0,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            templates_pb2.ListTemplatesRequest(),
            {},
            {
                "page": page,
                "limit": limit,
                "page_token": page_token,
            },
            {},
        )
        return Listing(call, request, _models.RecurringTemplate)

    def get(
        self,
        id: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> _models.RecurringTemplate:
        """Gets one template.

        Errors: NOT_FOUND (TEMPLATE_NOT_FOUND).

        Arguments:
            id: The template.
            timeout: Seconds that the call may take with its repetitions. Default: the client's.
            metadata: More headers for the call, over those of the client.
            retries: How often the call is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.TemplateService/GetTemplate",
            templates_pb2.GetTemplateRequest,
            templates_pb2.RecurringTemplate,
            repeatable=True,
            key_lasts=0,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            templates_pb2.GetTemplateRequest(),
            {"id": id},
            {},
            {},
        )
        return _models.RecurringTemplate.from_message(call(request))

    def create(
        self,
        *,
        coordinator_id: str,
        organization_id: str,
        name: str,
        activity_type: str,
        recurrence_rule: str,
        duration_minutes: int,
        mentor_ids: Sequence[str] | Unset = UNSET,
        notes_template: str | Unset = UNSET,
        is_active: bool | Unset = UNSET,
        request_id: str | UUID | Unset = UNSET,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> _models.RecurringTemplate:
        """Creates a template; once for each `request_id`.

        Errors: INVALID_ARGUMENT; ALREADY_EXISTS (REQUEST_ID_REUSED); NOT_FOUND
        (TEMPLATE_NOT_FOUND), when what the `request_id` made has been deleted.

        Arguments:
            coordinator_id: Who keeps the template. Required.
            organization_id: The organization it belongs to. Required.
            name: What it is called: at most 200 characters, not blank. Required.
            activity_type: What kind of activity it is: at most 64 characters, not blank, without control
                characters. Required.
            recurrence_rule: When it comes again. Required.

                One RRULE line of RFC 5545 (3.3.10), the prefix `RRULE:` optional, at most 500
                characters. FREQ is DAILY, WEEKLY, MONTHLY or YEARLY; INTERVAL is at most 1,000, COUNT
                at most 10,000; UNTIL is a UTC date-time or, in a rule without BYHOUR, BYMINUTE and
                BYSECOND, a date; at most 96 times of day. Refused are unknown or repeated parts, values
                out of the RFC's ranges or named twice, leap seconds, blanks, COUNT together with UNTIL,
                an UNTIL that is past, and rules that name no moment in the 40 years after the write,
                from whichever start.
            duration_minutes: How long it takes: 1 to 10,080 minutes (a week). Required.
            mentor_ids: The mentors who take part: at most 100, none twice.
            notes_template: What to begin the notes of each activity with: at most 5,000 characters.
            is_active: Whether activities are to be made from it. Default: true.
            request_id: Makes this create safe to repeat: 1 to 64 printable ASCII characters without spaces,
                chosen by the caller, best a UUID4. Where `idempotency-key` is sent too, both must be
                the same.
            timeout: Seconds that the call may take with its repetitions. Default: the client's.
            metadata: More headers for the call, over those of the client.
            retries: How often the call is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.TemplateService/CreateTemplate",
            templates_pb2.CreateTemplateRequest,
            templates_pb2.RecurringTemplate,
            repeatable=True,
            key_lasts=86000,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            templates_pb2.CreateTemplateRequest(),
            {},
            {
                "coordinator_id": coordinator_id,
                "organization_id": organization_id,
                "name": name,
                "activity_type": activity_type,
                "recurrence_rule": recurrence_rule,
                "duration_minutes": duration_minutes,
                "mentor_ids": mentor_ids,
                "notes_template": notes_template,
                "is_active": is_active,
                "request_id": request_id,
            },
            {"request_id": uuid},
        )
        return _models.RecurringTemplate.from_message(call(request))

    def update(
        self,
        id: str,
        *,
        coordinator_id: str | Unset = UNSET,
        organization_id: str | Unset = UNSET,
        name: str | Unset = UNSET,
        activity_type: str | Unset = UNSET,
        recurrence_rule: str | Unset = UNSET,
        duration_minutes: int | Unset = UNSET,
        mentor_ids: Sequence[str] | Unset = UNSET,
        notes_template: str | Unset = UNSET,
        is_active: bool | Unset = UNSET,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> _models.RecurringTemplate:
        """Changes the fields that the request names and leaves the others as they are, in one
        statement: two callers that change different fields never undo each other.

        Errors: INVALID_ARGUMENT, also when nothing is named; NOT_FOUND (TEMPLATE_NOT_FOUND).

        Arguments:
            id: The template.
            coordinator_id: Who keeps the template.
            organization_id: The organization it belongs to.
            name: What it is called.
            activity_type: What kind of activity it is.
            recurrence_rule: When it comes again.
            duration_minutes: How long it takes, in minutes.
            mentor_ids: The mentors who take part. Replaces all. An empty list clears it.
            notes_template: What to begin the notes of each activity with. Empty clears it.
            is_active: Whether activities are to be made from it.
            timeout: Seconds that the call may take with its repetitions. Default: the client's.
            metadata: More headers for the call, over those of the client.
            retries: How often the call is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.TemplateService/UpdateTemplate",
            templates_pb2.UpdateTemplateRequest,
            templates_pb2.RecurringTemplate,
            repeatable=True,
            key_lasts=50,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            templates_pb2.UpdateTemplateRequest(),
            {"id": id},
            {
                "coordinator_id": coordinator_id,
                "organization_id": organization_id,
                "name": name,
                "activity_type": activity_type,
                "recurrence_rule": recurrence_rule,
                "duration_minutes": duration_minutes,
                "mentor_ids": mentor_ids,
                "notes_template": notes_template,
                "is_active": is_active,
            },
            {},
        )
        return _models.RecurringTemplate.from_message(call(request))

    def delete(
        self,
        id: str,
        *,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> None:
        """Deletes a template.

        Errors: NOT_FOUND (TEMPLATE_NOT_FOUND).

        Arguments:
            id: The template.
            timeout: Seconds that the call may take with its repetitions. Default: the client's.
            metadata: More headers for the call, over those of the client.
            retries: How often the call is repeated at most. Default: not at all.
        """
        method = Method(
            "/peermentor.v1.TemplateService/DeleteTemplate",
            templates_pb2.DeleteTemplateRequest,
            templates_pb2.DeleteTemplateResponse,
            repeatable=False,
            key_lasts=0,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            templates_pb2.DeleteTemplateRequest(),
            {"id": id},
            {},
            {},
        )
        call(request)

    def list_by_coordinator(
        self,
        coordinator_id: str,
        *,
        page: int | None = None,
        limit: int | None = None,
        page_token: str | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> Listing[_models.RecurringTemplate]:
        """Lists the templates of one coordinator by ascending id.

        Errors: INVALID_ARGUMENT.

        Arguments:
            coordinator_id: The coordinator.
            page: The page, from 1 (the default) to 100,000. Beyond that, go on by `page_token`.
            limit: The size of a page: 1 to 100, default 20. More than 100 means 100.
            page_token: The `next_page_token` of the page before, of the same coordinator; then without `page`.
            timeout: Seconds that each page may take with its repetitions. Default: the client's.
            metadata: More headers for each page, over those of the client.
            retries: How often each page is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.TemplateService/ListTemplatesByCoordinator",
            templates_pb2.ListTemplatesByCoordinatorRequest,
            templates_pb2.ListTemplatesResponse,
            repeatable=True,
            key_lasts=0,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            templates_pb2.ListTemplatesByCoordinatorRequest(),
            {"coordinator_id": coordinator_id},
            {
                "page": page,
                "limit": limit,
                "page_token": page_token,
            },
            {},
        )
        return Listing(call, request, _models.RecurringTemplate)

    def list_by_organization(
        self,
        organization_id: str,
        *,
        page: int | None = None,
        limit: int | None = None,
        page_token: str | None = None,
        timeout: float | None = None,
        metadata: Mapping[str, str] | None = None,
        retries: int | None = None,
    ) -> Listing[_models.RecurringTemplate]:
        """Lists the templates of one organization by ascending id.

        Errors: INVALID_ARGUMENT.

        Arguments:
            organization_id: The organization.
            page: The page, from 1 (the default) to 100,000. Beyond that, go on by `page_token`.
            limit: The size of a page: 1 to 100, default 20. More than 100 means 100.
            page_token: The `next_page_token` of the page before, of the same organization; then without
                `page`.
            timeout: Seconds that each page may take with its repetitions. Default: the client's.
            metadata: More headers for each page, over those of the client.
            retries: How often each page is repeated at most. Default: the client's.
        """
        method = Method(
            "/peermentor.v1.TemplateService/ListTemplatesByOrganization",
            templates_pb2.ListTemplatesByOrganizationRequest,
            templates_pb2.ListTemplatesResponse,
            repeatable=True,
            key_lasts=0,
        )
        call = self._connection._to(method, timeout, metadata, retries)
        request = fill(
            templates_pb2.ListTemplatesByOrganizationRequest(),
            {"organization_id": organization_id},
            {
                "page": page,
                "limit": limit,
                "page_token": page_token,
            },
            {},
        )
        return Listing(call, request, _models.RecurringTemplate)


class Client(Connection):
    """Calls the service; may be used from many threads.

    - `assignments`
    - `templates`
    """

    assignments: Part[Assignments] = Part(Assignments)
    """Who mentors whom, when they last had contact, who is overdue, and when a
    reminder or an escalation went out.
    """
    templates: Part[Templates] = Part(Templates)
    """Templates of recurring activities, so that nobody types them in again each time."""
