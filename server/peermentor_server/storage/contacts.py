"""The contact history of an assignment; storage/assignments adds to it.

Functions take a connection of `Database.read()`.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, select, true

from peermentor_server.rules.pages import Page
from peermentor_server.rules.principals import Wall
from peermentor_server.storage import listing
from peermentor_server.storage.listing import Form, Listing
from peermentor_server.storage.tables import assignments, contacts
from peermentor_server.storage.unseen import Unseen


class ContactRow(NamedTuple):
    """A contact, and when it was told."""

    id: int
    contact_date: datetime
    contact_type: str
    recorded_at: datetime


_ROWS: Select[Any] = select(*(contacts.c[name] for name in ContactRow._fields))
_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "contacted_from": contacts.c.contact_date
    >= Unseen("contacted_from", contacts.c.contact_date.type),
    "contacted_before": contacts.c.contact_date
    < Unseen("contacted_before", contacts.c.contact_date.type),
    "contact_type": contacts.c.contact_type == Unseen("contact_type", contacts.c.contact_type.type),
}
_KEY = Unseen("assignment", assignments.c.id.type)


def list_page(
    connection: Connection, wall: Wall, key: int, filters: Mapping[str, Any], page: Page
) -> Listing[ContactRow] | None:
    """List the contacts of an assignment that meet all filters, the one told last first.

    Returns None if the assignment is not there. The filters are those of `_CONDITIONS`.
    """
    statement = _list_statement(tuple(filters), Form.of(page))
    values = listing.values_for(page, {**filters, "assignment": key})
    found = connection.execute(statement, values).all()
    # As long as the assignment is there, so is a row, even if no contact is on the page.
    if not found or not wall.holds(found[0].org_id):
        return None
    return listing.read([row[1:] for row in found], page, ContactRow)


@cache
def _list_statement(filters: tuple[str, ...], form: Form) -> Select[Any]:
    conditions = [contacts.c.assignment_id == _KEY, *(_CONDITIONS[name] for name in filters)]
    page = listing.by_key(
        _ROWS, contacts, conditions, form=form, are_few=True, last_first=True
    ).subquery("page")
    found = select(assignments.c.org_id, *page.c).select_from(assignments.outerjoin(page, true()))
    return found.where(assignments.c.id == _KEY).order_by(page.c.id.desc())
