"""Updates that are stored once, however often they are asked for.

When a worker is lost, the gateway asks another one; a caller whose connection broke asks again.
The first attempt may have been stored all the same, and others may have changed the row since:
a second one must not undo that, and is answered as the first one would have been.

So a row knows its writes of the last minute, in the column `recent_writes`: a JSON list of
[id, second, image], the latest last. The image is what the row was after that write; that of
the latest is the row itself. An empty id stands for a write that nobody repeats.
"""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Connection, Date, Select, Table, bindparam, update

from peermentor_server.storage.tables import Instant

# Repetitions come within seconds. A row that was left alone for longer forgets its writes; and
# one that very many write to forgets the oldest.
FORGOTTEN_AFTER = timedelta(minutes=1)
MAX_CHARACTERS = 50_000

Row = TypeVar("Row", bound=NamedTuple)
# Given the row before a write: the columns to change.
Changes = Callable[[Row], Mapping[str, Any]]


class Update(Generic[Row]):
    """The statements by which rows of a table are changed."""

    def __init__(self, table: Table, query: Select[Any], row_type: type[Row]) -> None:
        """`query` selects the rows of the table, with the columns of `row_type`."""
        self.table, self.row_type = table, row_type
        self.find = (
            query.add_columns(table.c.recent_writes)
            .where(table.c.id == bindparam("key"))
            .with_for_update(of=table)
        )
        # Of the columns that it is executed with.
        self.store = update(table).where(table.c.id == bindparam("key"))


def change_once(
    connection: Connection,
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
    found = connection.execute(statements.find, {"key": key}).one_or_none()
    if found is None:
        return None, False
    *values, recent = found
    before = statements.row_type._make(values)
    writes = json.loads(recent or "[]")
    ids = [each for each, _, _ in writes]
    if write_id and write_id in ids:
        image = writes[ids.index(write_id)][2]
        after, new = before._replace(**_read(statements.table, image or {})), {}
        # A repetition writes too, if only what is there: with synchronous replication its
        # commit then waits for the standby, as that of the first attempt did.
    else:
        new = {**changes(before), "updated_at": now}
        after = before._replace(**new)
        recent = _with(writes, _image(statements.table, before), write_id, now)
    connection.execute(statements.store, {**new, "recent_writes": recent, "key": key})
    return after, bool(new)


def _with(writes: list[Any], before: Mapping[str, Any], write_id: str, now: datetime) -> str:
    """Return the writes of a row as text, with one more, that finds it as it was `before`."""
    oldest = (now - FORGOTTEN_AFTER).timestamp()
    if writes:
        writes[-1][2] = before
    kept = [each for each in writes if each[1] >= oldest]
    kept.append([write_id, int(now.timestamp()), None])
    text = json.dumps(kept)
    while len(text) > MAX_CHARACTERS:
        del kept[0]
        text = json.dumps(kept)
    return text


def _image(table: Table, row: NamedTuple) -> dict[str, Any]:
    """Return the columns of the table in a row, as JSON can hold them."""
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in row._asdict().items()
        if name in table.c
    }


def _read(table: Table, image: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _read_one(table.c[name].type, value) for name, value in image.items()}


def _read_one(kind: object, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, Instant):
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if isinstance(kind, Date) else value
