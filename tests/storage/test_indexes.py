"""Every list is read from an index in its order, whatever the number of rows."""

import itertools
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, text

from peermentor_server.rules.pages import Page, Position
from peermentor_server.storage import assignments, schema, templates
from peermentor_server.storage.database import Database
from peermentor_server.storage.tables import assignments as assignments_table
from peermentor_server.storage.tables import mentees
from peermentor_server.storage.tables import templates as templates_table
from support.databases import Postgres

NOW = datetime(2026, 3, 26, 10, tzinfo=UTC)
CUTOFF = NOW - timedelta(days=14)
FIRST = Page()
LATER = Page(2, after=Position(1000))
LATER_SILENT = Page(2, after=Position(1000, CUTOFF - timedelta(days=10)))

Read = Callable[[Connection], object]


@pytest.fixture(scope="module")
def crowded(
    kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Database]:
    """A database with thousands of assignments and templates."""
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('crowded')}/crowded.db"
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.new_database()
    database = Database(url)
    schema.migrate(database)
    with database.write() as connection:
        _fill(connection)
    if kind == "postgresql":
        # Which the server does by itself, sooner or later. SQLite does not, and must find
        # its indexes without.
        with database.read() as connection:
            connection.execute(text("VACUUM ANALYZE"))
    yield database
    database.close()


def _fill(connection: Connection) -> None:
    chance = random.Random(7)
    # As after some years: most assignments are over.
    statuses = ["active", "active", "paused", *["completed"] * 6, "cancelled"]
    stamps = {"created_at": NOW, "updated_at": NOW}
    connection.execute(
        insert(mentees),
        [{"mentee_id": f"mentee_{n}", "mentee_name": "Name"} for n in range(3000)],
    )
    connection.execute(
        insert(assignments_table),
        [
            {
                "mentee_id": f"mentee_{chance.randrange(3000)}",
                "peer_mentor_id": f"mentor_{chance.randrange(600)}",
                "coordinator_id": f"coordinator_{chance.randrange(200)}",
                "org_id": f"org_{chance.randrange(100)}",
                "status": chance.choice(statuses),
                "start_date": date(2026, 1, 1) + timedelta(days=chance.randrange(80)),
                "last_contact_date": chance.choice(
                    [None, *(NOW - timedelta(hours=chance.randrange(1000)) for _ in range(9))]
                ),
                **stamps,
            }
            for _ in range(8000)
        ],
    )
    connection.execute(
        insert(templates_table),
        [
            {
                "coordinator_id": f"coordinator_{chance.randrange(200)}",
                "organization_id": f"org_{chance.randrange(100)}",
                "name": "Name",
                "activity_type": "review",
                "recurrence_rule": "FREQ=DAILY",
                "duration_minutes": 60,
                "mentor_ids": [],
                "notes_template": "",
                "is_active": True,
                **stamps,
            }
            for _ in range(4000)
        ],
    )


def _list(filters: dict[str, str], page: Page = FIRST) -> Read:
    return lambda connection: assignments.list_page(connection, filters, page)


def _list_overdue(filters: dict[str, str], page: Page = FIRST, **started: date) -> Read:
    before = started.get("started_before")
    return lambda connection: assignments.list_overdue_page(
        connection, filters, page, cutoff=CUTOFF, started_before=before
    )


def _list_templates(filters: dict[str, str], page: Page = FIRST) -> Read:
    return lambda connection: templates.list_page(connection, filters, page)


# --- The plan of a query: of its page, and of its count ---


class Plan:
    """How the database reads a page and counts all pages: indexes used, and sorts."""

    def __init__(self, page: str, count: str) -> None:
        self.page = page
        self.count = count

    @property
    def sorts(self) -> bool:
        """Whether the rows of the page are sorted, rather than read in order."""
        return "TEMP B-TREE" in self.page or '"Sort"' in self.page


def _plan(database: Database, read: Read, *changes: str) -> Plan:
    """Explain the statement of a read, after changes that are taken back."""
    statement, parameters = _statement(database, read)
    with database.engine.connect() as connection:
        for change in changes:
            connection.execute(text(change))
        if database.dialect == "sqlite":
            # SQLite would give the plan that it had for the same text before the changes.
            explain = f"EXPLAIN QUERY PLAN /* {changes} */ {statement}"
            rows = connection.exec_driver_sql(explain, parameters).all()
            return _sqlite_plan(rows)
        explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        return _postgresql_plan(explained.scalar_one()[0]["Plan"])


def _statement(database: Database, read: Read) -> tuple[str, Any]:
    """Return the one statement that a read executes."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    with database.read() as connection:
        read(connection)
    event.remove(database.engine, "before_cursor_execute", note)
    [only] = seen
    return only


def _sqlite_plan(rows: Any) -> Plan:
    """Split the plan into the lines below `counted` and those below `cut`."""
    parts = {}
    for key, _, _, detail in rows:
        for name in ("counted", "cut"):
            if detail.endswith(f" {name}") and not detail.startswith("SCAN"):
                parts[key] = name
    lines: dict[str, list[str]] = {"counted": [], "cut": []}
    for key, parent, _, detail in rows:
        if parent in parts:
            # What is counted for the page's limit is inside the page.
            parts.setdefault(key, parts[parent])
            lines[parts[parent]].append(detail)
    return Plan("\n".join(lines["cut"]), "\n".join(lines["counted"]))


def _postgresql_plan(plan: dict[str, Any]) -> Plan:
    """Find the node that stops after a page, and the one that counts."""
    nodes: list[dict[str, Any]] = [plan]
    found: dict[str, str] = {}
    while nodes:
        node = nodes.pop()
        if node["Node Type"] in {"Limit", "Aggregate"}:
            found[node["Node Type"]] = json.dumps(node)
        nodes += node.get("Plans", [])
    return Plan(found["Limit"], found.get("Aggregate", ""))


def _by_index_alone(plan: str, index: str) -> bool:
    return f"COVERING INDEX {index}" in plan or ("Index Only Scan" in plan and index in plan)


def _is_counted(plan: Plan, page: Page, index: str) -> bool:
    """Tell whether an index alone counts the rows; those of a page by token are known."""
    return _by_index_alone(plan.count, index) if page.after is None else not plan.count


def _work(database: Database, read: Read) -> int:
    """Return how much a read makes the database do, in units of its own."""
    if database.dialect == "sqlite":
        with database.read() as connection:
            driver: Any = connection.connection.dbapi_connection
            steps = itertools.count()
            driver.set_progress_handler(lambda: next(steps) < 0, 1)
            read(connection)
            driver.set_progress_handler(None, 0)
        return next(steps)
    statement, parameters = _statement(database, read)
    with database.read() as connection:
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
        [[[done]]] = connection.exec_driver_sql(explain, parameters).all()
    return int(done["Plan"]["Shared Hit Blocks"] + done["Plan"]["Shared Read Blocks"])


@pytest.mark.parametrize("make", [_list, _list_templates, _list_overdue])
def test_a_page_beyond_the_end_costs_no_more_than_the_first(
    crowded: Database, make: Callable[..., Read]
) -> None:
    first, beyond = (_work(crowded, make({}, Page(number))) for number in (1, 100_000))
    assert beyond < first


# --- Lists by id ---


@pytest.mark.parametrize("page", [FIRST, LATER])
def test_open_assignments_are_read_in_order(crowded: Database, page: Page) -> None:
    plan = _plan(crowded, _list({}, page))
    # Nothing is joined to rows that are passed over.
    assert _by_index_alone(plan.page, "ix_assignments_open")
    assert not plan.sorts
    assert _is_counted(plan, page, "ix_assignments_open")


@pytest.mark.parametrize("page", [FIRST, LATER])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status", "paused"),
        ("org_id", "org_1"),
        ("coordinator_id", "coordinator_1"),
        ("peer_mentor_id", "mentor_1"),
        ("mentee_id", "mentee_1"),
    ],
)
def test_assignments_of_a_filter_are_read_in_order(
    crowded: Database, column: str, value: str, page: Page
) -> None:
    plan = _plan(crowded, _list({column: value}, page), *_prefer_this_index(crowded))
    assert f"ix_assignments_{column}" in plan.page
    assert not plan.sorts
    assert _is_counted(plan, page, f"ix_assignments_{column}")


def test_filters_combine_on_the_index_of_one_of_them(crowded: Database) -> None:
    plan = _plan(crowded, _list({"status": "active", "org_id": "org_1", "mentee_id": "mentee_1"}))
    assert "ix_assignments_mentee_id" in plan.page
    assert "ix_assignments_" in plan.count


@pytest.mark.parametrize("page", [FIRST, LATER])
def test_templates_are_read_in_order(crowded: Database, page: Page) -> None:
    plan = _plan(crowded, _list_templates({}, page))
    assert not plan.sorts
    if crowded.dialect == "postgresql":
        assert "pk_templates" in plan.page
    else:
        # The table itself is in the order of its keys.
        search = "SCAN" if page is FIRST else "SEARCH"
        by_key = " USING INTEGER PRIMARY KEY (rowid>?)" if page is LATER else ""
        assert f"{search} templates{by_key}" in plan.page.splitlines()


@pytest.mark.parametrize("page", [FIRST, LATER])
@pytest.mark.parametrize(
    ("column", "value"), [("coordinator_id", "coordinator_1"), ("organization_id", "org_1")]
)
def test_templates_of_a_filter_are_read_in_order(
    crowded: Database, column: str, value: str, page: Page
) -> None:
    plan = _plan(crowded, _list_templates({column: value}, page), *_prefer_this_index(crowded))
    assert f"ix_templates_{column}" in plan.page
    assert not plan.sorts
    assert page is LATER or f"ix_templates_{column}" in plan.count


def _prefer_this_index(database: Database) -> tuple[str, ...]:
    """Let PostgreSQL neither sort the few rows that it finds nor pass over all others."""
    if database.dialect == "sqlite":
        return ()
    settings = ("enable_seqscan", "enable_bitmapscan", "enable_sort")
    return (
        *(f"SET LOCAL {setting} = off" for setting in settings),
        "ALTER TABLE contacts DROP CONSTRAINT fk_contacts_assignment_id",
        "ALTER TABLE assignments DROP CONSTRAINT pk_assignments",
        "ALTER TABLE templates DROP CONSTRAINT pk_templates",
        "DROP INDEX ix_assignments_open",
    )


# --- The overdue list ---


@pytest.mark.parametrize("page", [FIRST, LATER, LATER_SILENT])
def test_overdue_assignments_are_read_in_order(crowded: Database, page: Page) -> None:
    plan = _plan(crowded, _list_overdue({}, page))
    assert "ix_assignments_overdue" in plan.page
    assert not plan.sorts
    assert _is_counted(plan, page, "ix_assignments_overdue")


def test_overdue_assignments_without_newcomers_are_read_in_order(crowded: Database) -> None:
    plan = _plan(crowded, _list_overdue({}, started_before=date(2026, 3, 1)))
    assert "ix_assignments_overdue" in plan.page
    assert not plan.sorts


def test_a_later_page_of_overdue_assignments_begins_where_the_last_one_ended(
    crowded: Database,
) -> None:
    plan = _plan(crowded, _list_overdue({}, LATER_SILENT))
    condition = {
        "sqlite": "ix_assignments_overdue (last_contact_date>? AND last_contact_date<?)",
        "postgresql": "AND (ROW(last_contact_date, id) > ROW(",
    }
    assert condition[crowded.dialect] in plan.page


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("org_id", "org_1"),
        ("coordinator_id", "coordinator_1"),
        ("peer_mentor_id", "mentor_1"),
        ("mentee_id", "mentee_1"),
    ],
)
def test_overdue_assignments_of_a_filter_are_found_by_an_index(
    crowded: Database, column: str, value: str
) -> None:
    # Few enough to be sorted.
    plan = _plan(crowded, _list_overdue({column: value}))
    assert f"ix_assignments_{column}" in plan.page
    assert f"ix_assignments_{column}" in plan.count


# --- The control ---


def test_a_plan_shows_a_sort_and_a_missing_index(crowded: Database) -> None:
    plan = _plan(crowded, _list_overdue({}), "DROP INDEX ix_assignments_overdue")
    assert plan.sorts
    assert "ix_assignments_overdue" not in plan.page
