"""Assignments, their contact history, and the names of mentees.

Functions take a connection of `Database.read()` or `Database.write()`. What is executed often
is built once: to build a statement takes longer than to execute it. Whoever changes a mentee's
name or removes a mentee locks the mentee's rows before any assignment's, so that two callers
never wait for each other.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    not_,
    select,
    true,
    tuple_,
)

from peermentor_server.rules.etags import UNCONDITIONAL, Precondition
from peermentor_server.rules.pages import Page, Position
from peermentor_server.rules.principals import Wall
from peermentor_server.storage import listing, upserts, walls
from peermentor_server.storage.listing import AFTER_KEY, Form, Listing
from peermentor_server.storage.recent_writes import Update, change_once, find_to_change
from peermentor_server.storage.tables import (
    ACTIVE,
    OPEN,
    assignments,
    contacts,
    mentees,
)
from peermentor_server.storage.unseen import Unseen


class AssignmentRow(NamedTuple):
    """An assignment, with the name of its mentee."""

    id: int
    mentee_id: str
    peer_mentor_id: str
    coordinator_id: str
    org_id: str
    status: str
    start_date: date
    last_contact_date: datetime | None
    reminder_sent_at: datetime | None
    escalation_sent_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int
    mentee_name: str
    name_version: int

    @property
    def state(self) -> str:
        """What each write moves, of the name too: for rules/etags."""
        return f"{self.version}-{self.name_version}"


_ROWS: Select[Any] = select(
    *(assignments.c[name] for name in AssignmentRow._fields if name in assignments.c),
    mentees.c.mentee_name,
    mentees.c.name_version,
).select_from(assignments.join(mentees))
_BY_KEY = _ROWS.where(assignments.c.id == bindparam("key"))
# Whoever has waited for the row may find it in an organisation whose mentees were not there yet
# when PostgreSQL began to look: then it has no name.
_TO_CHANGE: Select[Any] = select(*_ROWS.selected_columns).select_from(
    assignments.outerjoin(mentees)
)
_UPDATE = Update(assignments, _TO_CHANGE, AssignmentRow, "org_id")
_INSERT = insert(assignments).returning(assignments.c.id)


class Contact(NamedTuple):
    """A contact as it is told."""

    date: datetime
    type: str
    only_if_later: bool = False
    """Whether one before the last contact goes into the history alone."""


# What has been sent since the last contact.
_OF_A_CYCLE = ("reminder_sent_at", "escalation_sent_at")


def add(
    connection: Connection,
    wall: Wall,
    values: Mapping[str, Any],
    mentee_name: str | None,
    now: datetime,
) -> AssignmentRow:
    """Store an active assignment created `now`; a name other than None becomes the mentee's."""
    wall.require(values["org_id"])
    name_mentee(connection, values["org_id"], values["mentee_id"], mentee_name)
    stored = {**values, "status": "active", "created_at": now, "updated_at": now}
    key = connection.execute(_INSERT, stored).scalar_one()
    return AssignmentRow._make(connection.execute(_BY_KEY, {"key": key}).one())


def name_mentee(
    connection: Connection, org_id: str, mentee_id: str, name: str | None, unless_known: str = ""
) -> None:
    """Make sure that an organisation knows the mentee, and lock that.

    A name other than None becomes theirs. One of whom no name is known there has `unless_known`
    otherwise.
    """
    connection.execute(
        _naming(connection.dialect.name, becomes_theirs=name is not None),
        {
            "mentee_id": mentee_id,
            "org_id": org_id,
            "mentee_name": unless_known if name is None else name,
        },
    )


@cache
def _naming(dialect: str, *, becomes_theirs: bool) -> Any:
    statement = upserts.insert(dialect, mentees)
    given = statement.excluded.mentee_name
    known = func.coalesce(func.nullif(mentees.c.mentee_name, ""), given)
    return upserts.renaming(statement, given if becomes_theirs else known)


def forget_mentee(
    connection: Connection,
    mentee_id: str,
    org_id: str | None = None,
    *,
    with_assignments: bool = False,
) -> int | None:
    """Delete a mentee of one organisation or all, along with the assignments or if there are none.

    Returns how many assignments there are, or were; None for no such mentee.
    """
    named, assigned = (
        [table.c.mentee_id == mentee_id, *([table.c.org_id == org_id] if org_id else [])]
        for table in (mentees, assignments)
    )
    # One that is being made now counts too.
    if not _lock_mentees(connection, *named):
        return None
    count = connection.execute(select(func.count()).where(*assigned)).scalar_one()
    if with_assignments:
        connection.execute(delete(assignments).where(*assigned))
    if with_assignments or count == 0:
        connection.execute(delete(mentees).where(*named))
    return count


def get(connection: Connection, wall: Wall, key: int) -> AssignmentRow | None:
    """Return one assignment, or None."""
    found = connection.execute(_BY_KEY, {"key": key}).one_or_none()
    row = None if found is None else AssignmentRow._make(found)
    return row if row and wall.holds(row.org_id) else None


def change(
    connection: Connection,
    wall: Wall,
    key: int,
    changes: Mapping[str, Any],
    now: datetime,
    write_id: str = "",
    expected: Precondition = UNCONDITIONAL,
) -> AssignmentRow | None:
    """Change the named columns, `mentee_name` among them, and no others; None if not there.

    With the organisation, the mentee's name is that of the other one, or goes along if none is
    known there. Once for each write_id, see storage/recent_writes. Raises EtagMismatch if the state
    of the assignment is not the expected one.
    """
    if "org_id" in changes:
        wall.require(changes["org_id"])
    columns = {name: value for name, value in changes.items() if name != "mentee_name"}
    concerns_mentee = bool({"org_id", "mentee_name"} & changes.keys())
    former_org_id = None

    def name_first(before: AssignmentRow) -> Mapping[str, Any]:
        nonlocal former_org_id
        expected.require(before.state)
        if concerns_mentee:
            former_org_id = before.org_id
            org_id, name = columns.get("org_id", before.org_id), changes.get("mentee_name")
            known_as = _named(connection, before).mentee_name
            name_mentee(connection, org_id, before.mentee_id, name, known_as)
        return columns

    if concerns_mentee:
        _lock_mentee_of(connection, key)
    row, _ = change_once(connection, wall, _UPDATE, key, name_first, write_id=write_id, now=now)
    if row is None or former_org_id is None:
        return row and _named(connection, row)
    if former_org_id != row.org_id:
        _forget_unassigned(connection, former_org_id, row.mentee_id)
    return get(connection, wall, key)


def _named(connection: Connection, row: AssignmentRow) -> AssignmentRow:
    """Complete a row of `_TO_CHANGE`."""
    name: str | None = row.mentee_name
    if name is not None:
        return row
    return AssignmentRow._make(connection.execute(_BY_KEY, {"key": row.id}).one())


def remove(
    connection: Connection, wall: Wall, key: int, expected: Precondition = UNCONDITIONAL
) -> str | None:
    """Delete an assignment with its contacts, and the mentee with the last one.

    Returns the organisation that it was of; None if it is not there. Raises EtagMismatch if its
    state is not the expected one.
    """
    _lock_mentee_of(connection, key)
    if expected.states:
        present = find_to_change(connection, wall, _UPDATE, key)
        if present is None:
            return None
        expected.require(present[0].state)
    theirs = walls.inside(wall, assignments.c.org_id)
    deleted = delete(assignments).where(assignments.c.id == key, *theirs)
    of_mentee = deleted.returning(assignments.c.org_id, assignments.c.mentee_id)
    found = connection.execute(of_mentee).one_or_none()
    if found is None:
        return None
    _forget_unassigned(connection, *found)
    org_id: str = found.org_id
    return org_id


def _lock_mentee_of(connection: Connection, key: int) -> None:
    """Lock the mentee of an assignment, in all organisations.

    From then on it stays in the organisation in which it is.
    """
    mentee_id = select(assignments.c.mentee_id).where(assignments.c.id == key).scalar_subquery()
    current = select(assignments.c.org_id).where(assignments.c.id == key)
    while True:
        locked = _lock_mentees(connection, mentees.c.mentee_id == mentee_id)
        org_id = connection.execute(current).scalar_one_or_none()
        # While this waited, others may have moved it to where no such mentee was before.
        if org_id is None or org_id in locked:
            return


def _lock_mentees(connection: Connection, *conditions: ColumnElement[bool]) -> list[str]:
    """Keep new assignments of these mentees out until the end; return their organisations."""
    # In one order for all, so that two who lock several never wait for each other.
    locked = select(mentees.c.org_id).where(*conditions).order_by(mentees.c.org_id)
    return list(connection.execute(locked.with_for_update()).scalars())


def _forget_unassigned(connection: Connection, org_id: str, mentee_id: str) -> None:
    """Delete a mentee without assignments in an organisation."""
    named = mentees.c.org_id == org_id, mentees.c.mentee_id == mentee_id
    # One that is being made now counts too.
    _lock_mentees(connection, *named)
    assigned = exists().where(assignments.c.org_id == org_id, assignments.c.mentee_id == mentee_id)
    connection.execute(delete(mentees).where(*named, ~assigned))


def record_contact(
    connection: Connection,
    wall: Wall,
    key: int,
    contact: Contact,
    now: datetime,
    write_id: str = "",
    expected: Precondition = UNCONDITIONAL,
) -> AssignmentRow | None:
    """Set the last contact and keep it in the history; None if not there.

    A date later than the stored one begins a new cycle: nothing has been sent in it yet. Once for
    each write_id, see storage/recent_writes. Raises EtagMismatch if the state of the assignment is
    not the expected one.
    """

    def changes(before: AssignmentRow) -> Mapping[str, Any]:
        expected.require(before.state)
        told = {"last_contact_date": contact.date}
        last = before.last_contact_date
        if last is None or last < contact.date:
            return told | dict.fromkeys(_OF_A_CYCLE)
        return {} if contact.only_if_later else told

    row, is_new = change_once(connection, wall, _UPDATE, key, changes, write_id=write_id, now=now)
    if is_new:
        kept = {"assignment_id": key, "contact_date": contact.date}
        kept |= {"contact_type": contact.type, "recorded_at": now}
        connection.execute(_KEEP_CONTACT, kept)
    return row and _named(connection, row)


def _keep_contact() -> Any:
    names = ("assignment_id", "contact_date", "contact_type", "recorded_at")
    told = {name: bindparam(name, type_=contacts.c[name].type) for name in names}
    is_latest = (
        select(
            and_(
                contacts.c.contact_date == told["contact_date"],
                contacts.c.contact_type == told["contact_type"],
            )
        )
        .where(contacts.c.assignment_id == told["assignment_id"])
        .order_by(contacts.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    # A caller who repeats a call tells of the same contact, not of another one.
    is_new = not_(func.coalesce(is_latest, literal_column("false")))
    return insert(contacts).from_select(names, select(*told.values()).where(is_new))


_KEEP_CONTACT = _keep_contact()


def _is_set(column: str, as_told_by: str) -> ColumnElement[bool]:
    return assignments.c[column].is_not(None) == Unseen(as_told_by, Boolean())


# How many statements of a list are kept: each has some 20 KB, and whoever tries all combinations of
# filters finds thousands.
_KEPT = 256
# What filters compare that are no columns. Most rows may meet them, and no index has them.
_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "reminded": _is_set("reminder_sent_at", "reminded"),
    "escalated": _is_set("escalation_sent_at", "escalated"),
    "updated_after": assignments.c.updated_at
    > Unseen("updated_after", assignments.c.updated_at.type),
    "started_before": assignments.c.start_date
    < Unseen("started_before", assignments.c.start_date.type),
}


def list_page(
    connection: Connection, wall: Wall, filters: Mapping[str, Any], page: Page
) -> Listing[AssignmentRow]:
    """List by key the assignments that meet all filters; the open ones by default.

    Each names a column that equals it, or one of `_CONDITIONS`.
    """
    filters, several = walls.narrowed(wall, filters, "org_id")
    statement = _list_statement(tuple(filters), Form.of(page), among=bool(several))
    return listing.fetch(connection, statement, {**filters, **several}, page, AssignmentRow)


@lru_cache(maxsize=_KEPT)
def _list_statement(filters: tuple[str, ...], form: Form, *, among: bool) -> Select[Any]:
    conditions = _met(filters, by_status=not _are_few(filters), among=among)
    if "status" not in filters:
        conditions.append(OPEN)
    few = _are_few(filters)
    return listing.by_key(_ROWS, assignments, conditions, form=form, are_few=few)


def list_overdue_page(
    connection: Connection,
    wall: Wall,
    filters: Mapping[str, Any],
    page: Page,
    *,
    cutoff: datetime,
) -> Listing[AssignmentRow]:
    """List the active assignments without contact since `cutoff`, the longest-silent first.

    The filters are those of list_page().
    """
    filters, several = walls.narrowed(wall, filters, "org_id")
    values: dict[str, Any] = {**filters, **several, "cutoff": cutoff}
    form, last_contact = Form.of(page), page.after.last_contact if page.after else None
    if last_contact is not None:
        values["after_last_contact"] = last_contact
    statement = _overdue_statement(
        tuple(filters),
        form,
        among=bool(several),
        after_contacted=last_contact is not None,
    )
    found = listing.fetch(connection, statement, values, page, AssignmentRow)
    if form is not Form.FOLLOWING or last_contact is not None or found.more:
        return found
    # After the last one who was never contacted, the page goes on with those who were.
    rest = Page(page.number, page.limit - len(found.rows), Position(0, _EARLIEST), "", page.total)
    others = list_overdue_page(connection, wall, filters, rest, cutoff=cutoff)
    return Listing([*found.rows, *others.rows], others.total, others.more)


@lru_cache(maxsize=_KEPT)
def _overdue_statement(
    filters: tuple[str, ...],
    form: Form,
    *,
    among: bool,
    after_contacted: bool,
) -> Select[Any]:
    last, key = assignments.c.last_contact_date, assignments.c.id
    conditions = [*_met(filters, by_status=False, among=among), ACTIVE]
    # Two ranges of the index, each of which is counted, and gone through, by itself.
    never, not_lately = last.is_(None), last < Unseen("cutoff", last.type)
    if form is not Form.FOLLOWING:
        ranges = (never, not_lately)
        few = _are_few(filters)
        return listing.counted(
            _ROWS, assignments, _LONGEST_SILENT, conditions, *ranges, form=form, are_few=few
        )
    if after_contacted:
        after = tuple_(Unseen("after_last_contact", last.type), AFTER_KEY)
        conditions += [not_lately, tuple_(last, key) > after]
    else:
        conditions += [never, key > AFTER_KEY]
    return listing.following(_ROWS, assignments, _LONGEST_SILENT, conditions)


_LONGEST_SILENT = ("last_contact_date", "id")
_EARLIEST = datetime.min.replace(tzinfo=UTC)


def _are_few(filters: tuple[str, ...]) -> bool:
    return any(name != "status" and name not in _CONDITIONS for name in filters)


def _met(filters: tuple[str, ...], *, by_status: bool, among: bool) -> list[ColumnElement[bool]]:
    """Return the conditions of these filters; the index of the status may serve, or may not.

    With `among`, also that of a wall around several organisations.
    """
    equal = {name: assignments.c[name] for name in filters if name not in _CONDITIONS}
    conditions = {name: each == Unseen(name, each.type) for name, each in equal.items()}
    if "status" in filters and not by_status:
        # As in ACTIVE: SQLite is not to look it up, and sort all that it finds.
        conditions["status"] = conditions["status"].is_(true())
    inside = [walls.among_several(assignments.c.org_id)] if among else []
    others = [_CONDITIONS[name] for name in filters if name in _CONDITIONS]
    return [*conditions.values(), *others, *inside]
