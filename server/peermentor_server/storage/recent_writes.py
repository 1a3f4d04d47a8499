"""Updates that are stored once, however often they are asked for.

When a worker is lost, the gateway asks another one; a caller whose connection broke asks again.
The first attempt may have been stored all the same, and others may have changed the row since:
a second one must not undo that, and is answered as the first one would have been.

So a row knows its writes of the last minute, in the column `recent_writes`: a line for each, the
latest last, with its id, its second, and what to undo it with, as JSON: the columns that it
changed, as they were. An empty id stands for a write that nobody repeats.

To add a line, none of the others is read: rows that many write to have hundreds.
"""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Connection, Date, Select, Table, bindparam, update

from peermentor_server.rules.principals import Wall
from peermentor_server.storage.tables import Instant

# Repetitions come within seconds. A row that was left alone for longer forgets its writes; and
# one that very many write to forgets the oldest.
FORGOTTEN_AFTER = timedelta(minutes=1)
MAX_CHARACTERS = 16_000

Row = TypeVar("Row", bound=NamedTuple)
# Given the row before a write: the columns to change.
Changes = Callable[[Row], Mapping[str, Any]]


class Update(Generic[Row]):
    """The statements by which rows of a table are changed."""

    def __init__(
        self, table: Table, query: Select[Any], row_type: type[Row], org_column: str
    ) -> None:
        """`query` selects the rows of the table, with the columns of `row_type`.

        `org_column` says to which organisation a row belongs.
        """
        self.table, self.row_type, self.org_column = table, row_type, org_column
        self.find = (
            query.add_columns(table.c.recent_writes)
            .where(table.c.id == bindparam("key"))
            .with_for_update(of=table)
        )
        # Of the columns that it is executed with.
        self.store = update(table).where(table.c.id == bindparam("key"))


def change_once(
    connection: Connection,
    wall: Wall,
    statements: Update[Row],
    key: int,
    changes: Changes[Row],
    *,
    write_id: str,
    now: datetime,
) -> tuple[Row | None, bool]:
    """Change a row unless this write has changed it before.

    Returns the row as it is after this write, or None if there is none; and whether it has been
    changed now.
    """
    found = find_to_change(connection, wall, statements, key)
    if found is None:
        return None, False
    before, version, recent = found
    if write_id and f"\n{write_id} " in recent:
        after, new = _after(write_id, recent, before, statements.table), {}
        # A repetition writes the row too, unchanged: with synchronous replication its commit
        # then waits for the standby, as that of the first attempt did.
    else:
        new = {**changes(before), "updated_at": now, "version": version + 1}
        after = before._replace(**new)
        undo = {name: _as_json(getattr(before, name)) for name in new}
        recent = _still_known(recent, now) + _line(write_id, now, undo)
    connection.execute(statements.store, {**new, "recent_writes": recent, "key": key})
    return after, bool(new)


def find_to_change(
    connection: Connection, wall: Wall, statements: Update[Row], key: int
) -> tuple[Row, int, str] | None:
    """Lock a row; return it, its version and its recent writes, or None if there is none."""
    found = connection.execute(statements.find, {"key": key}).one_or_none()
    if found is None:
        return None
    *values, recent = found
    row = statements.row_type._make(values)
    if not wall.holds(getattr(row, statements.org_column)):
        return None
    return row, found.version, recent


def _line(write_id: str, now: datetime, undo: Mapping[str, Any]) -> str:
    return f"\n{write_id} {int(now.timestamp())} {json.dumps(undo, ensure_ascii=False)}"


def _parts(line: str) -> tuple[str, int, str]:
    write_id, second, undo = line.split(" ", 2)
    return write_id, int(second), undo


def _still_known(recent: str, now: datetime) -> str:
    """Return the lines that are not too old, nor too many."""
    oldest = (now - FORGOTTEN_AFTER).timestamp()
    if len(recent) > MAX_CHARACTERS:
        _, newline, rest = recent[-MAX_CHARACTERS:].partition("\n")
        recent = newline + rest
    while recent:
        first, _, rest = recent[1:].partition("\n")
        if _parts(first)[1] >= oldest:
            break
        recent = rest and f"\n{rest}"
    return recent


def _after(write_id: str, recent: str, row: Row, table: Table) -> Row:
    """Return a row as it was after a write, by undoing all later ones."""
    for line in reversed(recent[1:].split("\n")):
        found, _, undo = _parts(line)
        if found == write_id:
            break
        row = row._replace(**_read(table, json.loads(undo)))
    return row


def _as_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _read(table: Table, image: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _read_one(table.c[name].type, value) for name, value in image.items()}


def _read_one(kind: object, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, Instant):
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if isinstance(kind, Date) else value
