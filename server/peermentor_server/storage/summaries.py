"""How things stand with the assignments of an organisation or a coordinator, in figures.

Functions take a connection of `Database.read()`.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, or_, select

from peermentor_server.rules.principals import Wall
from peermentor_server.storage import walls
from peermentor_server.storage.tables import ACTIVE, OPEN, assignments, contacts
from peermentor_server.storage.unseen import Unseen


class Summary(NamedTuple):
    """Figures of open assignments."""

    open: int
    paused: int
    overdue: int
    """Active, without contact since the cutoff."""
    never_contacted: int
    """Active, without any."""
    recent_contacts: int
    longest_silent_since: datetime | None
    """The earliest last contact of the active ones; None if there is none."""


def summarize(
    connection: Connection,
    wall: Wall,
    filters: Mapping[str, str],
    *,
    cutoff: datetime,
    recent_from: datetime,
) -> Summary:
    """Sum up the open assignments whose columns equal `filters`."""
    filters, several = walls.narrowed(wall, filters, "org_id")
    statement = _statement(tuple(filters), among=bool(several))
    values = {**filters, **several, "cutoff": cutoff, "recent_from": recent_from}
    return Summary._make(connection.execute(statement, values).one())


@cache
def _statement(filters: tuple[str, ...], *, among: bool) -> Select[Any]:
    columns = [assignments.c[name] for name in filters]
    conditions = [OPEN, *(each == Unseen(each.name, each.type) for each in columns)]
    if among:
        conditions.append(walls.among_several(assignments.c.org_id))
    last, told = assignments.c.last_contact_date, contacts.c.contact_date
    # Not a join: SQLite would go through all contacts, those of ended assignments too.
    theirs = contacts.c.assignment_id.in_(select(assignments.c.id).where(*conditions))
    recent = select(func.count()).where(theirs, told >= Unseen("recent_from", told.type))
    return select(
        func.count(),
        func.count().filter(assignments.c.status == "paused"),
        func.count().filter(ACTIVE, or_(last.is_(None), last < Unseen("cutoff", last.type))),
        func.count().filter(ACTIVE, last.is_(None)),
        recent.scalar_subquery(),
        func.min(last).filter(ACTIVE),
    ).where(*conditions)
