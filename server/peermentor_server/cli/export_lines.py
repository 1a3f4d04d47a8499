"""The lines of an export, each of them a JSON object: one that tells of the file, then rows.

Fields have the names that they have in the API, and what is written there is checked by the
same rules.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, NamedTuple

from peermentor_server.cli.input_files import InvalidFile
from peermentor_server.rules import clock, ids, zones
from peermentor_server.rules.errors import InvalidFields
from peermentor_server.rules.ids import IdFormat
from peermentor_server.services.validation import STATUSES, Checks
from peermentor_server.storage import last_keys, schema, transfer
from peermentor_server.storage.transfer import Kind, Values

# Of these lines. It grows with each field; files of older formats are read too.
FORMAT = 2
# More than any row takes, with every letter of it escaped.
MAX_LINE_LENGTH = 262_144
# The service counts on from the numbers of a file, up to what a database holds (2**63 - 1). Nearly
# all of that is left for ids to come, and no program rounds such a number (RFC 8259, 6).
MAX_KEY = 2**53 - 1
# The SEQUENCE of a calendar ends at 2**31 - 1 (RFC 5545, 3.3.8). Half of that is left for writes to
# come; a row that is written to each second has as many in 34 years.
MAX_VERSION = 2**30

_TYPES = {
    str: "must be a text",
    int: "must be a whole number",
    bool: "must be true or false",
    list: "must be a list of texts",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line tells."""

    exported_at: datetime
    organizations: list[str] | None
    """None for all of them."""
    rows: Mapping[str, int]
    """How many of each table follow."""
    last_keys: Mapping[str, int]
    """The last key of each table that was given out: no row has a later one."""
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Line:
    """A row, or what is wrong with it, and the number of its line."""

    number: int
    row: tuple[Kind, Values] | None = None
    problem: str | None = None


class _LineChecks(Checks):
    """The checks of one line."""

    def __init__(self, fields: Mapping[str, Any], now: datetime, *, again: bool) -> None:
        super().__init__(SimpleNamespace(**fields))
        self._now, self._again = now, again

    def value(self, field: str) -> Any:
        """Return what is of the right type, and that is all."""
        return getattr(self._request, field)

    def id(self, form: IdFormat, field: str) -> int:
        """Return the key of an id of ours."""
        key = form.parse(self.value(field))
        if key is None:
            self.refuse(field, f"must be an id such as {form.render(1)}")
        return key or 0

    def key(self, field: str) -> int:
        """Return a key that is no id of ours."""
        return self._number(field, MAX_KEY)

    def version(self, field: str) -> int:
        """Return how often something was written."""
        return self._number(field, MAX_VERSION)

    def _number(self, field: str, highest: int) -> int:
        value: int = self.value(field)
        if not 1 <= value <= highest:
            self.refuse(field, f"must be from 1 to {highest}")
        return value

    def status_name(self, field: str) -> str:
        """Return the name of a status."""
        value: str = self.value(field)
        if value not in STATUSES:
            self.refuse(field, f"must be one of {', '.join(STATUSES)}")
        return value

    def moment(self, field: str) -> datetime | None:
        """Return an instant, or None for null."""
        value: str | None = self.value(field)
        if value is None:
            return None
        parsed = clock.parse_instant(value)
        if parsed is None:
            self.refuse(field, "must be an instant such as 2026-03-26T09:45:00Z")
        return parsed

    def past_moment(self, field: str) -> datetime | None:
        """Return an instant that is over, or None for null."""
        parsed = self.moment(field)
        if parsed is not None and parsed > self._now + clock.CLOCK_SKEW:
            self.refuse(field, "must not be more than 5 minutes in the future")
        return parsed

    def rule(self, field: str) -> str:
        """Return an RRULE that had an occurrence when it could first be stored."""
        # Takes ten times as long as all else, and longer.
        if self._again:
            return str(self.value(field))
        created_at = clock.parse_instant(self.value("created_at")) or self._now
        return self.recurrence_rule(field, created_at, lambda _rule: False)


class _Field(NamedTuple):
    """A field of a line, and of a row."""

    column: str
    check: Callable[[Any, str], Any]
    type: type = str
    write: Callable[[Any], Any] = lambda value: value
    nullable: bool = False
    default: Callable[[Mapping[str, Any]], Any] | None = None
    """What it is where a file of an older format lacks it, by the other fields of the line."""


def _instant(value: datetime | None) -> str | None:
    return None if value is None else f"{value.isoformat().removesuffix('+00:00')}Z"


def _identifier(column: str) -> _Field:
    return _Field(column, _LineChecks.identifier)


def _id(column: str, form: IdFormat) -> _Field:
    return _Field(column, lambda check, field: check.id(form, field), write=form.render)


def _moment(column: str, *, nullable: bool = False) -> _Field:
    return _Field(column, _LineChecks.moment, write=_instant, nullable=nullable)


def _past_moment(column: str, *, nullable: bool = False) -> _Field:
    return _moment(column, nullable=nullable)._replace(check=_LineChecks.past_moment)


def _version(column: str) -> _Field:
    # Goes along: a number that began anew would come again, for other content.
    return _Field(column, _LineChecks.version, int, default=lambda _line: 1)


def _day_of_creation(line: Mapping[str, Any]) -> str:
    # Exports have instants in UTC. What is none is refused as such.
    return str(line.get("created_at"))[:10]


# In the order of the columns.
FIELDS: Mapping[Kind, Mapping[str, _Field]] = {
    transfer.MENTEES: {
        "mentee_id": _identifier("mentee_id"),
        "org_id": _identifier("org_id"),
        "mentee_name": _Field("mentee_name", _LineChecks.optional_name),
        "name_version": _version("name_version"),
    },
    transfer.ASSIGNMENTS: {
        "assignment_id": _id("id", ids.ASSIGNMENT),
        "mentee_id": _identifier("mentee_id"),
        "peer_mentor_id": _identifier("peer_mentor_id"),
        "coordinator_id": _identifier("coordinator_id"),
        "org_id": _identifier("org_id"),
        "status": _Field("status", _LineChecks.status_name),
        "start_date": _Field("start_date", _LineChecks.day, write=date.isoformat),
        "last_contact_date": _past_moment("last_contact_date", nullable=True),
        "reminder_sent_at": _moment("reminder_sent_at", nullable=True),
        "escalation_sent_at": _moment("escalation_sent_at", nullable=True),
        "created_at": _moment("created_at"),
        "updated_at": _moment("updated_at"),
        "version": _version("version"),
    },
    transfer.CONTACTS: {
        "contact_id": _Field("id", _LineChecks.key, int),
        "assignment_id": _id("assignment_id", ids.ASSIGNMENT),
        "contact_date": _past_moment("contact_date"),
        "contact_type": _Field("contact_type", _LineChecks.optional_word),
        "recorded_at": _moment("recorded_at"),
    },
    transfer.TEMPLATES: {
        "id": _id("id", ids.TEMPLATE),
        "coordinator_id": _identifier("coordinator_id"),
        "organization_id": _identifier("organization_id"),
        "name": _Field("name", _LineChecks.name),
        "activity_type": _Field("activity_type", _LineChecks.word),
        "recurrence_rule": _Field("recurrence_rule", _LineChecks.rule),
        "duration_minutes": _Field("duration_minutes", _LineChecks.duration_minutes, int),
        "mentor_ids": _Field("mentor_ids", _LineChecks.mentor_ids, list),
        "notes_template": _Field("notes_template", _LineChecks.notes),
        "is_active": _Field("is_active", _LineChecks.value, bool),
        "starts_on": _Field(
            "starts_on", _LineChecks.first_day, write=date.isoformat, default=_day_of_creation
        ),
        "time_zone": _Field("time_zone", _LineChecks.time_zone, default=lambda _line: zones.UTC),
        "excluded_dates": _Field(
            "excluded_dates", _LineChecks.excluded_dates, list, default=lambda _line: []
        ),
        "created_at": _moment("created_at"),
        "updated_at": _moment("updated_at"),
        "version": _version("version"),
    },
}
_NAMES = {
    transfer.MENTEES: "mentee",
    transfer.ASSIGNMENTS: "assignment",
    transfer.CONTACTS: "contact",
    transfer.TEMPLATES: "template",
}
_KINDS = {name: kind for kind, name in _NAMES.items()}
_EXPORT = "export"


def is_export(file: Path) -> bool:
    """Tell whether this file begins as one that was exported."""
    beginning = f'{{"kind":"{_EXPORT}"'.encode()
    with file.open("rb") as opened:
        return opened.read(len(beginning)) == beginning


def write_header(header: Header) -> bytes:
    """Return the first line."""
    return _line(
        {
            "kind": _EXPORT,
            "format": FORMAT,
            "schema": schema.number(schema.NEWEST),
            "exported_at": _instant(header.exported_at),
            "organizations": header.organizations,
            "rows": header.rows,
            "last_keys": header.last_keys,
        }
    )


def write(kind: Kind, values: Values) -> bytes:
    """Return the line of a row."""
    return _line({"kind": _NAMES[kind], **_told(kind, values)})


def _told(kind: Kind, values: Values) -> dict[str, Any]:
    fields = zip(FIELDS[kind].items(), values, strict=True)
    return {name: field.write(value) for (name, field), value in fields}


def _line(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def title(kind: Kind, values: Values) -> str:
    """Say which row this is, without a name."""
    told = _told(kind, values)
    if kind is transfer.MENTEES:
        return f"mentee {told['mentee_id']} of {told['org_id']}"
    if kind is transfer.CONTACTS:
        return f"contact {told['contact_id']} of {told['assignment_id']}"
    return f"{_NAMES[kind]} {told[key_field(kind)]}"


def key_field(kind: Kind) -> str:
    """Return the field that tells one row from the others, in an organisation at least."""
    return next(iter(FIELDS[kind]))


def read_header(file: BinaryIO) -> Header:
    """Read the first line; raise InvalidFile for what no export begins with."""
    try:
        fields = _fields(file.readline(MAX_LINE_LENGTH + 1))
        _require_version(fields)
        return _header(fields)
    except _InvalidLine as invalid:
        raise InvalidFile(f"line 1: {invalid}") from None


def _require_version(fields: Mapping[str, Any]) -> None:
    if fields.get("kind") != _EXPORT:
        raise _InvalidLine("kind: must be export, as in the first line of each export")
    if fields.get("format") not in range(1, FORMAT + 1):
        raise _InvalidLine(f"format: must be from 1 to {FORMAT}; a newer program reads newer ones")
    revision = fields.get("schema")
    if not isinstance(revision, str) or not re.fullmatch("[0-9]{4}", revision):
        raise _InvalidLine("schema: must be the revision of a schema, such as 0001")
    if int(revision) > int(schema.number(schema.NEWEST)):
        raise _InvalidLine("schema: is newer than this program; import it by a newer one")


def _header(fields: Mapping[str, Any]) -> Header:
    # Like a row, whose fields are of simple types alone.
    tables = {
        "rows": [kind.table.name for kind in transfer.KINDS],
        "last_keys": list(last_keys.KEYED),
    }
    counted = {}
    for field, names in tables.items():
        given = fields.get(field)
        if not isinstance(given, dict) or given.keys() != set(names):
            raise _InvalidLine(f"{field}: must be an object with {', '.join(names)}")
        for name, number in given.items():
            if type(number) is not int or not 0 <= number <= MAX_KEY:
                raise _InvalidLine(f"{field}.{name}: must be a whole number from 0 to {MAX_KEY}")
        counted[field] = given
    organizations = fields.get("organizations")
    if organizations is not None and not _are_texts(organizations):
        raise _InvalidLine("organizations: must be a list of ids, or null for all")
    exported_at = fields.get("exported_at")
    instant = clock.parse_instant(exported_at) if isinstance(exported_at, str) else None
    if instant is None:
        raise _InvalidLine("exported_at: must be an instant such as 2026-03-26T09:45:00Z")
    return Header(instant, organizations, **counted, format=fields["format"])


def read(file: BinaryIO, header: Header, now: datetime, *, again: bool = False) -> Iterator[Line]:
    """Yield each row after the first line, or what is wrong with it.

    When that is done `again`, recurrence rules are known to be good.
    """
    number = 1
    while line := file.readline(MAX_LINE_LENGTH + 1):
        number += 1
        try:
            yield Line(number, _row(_fields(line), header, now, again=again))
        except _InvalidLine as invalid:
            yield Line(number, problem=str(invalid))
        while not line.endswith(b"\n") and (line := file.readline(MAX_LINE_LENGTH)):
            pass


class _InvalidLine(Exception):
    """What is wrong with a line; never what stands there."""


def _fields(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_LENGTH:
        raise _InvalidLine(f"is longer than {MAX_LINE_LENGTH} bytes")
    try:
        found = json.loads(line.decode(), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError):
        raise _InvalidLine("is not JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise _InvalidLine("is not a JSON object")
    return found


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _InvalidLine("has a field twice")
    return found


def _row(
    fields: dict[str, Any], header: Header, now: datetime, *, again: bool
) -> tuple[Kind, Values]:
    name = fields.pop("kind", None)
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise _InvalidLine(f"kind: must be one of {', '.join(_KINDS)}")
    known = FIELDS[kind]
    if header.format < FORMAT:
        defaults = {name: each.default(fields) for name, each in known.items() if each.default}
        fields = defaults | fields
    if problems := _problems(known, fields):
        raise _InvalidLine("; ".join(problems))
    try:
        with _LineChecks(fields, now, again=again) as check:
            values = tuple(field.check(check, name) for name, field in known.items())
    except InvalidFields as invalid:
        raise _InvalidLine(invalid.message) from None
    return kind, values


def _problems(known: Mapping[str, _Field], fields: Mapping[str, Any]) -> list[str]:
    """Say what is not there, of another type or unknown, which is not repeated."""
    problems = [
        f"{name}: {_TYPES[field.type] if name in fields else 'is required'}"
        for name, field in known.items()
        if not _is_of_type(field, fields.get(name)) or name not in fields
    ]
    if fields.keys() - known.keys():
        problems.append(f"must have no fields but kind, {', '.join(known)}")
    return problems


def _is_of_type(field: _Field, value: Any) -> bool:
    if field.type is list:
        return _are_texts(value)
    # A bool is an int too.
    return type(value) is field.type or (field.nullable and value is None)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
