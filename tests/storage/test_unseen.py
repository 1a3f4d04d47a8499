"""SQLite plans a statement once, whatever it is executed with, and whatever ANALYZE has found."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Column, Connection, MetaData, Table, Text, bindparam, select, text

from peermentor_server.rules.pages import Page, Position
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import assignments, contacts, templates
from peermentor_server.storage.assignments import Contact
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.unseen import Unseen
from support.databases import migrated
from support.factories import STORED_ASSIGNMENT, STORED_TEMPLATE

NOW = datetime(2026, 3, 26, 10, tzinfo=UTC)
Read = Callable[[Connection], object]


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with some rows, and with statistics of them."""
    with migrated(f"sqlite:///{tmp_path_factory.mktemp('analyzed')}/own.db") as database:
        with database.write() as connection:
            for number in range(60):
                own = {"mentee_id": f"user_{number}", "org_id": f"org_{number % 3}"}
                row = assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT | own, None, NOW)
                if number % 2:
                    told = NOW - timedelta(days=number)
                    assignments.record_contact(
                        connection, EVERYWHERE, row.id, Contact(told, "call"), NOW
                    )
                templates.add(connection, EVERYWHERE, STORED_TEMPLATE, NOW)
        with database.write() as connection:
            connection.execute(text("ANALYZE"))
        yield database


def _overdue(filters: dict[str, Any], page: Page) -> Read:
    cutoff = NOW - timedelta(days=14)
    return lambda connection: assignments.list_overdue_page(
        connection, EVERYWHERE, filters, page, cutoff=cutoff
    )


def _list(filters: dict[str, Any], page: Page) -> Read:
    return lambda connection: assignments.list_page(connection, EVERYWHERE, filters, page)


FIRST, SECOND = Page(1, 5), Page(2, 5)
LATER = Page(2, 5, Position(7), "", 60)
LATER_TOLD = Page(2, 5, Position(7, NOW - timedelta(days=50)), "", 60)
READS: dict[str, Read] = {
    "all": _list({}, FIRST),
    "all, second page": _list({}, SECOND),
    "all, by token": _list({}, LATER),
    "of a status": _list({"status": "completed"}, FIRST),
    "of an organisation": _list({"org_id": "org_1"}, FIRST),
    "of a mentee": _list({"mentee_id": "user_1"}, FIRST),
    "of two filters": _list({"org_id": "org_1", "status": "paused"}, FIRST),
    "overdue": _overdue({}, FIRST),
    "overdue, second page": _overdue({}, SECOND),
    "overdue, by token": _overdue({}, LATER),
    "overdue, by token of a contact": _overdue({}, LATER_TOLD),
    "overdue of an organisation": _overdue({"org_id": "org_1"}, FIRST),
    "overdue without newcomers": _overdue({"started_before": date(2026, 3, 1)}, FIRST),
    "overdue of an organisation, not reminded": _overdue(
        {"org_id": "org_1", "reminded": False}, FIRST
    ),
    "changed lately": _list({"updated_after": NOW - timedelta(days=1)}, FIRST),
    "contacts": lambda connection: contacts.list_page(connection, EVERYWHERE, 1, {}, FIRST),
    "contacts of a time, by token": lambda connection: contacts.list_page(
        connection, EVERYWHERE, 2, {"contacted_from": NOW - timedelta(days=99)}, LATER
    ),
    "templates": lambda connection: templates.list_page(connection, EVERYWHERE, {}, FIRST),
    "templates of a coordinator": lambda connection: templates.list_page(
        connection, EVERYWHERE, {"coordinator_id": "coord-119"}, FIRST
    ),
}


def _plannings(database: Database, read: Read) -> int:
    """Return how often SQLite plans when it reads once more."""
    asked: list[object] = []

    def allow(*what: object) -> int:
        # Asked for all that a statement touches, whenever one is planned.
        asked.append(what)
        return 0

    with database.read() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.set_authorizer(allow)
        try:
            for _ in range(3):
                read(connection)
            assert asked
            asked.clear()
            read(connection)
            return len(asked)
        finally:
            driver.set_authorizer(None)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_list_is_planned_once(analyzed: Database, read: Read) -> None:
    assert _plannings(analyzed, read) == 0


def test_what_sqlite_sees_it_plans_for(analyzed: Database) -> None:
    """The control of the test above, and the reason for Unseen."""
    org = Table("assignments", MetaData(), Column("org_id", Text)).c.org_id
    seen = select(org).where(org == bindparam("org"))
    unseen = select(org).where(org == Unseen("org", Text()))

    def plannings(statement: Any) -> int:
        return _plannings(analyzed, lambda c: c.execute(statement, {"org": "org_1"}).all())

    assert plannings(seen) > plannings(unseen) == 0
