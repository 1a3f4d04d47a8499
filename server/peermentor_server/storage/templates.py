"""Templates of recurring activities.

Functions take a connection of `Database.read()` or `Database.write()`.
"""

from collections.abc import Mapping
from datetime import date, datetime, time
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, delete, insert, select

from peermentor_server.rules import zones
from peermentor_server.rules.etags import UNCONDITIONAL, Precondition
from peermentor_server.rules.pages import Page
from peermentor_server.rules.principals import Wall
from peermentor_server.storage import listing, walls
from peermentor_server.storage.listing import Form, Listing
from peermentor_server.storage.recent_writes import Update, change_once, find_to_change
from peermentor_server.storage.tables import templates
from peermentor_server.storage.unseen import Unseen


class TemplateRow(NamedTuple):
    """A template of a recurring activity."""

    id: int
    coordinator_id: str
    organization_id: str
    name: str
    activity_type: str
    recurrence_rule: str
    duration_minutes: int
    mentor_ids: list[str]
    notes_template: str
    is_active: bool
    starts_on: date
    time_zone: str
    excluded_dates: list[str]
    created_at: datetime
    updated_at: datetime
    version: int

    @property
    def state(self) -> str:
        """What each write moves: for rules/etags."""
        return str(self.version)

    @property
    def start(self) -> datetime:
        """From when on the rule recurs: the beginning of `starts_on`."""
        return datetime.combine(self.starts_on, time.min, zones.zone(self.time_zone))

    @property
    def excluded(self) -> set[date]:
        """The days of `excluded_dates`."""
        return set(map(date.fromisoformat, self.excluded_dates))


_COLUMNS = [templates.c[name] for name in TemplateRow._fields]
_ROWS: Select[Any] = select(*_COLUMNS)
_BY_KEY = _ROWS.where(templates.c.id == bindparam("key"))
_UPDATE = Update(templates, _ROWS, TemplateRow, "organization_id")
_INSERT = insert(templates).returning(*_COLUMNS)
_SELECTIVE = {"coordinator_id", "organization_id"}


def add(
    connection: Connection, wall: Wall, values: Mapping[str, Any], now: datetime
) -> TemplateRow:
    """Store a template created `now`."""
    wall.require(values["organization_id"])
    stored = {**values, "created_at": now, "updated_at": now}
    return TemplateRow._make(connection.execute(_INSERT, stored).one())


def get(connection: Connection, wall: Wall, key: int) -> TemplateRow | None:
    """Return one template, or None."""
    found = connection.execute(_BY_KEY, {"key": key}).one_or_none()
    row = None if found is None else TemplateRow._make(found)
    return row if row and wall.holds(row.organization_id) else None


def change(
    connection: Connection,
    wall: Wall,
    key: int,
    changes: Mapping[str, Any],
    now: datetime,
    write_id: str = "",
    expected: Precondition = UNCONDITIONAL,
) -> TemplateRow | None:
    """Change the named columns and no others; None if the template is not there.

    Once for each write_id, see storage/recent_writes. Raises EtagMismatch if the state of the
    template is not the expected one.
    """

    def checked(before: TemplateRow) -> Mapping[str, Any]:
        expected.require(before.state)
        return changes

    if "organization_id" in changes:
        wall.require(changes["organization_id"])
    row, _ = change_once(connection, wall, _UPDATE, key, checked, write_id=write_id, now=now)
    return row


def remove(
    connection: Connection, wall: Wall, key: int, expected: Precondition = UNCONDITIONAL
) -> str | None:
    """Delete a template; return the organisation that it was of, None if it is not there.

    Raises EtagMismatch if its state is not the expected one.
    """
    if expected.states:
        present = find_to_change(connection, wall, _UPDATE, key)
        if present is None:
            return None
        expected.require(present[0].state)
    theirs = walls.inside(wall, templates.c.organization_id)
    deleted = delete(templates).where(templates.c.id == key, *theirs)
    of_organization = deleted.returning(templates.c.organization_id)
    return connection.execute(of_organization).scalar_one_or_none()


def list_page(
    connection: Connection, wall: Wall, filters: Mapping[str, Any], page: Page
) -> Listing[TemplateRow]:
    """List by key the templates whose columns equal `filters`."""
    filters, several = walls.narrowed(wall, filters, "organization_id")
    statement = _list_statement(tuple(filters), Form.of(page), among=bool(several))
    return listing.fetch(connection, statement, {**filters, **several}, page, TemplateRow)


@cache
def _list_statement(filters: tuple[str, ...], form: Form, *, among: bool) -> Select[Any]:
    conditions = [templates.c[name] == Unseen(name, templates.c[name].type) for name in filters]
    if among:
        conditions.append(walls.among_several(templates.c.organization_id))
    few = any(name in _SELECTIVE for name in filters)
    return listing.by_key(_ROWS, templates, conditions, form=form, are_few=few)
