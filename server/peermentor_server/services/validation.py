"""Checks of requests: every refused field of a request is reported at once.

    with Checks(request) as check:
        org_id = check.identifier("org_id")
        ...

Each check takes the name of a field and returns the value to store. For a value that is
refused it notes a violation and returns something of no meaning; the end of the block then
raises InvalidFields. Descriptions never repeat the value. The limits stand in the comments
of the .proto files too.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self

from google.protobuf.timestamp_pb2 import Timestamp

from peermentor.v1.assignments_pb2 import Assignment
from peermentor_server.rules import clock, pages, recurrence, texts, zones
from peermentor_server.rules.errors import FieldViolation, InvalidFields, NotFound
from peermentor_server.rules.ids import IdFormat
from peermentor_server.rules.pages import Page
from peermentor_server.rules.principals import Principal

MAX_MENTORS = 100
MAX_EXCLUDED_DATES = 366
# Violations travel in the trailers of an answer, for which gRPC clients have room for 8 KiB.
MAX_ENTRY_VIOLATIONS = 20
MAX_DURATION_MINUTES = 7 * 24 * 60

STATUSES = tuple(name for name, number in Assignment.Status.items() if number)

Check = Callable[["Checks", str], Any]

_DAY_WANTED = "must be a date such as 2026-03-26"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def key_of(form: IdFormat, field: str, missing: type[NotFound], given_id: str) -> int:
    """Return the key of what a call is about; raise InvalidFields if it names nothing.

    What is no id is the id of nothing: that is `missing`.
    """
    found = form.parse(given_id)
    if not given_id:
        raise InvalidFields([FieldViolation(field, "is required")])
    if found is None:
        raise missing(given_id)
    return found


class Checks:
    """The checks of one request, and the violations found so far.

    Of anything else that has fields, those can be checked that are no enums and no messages.
    """

    def __init__(self, request: object) -> None:
        # Requests have few fields in common: they are asked for by name.
        self._request: Any = request
        self._violations: list[FieldViolation] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._violations:
            raise InvalidFields(self._violations)

    def refuse(self, field: str, description: str) -> None:
        """Note a violation."""
        self._violations.append(FieldViolation(field, description))

    def has(self, field: str) -> bool:
        """Tell whether the request names the field; a list counts when it is not empty."""
        descriptor = self._request.DESCRIPTOR.fields_by_name[field]
        if descriptor.is_repeated:
            return len(getattr(self._request, field)) > 0
        return bool(self._request.HasField(field))

    # --- Text ---

    def identifier(self, field: str) -> str:
        """Return a caller's id: ASCII characters without spaces and slashes, not blank."""
        return self._text(field, texts.identifier_problem)

    def word(self, field: str) -> str:
        """Return a short text on one line, not blank."""
        return self._text(
            field, partial(_problem, texts.MAX_WORD_LENGTH, required=True, one_line=True)
        )

    def optional_word(self, field: str) -> str:
        """Return a short text on one line, which may be empty."""
        return self._text(field, partial(_problem, texts.MAX_WORD_LENGTH, one_line=True))

    def name(self, field: str) -> str:
        """Return a name, not blank."""
        return self._text(field, partial(_problem, texts.MAX_NAME_LENGTH, required=True))

    def new_name(self, field: str) -> str:
        """Return a name, not blank, that takes the place of a stored one."""
        return self._text(field, texts.new_name_problem)

    def optional_name(self, field: str) -> str:
        """Return a name, which may be empty."""
        return self._text(field, texts.optional_name_problem)

    def notes(self, field: str) -> str:
        """Return a longer text, which may be empty."""
        return self._text(field, partial(_problem, texts.MAX_NOTES_LENGTH))

    def request_id(self, field: str, given: Collection[str]) -> str | None:
        """Return the id that a request was given in one or more places; None without any."""
        problem = None
        if len(given) > 1:
            problem = "must be the same wherever it is given"
        elif given:
            problem = texts.request_id_problem(*given)
        self._note(field, problem)
        return next(iter(given)) if given and problem is None else None

    def _text(self, field: str, find_problem: Callable[[str], str | None]) -> str:
        value: str = getattr(self._request, field)
        self._note(field, find_problem(value))
        return value

    def _note(self, field: str, problem: str | None) -> None:
        if problem is not None:
            self.refuse(field, problem)

    def mentor_ids(self, field: str) -> list[str]:
        """Return a list of ids, none of them twice."""
        return self._entries(field, MAX_MENTORS, texts.identifier_problem)

    def excluded_dates(self, field: str) -> list[str]:
        """Return a list of calendar days, as texts, none of them twice."""
        return self._entries(field, MAX_EXCLUDED_DATES, _day_problem)

    def _entries(
        self, field: str, most: int, find_problem: Callable[[str], str | None]
    ) -> list[str]:
        values: list[str] = list(getattr(self._request, field))
        if len(values) > most:
            self.refuse(field, f"must have at most {most} entries")
            return []
        refused = [
            (index, problem)
            for index, value in enumerate(values)
            if (problem := find_problem(value) or _repetition(value, values[:index]))
        ]
        for index, problem in refused[:MAX_ENTRY_VIOLATIONS]:
            self.refuse(f"{field}[{index}]", problem)
        if len(refused) > MAX_ENTRY_VIOLATIONS:
            self.refuse(field, f"has {len(refused) - MAX_ENTRY_VIOLATIONS} more refused entries")
        return values

    def recurrence_rule(self, field: str, now: datetime, is_stored: Callable[[str], bool]) -> str:
        """Return an RRULE that has an occurrence from now on.

        `is_stored` tells whether a rule that would be refused is stored already: it may be over
        by now, or have been written when less was refused.
        """
        value: str = getattr(self._request, field)
        if not value.strip():
            self.refuse(field, "is required and must not be blank")
            return value
        refusal = recurrence.refusal(value, now)
        if refusal is not None and not is_stored(value):
            reason = refusal.description.removeprefix(f"{refusal.part} ").removesuffix(".")
            self.refuse(field, f"{refusal.part}: {reason}")
        return value

    # --- Numbers, choices, time ---

    def flag(self, field: str) -> bool:
        """Return true or false, which must be given."""
        if not self.has(field):
            self.refuse(field, "is required: true or false")
        return bool(getattr(self._request, field))

    def duration_minutes(self, field: str) -> int:
        """Return a length of time in minutes."""
        value: int = getattr(self._request, field)
        if not 1 <= value <= MAX_DURATION_MINUTES:
            self.refuse(field, f"must be from 1 to {MAX_DURATION_MINUTES} minutes")
        return value

    def status(self, field: str) -> str:
        """Return the name of a status."""
        value: int = getattr(self._request, field)
        if value == Assignment.unspecified or value not in Assignment.Status.values():
            self.refuse(field, f"must be one of {', '.join(STATUSES)}")
            return ""
        return Assignment.Status.Name(Assignment.Status.ValueType(value))

    def day(self, field: str) -> date:
        """Return a calendar day."""
        value = clock.parse_date(getattr(self._request, field))
        if value is None:
            self.refuse(field, _DAY_WANTED)
            return date.min
        return value

    def first_day(self, field: str) -> date:
        """Return the day from which something recurs."""
        value = clock.parse_date(getattr(self._request, field))
        if value is None or value < recurrence.FIRST_DAY:
            self.refuse(field, f"{_DAY_WANTED}, and not before {recurrence.FIRST_DAY}")
            return date.min
        return value

    def time_zone(self, field: str) -> str:
        """Return the name of a time zone."""
        value: str = getattr(self._request, field)
        if value not in zones.names():
            self.refuse(field, "must be the IANA name of a time zone, such as Europe/Oslo")
        return value

    def date_or_instant(self, field: str) -> datetime:
        """Return an instant, or the midnight UTC that begins a day."""
        value = clock.parse_date_or_instant(getattr(self._request, field))
        if value is None:
            self.refuse(field, "must be a date such as 2026-03-26, or an instant with its offset")
            return _EPOCH
        return value

    def optional_instant(self, field: str) -> datetime | None:
        """Return an instant, or None where the request has none."""
        return self._instant(field) if self.has(field) else None

    def past_instant(self, field: str, now: datetime) -> datetime:
        """Return an instant that is over, but for a difference of clocks."""
        if not self.has(field):
            self.refuse(field, "is required, such as 2026-03-26T09:45:00Z")
            return _EPOCH
        value = self._instant(field)
        if value > now + clock.CLOCK_SKEW:
            self.refuse(field, "must not be more than 5 minutes in the future")
        return value

    def _instant(self, field: str) -> datetime:
        value: Timestamp = getattr(self._request, field)
        try:
            if 0 <= value.nanos < 1_000_000_000:
                return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
        except OverflowError:
            pass
        self.refuse(field, "must be an instant in the years 1 to 9999")
        return _EPOCH

    # --- Whole requests ---

    def changes(self, checks: Mapping[str, Check]) -> dict[str, Any]:
        """Return the values to change: of the fields in `update_mask`, else of those present.

        `checks` has one check for each field that can change. A field that the mask names
        without a value goes through its check too, which clears it or refuses that.
        """
        # A mask may name a field again and again; it is checked once.
        mask = list(dict.fromkeys(self._request.update_mask.paths))
        names = mask or [name for name in checks if self.has(name)]
        if not names:
            self.refuse("update_mask", f"nothing to change; give one of {', '.join(checks)}")
        unknown = [name for name in names if name not in checks]
        if unknown:
            self.refuse("update_mask", f"must name only {', '.join(checks)}")
        return {name: checks[name](self, name) for name in names if name in checks}

    def filters(self, checks: Mapping[str, Check]) -> dict[str, Any]:
        """Return the values of the filters that the request names."""
        return {name: check(self, name) for name, check in checks.items() if self.has(name)}

    def days_from_until(self, from_field: str, until_field: str) -> tuple[date | None, date | None]:
        """Return the first and the last day, either of which may be left out."""
        first = self.day(from_field) if self.has(from_field) else None
        last = self.day(until_field) if self.has(until_field) else None
        if first is not None and last is not None and date.min < last < first:
            self.refuse(until_field, f"must not be before {from_field}")
        return first, last

    def page(self, caller: Principal, *filters: object) -> Page:
        """Return the page that is asked for, of a list with these filters."""
        limit = self.limit(pages.MAX_LIMIT)
        # One subject may call for other organisations later: a token has the total of these.
        within = caller.wall.organizations
        whose = caller.subject, within and sorted(within)
        binding = pages.bind(self._request.DESCRIPTOR.full_name, whose, *filters)
        token: str = self._request.page_token
        if not token:
            return Page(number=self._page_number(), limit=limit, binding=binding)
        if self.has("page"):
            self.refuse("page", "must not be given along with page_token")
        decoded = None
        if len(token) <= pages.MAX_TOKEN_LENGTH:
            decoded = pages.decode_token(token, binding)
        if decoded is None:
            self.refuse("page_token", "is not the next_page_token of a list with these filters")
            return Page()
        number, after, total = decoded
        return Page(number, limit, after, binding, total)

    def limit(self, most: int) -> int:
        """Return how many are asked for; more than `most` means `most`."""
        limit: int = self._request.limit if self.has("limit") else pages.DEFAULT_LIMIT
        if limit < 1:
            self.refuse("limit", "must be at least 1")
        return min(limit, most)

    def _page_number(self) -> int:
        number: int = self._request.page if self.has("page") else 1
        if not 1 <= number <= pages.MAX_PAGE:
            self.refuse("page", f"must be from 1 to {pages.MAX_PAGE}; go on by page_token")
        return number


def _day_problem(value: str) -> str | None:
    return None if clock.parse_date(value) else _DAY_WANTED


def _repetition(value: str, earlier: Sequence[str]) -> str | None:
    return "is in the list already" if value in earlier else None


def _problem(max_length: int, value: str, **rules: bool) -> str | None:
    return texts.problem(value, max_length, **rules)
