"""Updates that are stored once, however often they are asked for.

When a worker is lost, the gateway asks another one; a caller whose connection broke asks again.
The first attempt may have been stored all the same, and others have changed the row since: a
second one must not undo that. So a row knows the ids of its last writes, each ID_LENGTH
characters long, the newest first. An empty id stands for a write that nobody repeats.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, case, func, literal, update

ID_LENGTH = 8
# Repetitions come within seconds: a row that was left alone for longer forgets its writes, and
# one that many write to at the same time has room for those of several seconds.
FORGOTTEN_AFTER = timedelta(minutes=1)
KEPT = 250


def change_once(
    connection: Connection,
    table: Table,
    key: int,
    values: Mapping[str, Any],
    *,
    write_id: str,
    now: datetime,
) -> bool:
    """Change a row unless this write has changed it before; tell whether it did so now."""
    known = table.c.recent_writes
    kept = case(
        (table.c.updated_at < now - FORGOTTEN_AFTER, literal(write_id)),
        else_=func.substr(literal(write_id) + known, 1, KEPT * ID_LENGTH),
    )
    changed = connection.execute(
        update(table)
        .where(table.c.id == key, func.replace(known, write_id, "") == known)
        .values(**values, updated_at=now, recent_writes=kept)
    )
    if changed.rowcount:
        return True
    # A repetition writes too, if only what is there: with synchronous replication its commit
    # then waits for the standby, as that of the first attempt did.
    connection.execute(update(table).where(table.c.id == key).values(recent_writes=known))
    return False
