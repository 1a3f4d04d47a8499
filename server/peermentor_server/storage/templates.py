"""Templates of recurring activities.

Functions take a connection of `Database.read()` or `Database.write()`. Rows carry the
columns of the table.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, true

from peermentor_server.rules.pages import Page
from peermentor_server.storage import listing
from peermentor_server.storage.listing import Listing
from peermentor_server.storage.recent_writes import change_once
from peermentor_server.storage.tables import templates

_COLUMNS = [column for column in templates.c if column.name != "recent_writes"]


def add(connection: Connection, values: Mapping[str, Any], now: datetime) -> Row[Any]:
    """Store a template created `now`."""
    statement = insert(templates).values(**values, created_at=now, updated_at=now)
    return connection.execute(statement.returning(*_COLUMNS)).one()


def get(connection: Connection, key: int) -> Row[Any] | None:
    """Return one template, or None."""
    return connection.execute(select(*_COLUMNS).where(templates.c.id == key)).one_or_none()


def change(
    connection: Connection, key: int, changes: Mapping[str, Any], now: datetime, write_id: str = ""
) -> Any:
    """Change the named columns and no others; None if the template is not there.

    Once for each write_id, see storage/recent_writes.
    """
    row, _ = change_once(
        connection,
        select(*_COLUMNS),
        templates,
        key,
        lambda _: changes,
        write_id=write_id,
        now=now,
    )
    return row


def remove(connection: Connection, key: int) -> bool:
    """Delete a template; False if it is not there."""
    return connection.execute(delete(templates).where(templates.c.id == key)).rowcount > 0


def list_page(connection: Connection, filters: Mapping[str, str], page: Page) -> Listing:
    """List by key the templates whose columns equal `filters`."""
    return listing.fetch(
        connection,
        templates,
        select(*_COLUMNS),
        filters=[templates.c[name] == value for name, value in filters.items()],
        after=templates.c.id > page.after.key if page.after else true(),
        order=listing.by_key,
        page=page,
    )
