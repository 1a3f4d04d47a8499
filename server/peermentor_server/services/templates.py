"""TemplateService: each RPC checks its request, runs one transaction, returns one message."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import partial
from itertools import islice
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody

from peermentor.v1.templates_pb2 import (
    CreateTemplateRequest,
    DeleteTemplateRequest,
    DeleteTemplateResponse,
    GetTemplateCalendarRequest,
    GetTemplateRequest,
    ListOccurrencesRequest,
    ListOccurrencesResponse,
    ListTemplatesByCoordinatorRequest,
    ListTemplatesByOrganizationRequest,
    ListTemplatesRequest,
    ListTemplatesResponse,
    RecurringTemplate,
    UpdateTemplateRequest,
)
from peermentor.v1.templates_pb2_grpc import TemplateServiceServicer
from peermentor_server.rules import clock, etags, ids, recurrence, zones
from peermentor_server.rules.clock import Clock
from peermentor_server.rules.errors import TemplateNotFound
from peermentor_server.rules.pages import Position
from peermentor_server.rules.principals import Principal
from peermentor_server.services import callers, idempotency, messages, preconditions
from peermentor_server.services.validation import Check, Checks, key_of
from peermentor_server.storage import idempotency_keys, templates
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.templates import TemplateRow

_FILTERS: Mapping[str, Check] = {"is_active": Checks.flag, "activity_type": Checks.word}


# A year of days.
_MAX_OCCURRENCES = 366
_key = partial(key_of, ids.TEMPLATE, "id", TemplateNotFound)
# No day to start on is today, which depends on the time zone.
_DEFAULTS = {"is_active": True, "starts_on": None, "time_zone": zones.UTC}


def _fields(now: datetime, is_stored: Callable[[str], bool]) -> Mapping[str, Check]:
    return {
        "coordinator_id": Checks.identifier,
        "organization_id": Checks.identifier,
        "name": Checks.name,
        "activity_type": Checks.word,
        "recurrence_rule": lambda check, field: check.recurrence_rule(field, now, is_stored),
        "duration_minutes": Checks.duration_minutes,
        "mentor_ids": Checks.mentor_ids,
        "notes_template": Checks.notes,
        "is_active": Checks.flag,
        "starts_on": Checks.first_day,
        "time_zone": Checks.time_zone,
        "excluded_dates": Checks.excluded_dates,
    }


class TemplateService(TemplateServiceServicer):
    """Answers the RPCs of protos/peermentor/v1/templates.proto."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def ListTemplates(
        self, request: ListTemplatesRequest, context: grpc.ServicerContext
    ) -> ListTemplatesResponse:
        return self._list(request, callers.principal(context), {})

    def GetTemplate(
        self, request: GetTemplateRequest, context: grpc.ServicerContext
    ) -> RecurringTemplate:
        caller = callers.principal(context)
        key = _key(request.id)
        with self._database.read() as connection:
            row = templates.get(connection, caller.wall, key)
        return _describe(row, request.id)

    def CreateTemplate(
        self, request: CreateTemplateRequest, context: grpc.ServicerContext
    ) -> RecurringTemplate:
        caller = callers.principal(context)
        now = clock.stamp(self._clock)
        with Checks(request) as check:
            request_id = idempotency.request_id(check, request, context)
            fields = _fields(now, lambda _rule: self._is_repeated(caller, request_id, now))
            defaults = {name: value for name, value in _DEFAULTS.items() if not check.has(name)}
            values = defaults | {
                name: field(check, name) for name, field in fields.items() if name not in defaults
            }
            identity = idempotency.identify(check, caller, "CreateTemplate", request_id, values)
        values["starts_on"] = values["starts_on"] or zones.today(now, values["time_zone"])
        make = partial(templates.add, wall=caller.wall, values=values, now=now)
        with self._database.write() as connection:
            row = idempotency_keys.once(
                connection,
                identity,
                now,
                make=make,
                find=lambda connection, key: templates.get(connection, caller.wall, key),
            )
        return _describe(row)

    def UpdateTemplate(
        self, request: UpdateTemplateRequest, context: grpc.ServicerContext
    ) -> RecurringTemplate:
        caller = callers.principal(context)
        now = clock.stamp(self._clock)
        with Checks(request) as check:
            changes = check.changes(
                _fields(now, lambda rule: self._has_rule(caller, request.id, rule))
            )
            write_id = idempotency.write_id(check, request, context)
            expected = preconditions.read(check, request, context)
        key = _key(request.id)
        with self._database.write() as connection:
            row = templates.change(connection, caller.wall, key, changes, now, write_id, expected)
        return _describe(row, request.id)

    def DeleteTemplate(
        self, request: DeleteTemplateRequest, context: grpc.ServicerContext
    ) -> DeleteTemplateResponse:
        caller = callers.principal(context)
        with Checks(request) as check:
            expected = preconditions.read(check, request, context)
        key = _key(request.id)
        with self._database.write() as connection:
            org_id = templates.remove(connection, caller.wall, key, expected)
        if org_id is None:
            raise TemplateNotFound(request.id)
        callers.note_organization(context, org_id)
        return DeleteTemplateResponse(success=True, deleted_id=request.id)

    def ListTemplatesByCoordinator(
        self, request: ListTemplatesByCoordinatorRequest, context: grpc.ServicerContext
    ) -> ListTemplatesResponse:
        required = {"coordinator_id": Checks.identifier}
        return self._list(request, callers.principal(context), required)

    def ListTemplatesByOrganization(
        self, request: ListTemplatesByOrganizationRequest, context: grpc.ServicerContext
    ) -> ListTemplatesResponse:
        required = {"organization_id": Checks.identifier}
        return self._list(request, callers.principal(context), required)

    def ListOccurrences(
        self, request: ListOccurrencesRequest, context: grpc.ServicerContext
    ) -> ListOccurrencesResponse:
        caller = callers.principal(context)
        with Checks(request) as check:
            first, last = check.days_from_until("from_date", "until_date")
            limit = check.limit(_MAX_OCCURRENCES)
        row = self._find(caller, request.id)
        moments = recurrence.occurrences(
            row.recurrence_rule,
            row.start,
            first=first or zones.today(self._clock(), row.time_zone),
            last=last or date.max,
            excluded=row.excluded,
        )
        answer = ListOccurrencesResponse()
        for moment in islice(moments, limit):
            messages.occurrence(answer.data.add(), moment)
        return answer

    def GetTemplateCalendar(
        self, request: GetTemplateCalendarRequest, context: grpc.ServicerContext
    ) -> HttpBody:
        # With the package icalendar, which workers would wait for when they start.
        from peermentor_server.services import calendar_files

        row = self._find(callers.principal(context), request.id)
        content = calendar_files.render(row)
        headers = {
            "etag": etags.of_content(content),
            "content-disposition": f'attachment; filename="{request.id}.ics"',
        }
        callers.add_headers(context, headers)
        return HttpBody(content_type=calendar_files.MEDIA_TYPE, data=content)

    def _find(self, caller: Principal, template_id: str) -> TemplateRow:
        key = _key(template_id)
        with self._database.read() as connection:
            row = templates.get(connection, caller.wall, key)
        if row is None:
            raise TemplateNotFound(template_id)
        return row

    def _has_rule(self, caller: Principal, template_id: str, rule: str) -> bool:
        key = ids.TEMPLATE.parse(template_id)
        if key is None:
            return False
        with self._database.read() as connection:
            row = templates.get(connection, caller.wall, key)
        return row is not None and row.recurrence_rule == rule

    def _is_repeated(self, caller: Principal, request_id: str | None, now: datetime) -> bool:
        # Then the rule has been stored, or the request is refused for its other content.
        if request_id is None:
            return False
        with self._database.read() as connection:
            return idempotency_keys.is_remembered(
                connection, caller.subject, "CreateTemplate", request_id, now
            )

    def _list(
        self, request: Any, caller: Principal, required: Mapping[str, Check]
    ) -> ListTemplatesResponse:
        with Checks(request) as check:
            filters = {name: field(check, name) for name, field in required.items()}
            filters |= check.filters(_FILTERS)
            page = check.page(caller, filters)
        with self._database.read() as connection:
            listing = templates.list_page(connection, caller.wall, filters, page)
        answer = ListTemplatesResponse(
            pagination=messages.pagination(page, listing.total),
            next_page_token=messages.next_page_token(page, listing, lambda row: Position(row.id)),
        )
        for row in listing.rows:
            messages.template(answer.data.add(), row)
        return answer


def _describe(row: TemplateRow | None, given_id: str | None = None) -> RecurringTemplate:
    if row is None:
        raise TemplateNotFound(given_id)
    return messages.template(RecurringTemplate(), row)
