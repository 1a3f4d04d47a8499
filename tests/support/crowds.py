"""A hundred thousand rows in every table, as after some years, within seconds.

The database makes them itself; only moments and days, which each of them keeps in its own way,
are told, in a table that is gone with the transaction.
"""

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Date,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    case,
    cast,
    insert,
    literal,
    select,
    text,
    true,
)

from peermentor_server.storage.tables import (
    Instant,
    assignments,
    contacts,
    idempotency_keys,
    mentees,
    templates,
)

SIZE = 100_000
# Of them: a name has one or two assignments, an organisation a hundred.
MENTEES = 60_000
MENTORS = 20_000
COORDINATORS = 3_000
ORGANISATIONS = 1_000

_MOMENTS = 1_000
# Most assignments are over.
_STATUSES = ["active", "active", "paused", *["completed"] * 6, "cancelled"]
# A prime: products with it, and what is left of them, are scattered.
_PRIME = 2_147_483_647

Row = dict[str, ColumnElement[Any]]

_moments = Table(
    "moments",
    MetaData(),
    Column("n", Integer, primary_key=True),
    Column("instant", Instant),
    Column("day", Date),
    prefixes=["TEMPORARY"],
)


# For this once: what makes it quicker, and lets assignments come before their mentees.
_HASTE = {
    "sqlite": "PRAGMA defer_foreign_keys = ON",
    "postgresql": "SET LOCAL session_replication_role = replica",
}


def fill(connection: Connection, now: datetime) -> None:
    """Fill an empty database with rows of the last thousand hours and days before `now`."""
    connection.execute(text(_HASTE[connection.dialect.name]))
    _moments.create(connection)
    moments = [
        {"n": n, "instant": now - timedelta(hours=n), "day": now.date() - timedelta(days=n)}
        for n in range(_MOMENTS)
    ]
    connection.execute(insert(_moments), moments)
    instant, day = _moments.c.instant, _moments.c.day
    stamps = {"created_at": instant, "updated_at": instant}
    assignment: Row = {
        "mentee_id": _name("mentee", _chance(1, MENTEES)),
        "peer_mentor_id": _name("mentor", _chance(2, MENTORS)),
        "coordinator_id": _name("coordinator", _chance(3, COORDINATORS)),
        "org_id": _name("org", _chance(4, ORGANISATIONS)),
        "status": case(dict(enumerate(_STATUSES)), value=_chance(5, len(_STATUSES))),
        "start_date": day,
        "last_contact_date": case((_chance(6, 10) > 0, instant)),
        **stamps,
    }
    _store(connection, assignments, assignment)
    known = select(assignments.c.org_id, assignments.c.mentee_id, literal("Name")).distinct()
    connection.execute(insert(mentees).from_select(["org_id", "mentee_id", "mentee_name"], known))
    contact = {
        "assignment_id": _chance(7, SIZE) + 1,
        "contact_date": instant,
        "contact_type": literal("call"),
        "recorded_at": instant,
    }
    _store(connection, contacts, contact)
    template: Row = {
        "coordinator_id": _name("coordinator", _chance(3, COORDINATORS)),
        "organization_id": _name("org", _chance(4, ORGANISATIONS)),
        "name": literal("Name"),
        "activity_type": literal("review"),
        "recurrence_rule": literal("FREQ=DAILY"),
        "duration_minutes": literal(60),
        "mentor_ids": literal(["mentor_1"], templates.c.mentor_ids.type),
        "notes_template": literal("Notes"),
        "is_active": true(),
        "starts_on": literal(date(2026, 3, 26)),
        "time_zone": literal("UTC"),
        "excluded_dates": literal([], templates.c.excluded_dates.type),
        **stamps,
    }
    _store(connection, templates, template)
    request = {
        "owner": literal(""),
        "rpc": literal("CreateAssignment"),
        "request_id": _name("key", _NUMBER),
        "digest": literal("digest"),
        "resource_key": _NUMBER + 1,
        "created_at": instant,
    }
    _store(connection, idempotency_keys, request)
    _moments.drop(connection)


_ONE = select(literal(0, BigInteger).label("n")).cte("numbers", recursive=True)
_NUMBERS = _ONE.union_all(select(_ONE.c.n + 1).where(_ONE.c.n + 1 < bindparam("size")))
_NUMBER = _NUMBERS.c.n


def _chance(salt: int, count: int) -> ColumnElement[int]:
    """Return a number below `count` that looks like chance, another one for each row."""
    return (_NUMBER + 1) * pow(48_271, salt, _PRIME) % _PRIME % count


def _name(kind: str, number: ColumnElement[int]) -> ColumnElement[str]:
    return literal(f"{kind}_") + cast(number, Text)


def _store(connection: Connection, table: Table, row: Row, size: int = SIZE) -> None:
    rows = select(*row.values()).join_from(_NUMBERS, _moments, _moments.c.n == _chance(8, _MOMENTS))
    connection.execute(insert(table).from_select(list(row), rows), {"size": size})
