"""Assignments, their contact history, and the names of mentees.

Functions take a connection of `Database.read()` or `Database.write()`. Rows carry the
columns of the table and `mentee_name`. Whoever changes a mentee's name or removes a mentee
locks the mentee's row before any assignment's, so that two callers never wait for each other.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    nulls_first,
    or_,
    select,
    true,
    tuple_,
    update,
)

from peermentor_server.rules.pages import Page, Position
from peermentor_server.storage import listing, upserts
from peermentor_server.storage.listing import Listing
from peermentor_server.storage.recent_writes import change_once
from peermentor_server.storage.tables import (
    ACTIVE,
    OPEN,
    assignments,
    contacts,
    mentees,
)

# What has been sent since the last contact.
_OF_A_CYCLE = ("reminder_sent_at", "escalation_sent_at")


def add(
    connection: Connection, values: Mapping[str, Any], mentee_name: str | None, now: datetime
) -> Row[Any]:
    """Store an active assignment created `now`; a name other than None becomes the mentee's."""
    name_mentee(connection, values["mentee_id"], mentee_name)
    statement = insert(assignments).values(
        **values, status="active", created_at=now, updated_at=now
    )
    key = connection.execute(statement.returning(assignments.c.id)).scalar_one()
    return cast("Row[Any]", get(connection, key))


def name_mentee(connection: Connection, mentee_id: str, mentee_name: str | None) -> None:
    """Make sure that the mentee is known and locked; a name other than None becomes theirs."""
    statement = upserts.insert(connection, mentees)
    statement = statement.values(mentee_id=mentee_id, mentee_name=mentee_name or "")
    kept = mentees.c.mentee_name if mentee_name is None else statement.excluded.mentee_name
    connection.execute(
        statement.on_conflict_do_update(index_elements=["mentee_id"], set_={"mentee_name": kept})
    )


def forget_mentee(connection: Connection, mentee_id: str) -> int | None:
    """Delete a mentee without assignments; return how many there are, None for no such mentee."""
    named = mentees.c.mentee_id == mentee_id
    # Keeps a new assignment of this mentee out until we know whether there is one.
    locked = select(mentees.c.mentee_id).where(named).with_for_update()
    if connection.execute(locked).one_or_none() is None:
        return None
    counted = select(func.count()).where(assignments.c.mentee_id == mentee_id)
    count = connection.execute(counted).scalar_one()
    if count == 0:
        connection.execute(delete(mentees).where(named))
    return count


def get(connection: Connection, key: int) -> Row[Any] | None:
    """Return one assignment, or None."""
    return connection.execute(_rows().where(assignments.c.id == key)).one_or_none()


def change(
    connection: Connection, key: int, changes: Mapping[str, Any], now: datetime, write_id: str = ""
) -> Any:
    """Change the named columns, `mentee_name` among them, and no others; None if not there.

    Once for each write_id, see storage/recent_writes.
    """
    columns = {name: value for name, value in changes.items() if name != "mentee_name"}
    renames = "mentee_name" in changes
    mentee_id = _lock_mentee_of(connection, key) if renames else None
    row, is_new = change_once(
        connection, _rows(), assignments, key, lambda _: columns, write_id=write_id, now=now
    )
    if renames and is_new:
        named = update(mentees).where(mentees.c.mentee_id == mentee_id)
        connection.execute(named.values(mentee_name=changes["mentee_name"]))
        row.mentee_name = changes["mentee_name"]
    return row


def remove(connection: Connection, key: int) -> bool:
    """Delete an assignment with its contacts, and the mentee with the last one."""
    mentee_id = _lock_mentee_of(connection, key)
    deleted = connection.execute(delete(assignments).where(assignments.c.id == key))
    if deleted.rowcount == 0:
        return False
    still_assigned = exists().where(assignments.c.mentee_id == mentees.c.mentee_id)
    connection.execute(delete(mentees).where(mentees.c.mentee_id == mentee_id, ~still_assigned))
    return True


def _lock_mentee_of(connection: Connection, key: int) -> str | None:
    # Keeps a new assignment of this mentee out until we know whether the last one is gone.
    of_assignment = select(assignments.c.mentee_id).where(assignments.c.id == key)
    statement = select(mentees.c.mentee_id).where(
        mentees.c.mentee_id == of_assignment.scalar_subquery()
    )
    return connection.execute(statement.with_for_update()).scalar_one_or_none()


def record_contact(
    connection: Connection,
    key: int,
    contact_date: datetime,
    contact_type: str,
    now: datetime,
    write_id: str = "",
    *,
    only_if_later: bool = False,
) -> Any:
    """Set the last contact and keep it in the history; None if not there.

    A date later than the stored one begins a new cycle: nothing has been sent in it yet. With
    `only_if_later`, any other goes into the history alone. Once for each write_id, see
    storage/recent_writes.
    """

    def changes(before: Mapping[str, Any]) -> Mapping[str, Any]:
        told = {"last_contact_date": contact_date}
        last = before["last_contact_date"]
        if last is None or last < contact_date:
            return told | dict.fromkeys(_OF_A_CYCLE)
        return {} if only_if_later else told

    row, is_new = change_once(
        connection, _rows(), assignments, key, changes, write_id=write_id, now=now
    )
    if is_new:
        _keep_contact(connection, key, contact_date, contact_type, now)
    return row


def _keep_contact(
    connection: Connection, key: int, contact_date: datetime, contact_type: str, now: datetime
) -> None:
    latest = (
        select(contacts.c.contact_date, contacts.c.contact_type)
        .where(contacts.c.assignment_id == key)
        .order_by(contacts.c.id.desc())
        .limit(1)
    )
    # A caller who repeats a call tells of the same contact, not of another one.
    if connection.execute(latest).one_or_none() == (contact_date, contact_type):
        return
    connection.execute(
        insert(contacts).values(
            assignment_id=key,
            contact_date=contact_date,
            contact_type=contact_type,
            recorded_at=now,
        )
    )


def list_page(connection: Connection, filters: Mapping[str, str], page: Page) -> Listing:
    """List by key the assignments whose columns equal `filters`; the open ones by default."""
    conditions = _equal(filters)
    if "status" not in filters:
        conditions.append(OPEN)
    return listing.fetch(
        connection,
        assignments,
        _rows(),
        filters=conditions,
        after=assignments.c.id > page.after.key if page.after else true(),
        order=listing.by_key,
        page=page,
    )


def list_overdue_page(
    connection: Connection,
    filters: Mapping[str, str],
    page: Page,
    *,
    cutoff: datetime,
    started_before: date | None,
) -> Listing:
    """List the active assignments without contact since `cutoff`, the longest-silent first."""
    last = assignments.c.last_contact_date
    conditions = [*_equal(filters), ACTIVE, or_(last.is_(None), last < cutoff)]
    if started_before is not None:
        conditions.append(assignments.c.start_date < started_before)
    return listing.fetch(
        connection,
        assignments,
        _rows(),
        filters=conditions,
        after=_more_recent(page.after) if page.after else true(),
        order=lambda columns: [nulls_first(columns.last_contact_date), columns.id],
        page=page,
    )


def _more_recent(position: Position) -> ColumnElement[bool]:
    last, key = assignments.c.last_contact_date, assignments.c.id
    if position.last_contact is None:
        return or_(last.is_not(None), and_(last.is_(None), key > position.key))
    return tuple_(last, key) > (position.last_contact, position.key)


def _equal(filters: Mapping[str, str]) -> list[ColumnElement[bool]]:
    return [assignments.c[name] == value for name, value in filters.items()]


_COLUMNS = [column for column in assignments.c if column.name != "recent_writes"]


def _rows() -> Select[Any]:
    names = mentees.c.mentee_id == assignments.c.mentee_id
    return select(*_COLUMNS, mentees.c.mentee_name).select_from(assignments.join(mentees, names))
