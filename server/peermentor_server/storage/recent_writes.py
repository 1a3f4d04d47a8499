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
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, Date, Select, Table, update

from peermentor_server.storage.tables import Instant

# Repetitions come within seconds. A row that was left alone for longer forgets its writes; and
# one that very many write to forgets the oldest.
FORGOTTEN_AFTER = timedelta(minutes=1)
MAX_CHARACTERS = 50_000

# Given the row before a write: the columns to change.
Changes = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def change_once(
    connection: Connection,
    query: Select[Any],
    table: Table,
    key: int,
    changes: Changes,
    *,
    write_id: str,
    now: datetime,
) -> tuple[Any, bool]:
    """Change a row unless this write has changed it before.

    Returns the row as it is after this write, or None if there is none; and whether it has been
    changed now. `query` selects rows of the table.
    """
    locked = query.add_columns(table.c.recent_writes).with_for_update(of=table)
    row = connection.execute(locked.where(table.c.id == key)).mappings().one_or_none()
    if row is None:
        return None, False
    before = dict(row)
    writes = json.loads(before.pop("recent_writes") or "[]")
    ids = [each for each, _, _ in writes]
    if write_id and write_id in ids:
        image = writes[ids.index(write_id)][2]
        after, new = before | _read(table, image or {}), {}
        # A repetition writes too, if only what is there: with synchronous replication its
        # commit then waits for the standby, as that of the first attempt did.
        recent = row["recent_writes"]
    else:
        new = {**changes(before), "updated_at": now}
        after = before | new
        recent = _with(writes, _image(table, before), write_id, now)
    statement = update(table).where(table.c.id == key)
    connection.execute(statement.values(**new, recent_writes=recent))
    return SimpleNamespace(**after), bool(new)


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


def _image(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of the table in a row, as JSON can hold them."""
    values = {column.name: row[column.name] for column in table.c if column.name in row}
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in values.items()
    }


def _read(table: Table, image: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _read_one(table.c[name].type, value) for name, value in image.items()}


def _read_one(kind: object, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, Instant):
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if isinstance(kind, Date) else value
