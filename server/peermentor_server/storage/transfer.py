"""All rows that organisations own, on their way out of one database and into another.

Functions take a connection of `Database.snapshot()` or `Database.write()`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from itertools import groupby
from typing import Any

from sqlalchemy import Column, Connection, FromClause, Select, Table, func, select

from peermentor_server.rules.principals import Wall
from peermentor_server.storage import upserts, walls
from peermentor_server.storage.tables import assignments, contacts, mentees, templates

# Fetched at once.
_BATCH = 1_000

# The values of a row, in the order of its kind's columns.
Values = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of rows: where they are, and whose."""

    table: Table
    source: FromClause
    org_id: Column[str]
    order: tuple[Column[Any], ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """What is moved: all but what is known of repeated writes, for a minute."""
        return tuple(each.name for each in self.table.c if each.name != "recent_writes")

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The columns that tell one row from the others."""
        return tuple(each.name for each in self.table.primary_key)

    def key_of(self, values: Sequence[Any]) -> Values:
        """Return what tells this row from the others."""
        return tuple(values[place] for place in self._key_places)

    @cached_property
    def _key_places(self) -> tuple[int, ...]:
        return tuple(map(self.place, self.key))

    def place(self, column: str) -> int:
        """Return where the values of this column are."""
        return self.columns.index(column)

    def are_same(self, some: Values, others: Values) -> bool:
        """Tell whether two rows hold the same. A name may have come to each by other ways."""
        if some == others:
            return True
        pairs = zip(self.columns, some, others, strict=True)
        return all(one == other for name, one, other in pairs if name != "name_version")

    def select(self, source: FromClause) -> Select[Any]:
        """Return the query for all rows of its table, or of a join with that."""
        return select(*(self.table.c[name] for name in self.columns)).select_from(source)


MENTEES = Kind(mentees, mentees, mentees.c.org_id, (mentees.c.mentee_id, mentees.c.org_id))
ASSIGNMENTS = Kind(assignments, assignments, assignments.c.org_id, (assignments.c.id,))
CONTACTS = Kind(
    contacts,
    contacts.join(assignments),
    assignments.c.org_id,
    (contacts.c.assignment_id, contacts.c.id),
)
TEMPLATES = Kind(templates, templates, templates.c.organization_id, (templates.c.id,))
# In this order, rows come after those that they name.
KINDS = (MENTEES, ASSIGNMENTS, CONTACTS, TEMPLATES)


class State(Enum):
    """How a row stands to what is stored."""

    NEW = auto()
    KNOWN = auto()
    DIFFERENT = auto()
    """There is another one, of the same key."""


class Differs(Exception):
    """A row is in the database already, with other values."""

    def __init__(self, kind: Kind, values: Values) -> None:
        """`values` are those that it should have."""
        super().__init__(kind.table.name)
        self.kind, self.values = kind, values


def count(connection: Connection, wall: Wall) -> dict[str, int]:
    """Return the number of rows of each table."""
    return {
        kind.table.name: connection.execute(
            select(func.count()).select_from(kind.source).where(*walls.inside(wall, kind.org_id))
        ).scalar_one()
        for kind in KINDS
    }


def without_rows(connection: Connection, wall: Wall) -> list[str]:
    """Return the organisations of which nothing is there."""
    # All others have mentees or templates.
    found = [
        connection.execute(select(kind.org_id).where(*walls.inside(wall, kind.org_id)).distinct())
        for kind in (MENTEES, TEMPLATES)
    ]
    return sorted((wall.organizations or set()).difference(*(each.scalars() for each in found)))


def rows(connection: Connection, wall: Wall) -> Iterator[tuple[Kind, Values]]:
    """Yield every row, some at a time in memory; contacts come right after their assignment."""
    yield from _rows_of(MENTEES, connection, wall)
    histories = groupby(_rows_of(CONTACTS, connection, wall), _assignment_id)
    key, history = next(histories, _NO_HISTORY)
    for kind, values in _rows_of(ASSIGNMENTS, connection, wall):
        yield kind, values
        if kind.key_of(values) == (key,):
            yield from history
            key, history = next(histories, _NO_HISTORY)
    yield from _rows_of(TEMPLATES, connection, wall)


_NO_HISTORY: tuple[None, Iterator[Any]] = None, iter(())


def _assignment_id(contact: tuple[Kind, Values]) -> Any:
    return contact[1][CONTACTS.place("assignment_id")]


def _rows_of(kind: Kind, connection: Connection, wall: Wall) -> Iterator[tuple[Kind, Values]]:
    query = kind.select(kind.source).where(*walls.inside(wall, kind.org_id)).order_by(*kind.order)
    for row in connection.execute(query, execution_options={"yield_per": _BATCH}):
        yield kind, tuple(row)


def states(connection: Connection, batch: Sequence[tuple[Kind, Values]]) -> list[State]:
    """Compare each of these rows with what is there, whosever that is."""
    there = {kind: _stored(connection, kind, told) for kind, told in _by_kind(batch)}
    return [_state(kind, there[kind].get(kind.key_of(values)), values) for kind, values in batch]


def _state(kind: Kind, stored: Values | None, values: Values) -> State:
    if stored is None:
        return State.NEW
    return State.KNOWN if kind.are_same(stored, values) else State.DIFFERENT


def _stored(connection: Connection, kind: Kind, told: Sequence[Values]) -> Mapping[Values, Values]:
    keys = zip(*map(kind.key_of, told), strict=True)
    # If the key has several columns, these find more than the keys, but are quicker.
    among = [
        kind.table.c[name].in_(sorted(set(some))) for name, some in zip(kind.key, keys, strict=True)
    ]
    found = connection.execute(kind.select(kind.table).where(*among))
    return {kind.key_of(row): tuple(row) for row in found}


def store(connection: Connection, wall: Wall, batch: Sequence[tuple[Kind, Values]]) -> None:
    """Store the rows that are not there yet; raise Differs for one that has other values."""
    for kind, told in _by_kind(batch):
        statement = upserts.insert(connection.dialect.name, kind.table).on_conflict_do_nothing()
        stored = connection.execute(
            statement,
            [dict(zip(kind.columns, values, strict=True)) for values in told],
            execution_options={"preserve_rowcount": True},
        )
        if stored.rowcount != len(told):
            _refuse_different(connection, kind, told)
        _require(connection, wall, kind, told)


def _refuse_different(connection: Connection, kind: Kind, told: Sequence[Values]) -> None:
    there = _stored(connection, kind, told)
    for values in told:
        stored = there.get(kind.key_of(values))
        if stored is None or not kind.are_same(stored, values):
            raise Differs(kind, values)


def _by_kind(batch: Sequence[tuple[Kind, Values]]) -> Iterator[tuple[Kind, list[Values]]]:
    for kind in KINDS:
        if told := [values for its_kind, values in batch if its_kind is kind]:
            yield kind, told


def _require(connection: Connection, wall: Wall, kind: Kind, told: Sequence[Values]) -> None:
    """Raise OrganizationForbidden for rows outside the wall: then nothing is stored."""
    if wall.organizations is None:
        return
    owner = CONTACTS.place("assignment_id") if kind is CONTACTS else kind.place(kind.org_id.name)
    owners = {values[owner] for values in told}
    if kind is CONTACTS:
        theirs = select(kind.org_id).where(assignments.c.id.in_(sorted(owners))).distinct()
        owners = set(connection.execute(theirs).scalars())
    for org_id in owners:
        wall.require(org_id)
