"""Whatever an RPC asks the database for, an index leads there: at a hundred thousand rows."""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, ForeignKeyConstraint, event, literal, select, text

from peermentor_server.rules.pages import Page, Position
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import assignments, contacts, idempotency_keys, schema, templates
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import metadata
from support import crowds
from support.clock import CONTRACT_DAY, SettableClock
from support.direct_calls import DirectCalls
from support.rpc_forms import FILTERED, FORMS, Form

NOW = CONTRACT_DAY
CUTOFF = NOW - timedelta(days=14)
FIRST = Page()
LATER = Page(2, after=Position(1000))
LATER_SILENT = Page(2, after=Position(1000, CUTOFF - timedelta(days=10)))

# Rows of a page, or those of a selective filter.
MAX_SORTED = 150

Read = Callable[[Connection], object]
# With its parameters.
Statement = tuple[str, Any]


@pytest.fixture(scope="module")
def crowded(kind: str, new_url: Callable[[], str]) -> Iterator[Database]:
    """A database with a hundred thousand rows in each table."""
    database = Database(new_url())
    schema.migrate(database)
    with database.write() as connection:
        crowds.fill(connection, NOW)
    if kind == "postgresql":
        # Which the server does by itself, sooner or later. SQLite does not, and must find
        # its indexes without.
        with database.read() as connection:
            connection.execute(text("VACUUM ANALYZE"))
    yield database
    database.close()


def _list(filters: dict[str, Any], page: Page = FIRST) -> Read:
    return lambda connection: assignments.list_page(connection, EVERYWHERE, filters, page)


def _list_overdue(filters: dict[str, Any], page: Page = FIRST) -> Read:
    return lambda connection: assignments.list_overdue_page(
        connection, EVERYWHERE, filters, page, cutoff=CUTOFF
    )


def _list_templates(filters: dict[str, str], page: Page = FIRST) -> Read:
    return lambda connection: templates.list_page(connection, EVERYWHERE, filters, page)


def _list_contacts(filters: dict[str, Any], page: Page = FIRST) -> Read:
    return lambda connection: contacts.list_page(connection, EVERYWHERE, 1, filters, page)


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
        database.backend.begin(connection)
        for change in changes:
            connection.execute(text(change))
        if database.dialect == "sqlite":
            # SQLite would give the plan that it had for the same text before the changes.
            explain = f"EXPLAIN QUERY PLAN /* {changes} */ {statement}"
            rows = connection.exec_driver_sql(explain, parameters).all()
            return _sqlite_plan(rows)
        explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        return _postgresql_plan(explained.scalar_one()[0]["Plan"])


def _statement(database: Database, read: Read) -> Statement:
    """Return the one statement that a read executes."""
    with _statements(database) as seen, database.read() as connection:
        read(connection)
    [only] = seen
    return only


@contextmanager
def _statements(database: Database) -> Iterator[list[Statement]]:
    """Give a list to which every statement of the block comes that has a plan."""
    seen: list[Statement] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if re.match("SELECT|WITH|INSERT|UPDATE|DELETE", statement):
            seen.append((statement, parameters))

    engines = {database.engine, database.backend.reading_engine}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield seen
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


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


def _by_index(plan: str, index: str) -> bool:
    """Tell whether it is this one, rather than one whose name begins like its."""
    return re.search(rf"\b{index}\b", plan) is not None


def _by_index_alone(plan: str, index: str) -> bool:
    return _by_index(plan, index) and ("COVERING INDEX" in plan or "Index Only Scan" in plan)


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


@pytest.mark.parametrize(
    "read",
    [_list({"org_id": "org_1"}), _list({}, LATER), _list_overdue({}, LATER_SILENT)],
    ids=["of a filter", "by token", "overdue, by token"],
)
def test_a_list_is_not_planned_each_time(crowded: Database, read: Read) -> None:
    if crowded.dialect == "sqlite":
        # See test_unseen.
        return
    query = text("SELECT sum(custom_plans) FROM pg_prepared_statements")
    with crowded.read() as connection:
        for _ in range(20):
            read(connection)
        before = connection.execute(query).scalar_one()
        read(connection)
        assert connection.execute(query).scalar_one() == before


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
    plan = _plan(crowded, _list({"status": "paused", "org_id": "org_1", "mentee_id": "mentee_1"}))
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


@pytest.mark.parametrize("page", [FIRST, LATER])
def test_contacts_of_an_assignment_are_read_in_order(crowded: Database, page: Page) -> None:
    plan = _plan(crowded, _list_contacts({}, page), *_prefer_this_index(crowded))
    assert "ix_contacts_assignment_id" in plan.page
    assert not plan.sorts
    assert _is_counted(plan, page, "ix_contacts_assignment_id")


# --- The overdue list ---


@pytest.mark.parametrize("page", [FIRST, LATER, LATER_SILENT])
def test_overdue_assignments_are_read_in_order(crowded: Database, page: Page) -> None:
    plan = _plan(crowded, _list_overdue({}, page))
    assert _by_index(plan.page, "ix_assignments_overdue")
    assert not plan.sorts
    assert _is_counted(plan, page, "ix_assignments_overdue")


def test_overdue_assignments_without_newcomers_are_read_in_order(crowded: Database) -> None:
    plan = _plan(crowded, _list_overdue({"started_before": date(2026, 3, 1)}))
    assert _by_index(plan.page, "ix_assignments_overdue")
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


@pytest.mark.parametrize("page", [FIRST, LATER_SILENT])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("org_id", "org_1"),
        ("coordinator_id", "coordinator_1"),
        ("peer_mentor_id", "mentor_1"),
        ("mentee_id", "mentee_1"),
    ],
)
def test_overdue_assignments_of_a_filter_are_read_in_order(
    crowded: Database, column: str, value: str, page: Page
) -> None:
    plan = _plan(crowded, _list_overdue({column: value}, page), *_prefer_this_index(crowded))
    assert _by_index_alone(plan.page, f"ix_assignments_overdue_{column}")
    assert not plan.sorts
    assert _is_counted(plan, page, f"ix_assignments_overdue_{column}")


# --- Every statement of every RPC ---


def _detours(database: Database, statement: Statement) -> list[str]:
    """Tell where a statement goes through all of a table or an index, or sorts more than a page."""
    text_, parameters = statement
    with database.read() as connection:
        if database.dialect == "sqlite":
            explained = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text_}", parameters)
            return _sqlite_detours([(parent, detail) for _, parent, _, detail in explained])
        explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text_}", parameters)
        return list(_postgresql_detours(explained.scalar_one()[0]["Plan"]))


def _sqlite_detours(steps: list[tuple[int, str]]) -> list[str]:
    found = []
    outer = [detail for parent, detail in steps if not parent]
    # What comes first is gone through, and what follows is looked up for each of its rows.
    is_of_a_page = any(re.match(r"SCAN (cut|page)\b", detail) for detail in outer)
    for parent, detail in steps:
        gone_through = re.match(r"SCAN (\w+)(?: USING .*INDEX (\w+))?$", detail)
        if gone_through and gone_through[1] in metadata.tables:
            table, index = gone_through.groups()
            # Where others are looked up from it, a table is gone through in the order of its keys.
            found.append(f"walks {index or table}" if index or parent else f"scans {table}")
        elif "AUTOMATIC" in detail:
            found.append(detail)
        elif "TEMP B-TREE" in detail and (parent or not is_of_a_page):
            found.append("sorts")
    return found


def _postgresql_detours(node: dict[str, Any]) -> Iterator[str]:
    kind = node["Node Type"]
    if kind == "Seq Scan":
        yield f"scans {node['Relation Name']}"
    elif "Index Name" in node and "Index Cond" not in node:
        yield f"walks {node['Index Name']}"
    elif kind.endswith("Sort") and node["Plan Rows"] > MAX_SORTED:
        yield "sorts"
    for part in node.get("Plans", []):
        yield from _postgresql_detours(part)


ALL_FORMS = {**FORMS, **FILTERED}
# What lists of all rows are not filtered by, or by what most of their rows meet.
_OF_ALL = {"page", "started_before"}


@pytest.mark.parametrize("name", ALL_FORMS)
def test_an_index_leads_to_all_that_an_rpc_asks_for(crowded: Database, name: str) -> None:
    form = ALL_FORMS[name]
    calls = DirectCalls(crowded, SettableClock())
    # Rows that no other form changes; twice, for the second call may find what the first made.
    first = 1 + 2 * list(ALL_FORMS).index(name)
    prepared = [form.prepare(calls, number) for number in (first, first + 1)]
    with _statements(crowded) as seen:
        for request, metadata_ in prepared:
            calls.call(form.rpc, request, metadata_)
    assert seen
    detours = {each for statement in seen for each in _detours(crowded, statement)}
    assert {each for each in detours if not _is_due(form, each)} == set()


def _is_due(form: Form, detour: str) -> bool:
    """Tell whether no index could spare it."""
    fields = {field.name for field, _ in form.request(1).ListFields()}
    if form.rpc == "GetAssignmentSummary":
        # The one of all assignments goes through all that is open.
        return not fields
    # Lists of all rows count them, and begin with the first.
    if not form.is_list or form.by_token:
        return False
    of_overdue = {"status"} if form.rpc == "ListOverdueAssignments" else set()
    return detour.startswith("walks ") and fields <= _OF_ALL | of_overdue


def _remember(connection: Connection) -> None:
    idempotency_keys.is_remembered(connection, "", "CreateAssignment", "key_1", NOW)


def _forget(connection: Connection) -> None:
    assignments.name_mentee(connection, "org_03", "mentee_without", "Name")
    assert assignments.forget_mentee(connection, "mentee_without") == 0


def _forget_nobody(connection: Connection) -> None:
    row = assignments.get(connection, EVERYWHERE, crowds.SIZE)
    assert row is not None
    assert assignments.forget_mentee(connection, row.mentee_id)


@pytest.mark.parametrize("work", [_remember, _forget, _forget_nobody])
def test_an_index_leads_to_what_is_asked_for_more_seldom(
    crowded: Database, work: Callable[[Connection], None]
) -> None:
    with _statements(crowded) as seen, crowded.write() as connection:
        work(connection)
    assert seen
    assert [each for statement in seen for each in _detours(crowded, statement)] == []


FOREIGN_KEYS = [key for table in metadata.tables.values() for key in table.foreign_key_constraints]


@pytest.mark.parametrize("key", FOREIGN_KEYS, ids=lambda key: f"{key.table}.{key.column_keys[0]}")
def test_an_index_leads_to_what_a_deleted_row_is_referred_to_by(
    crowded: Database, key: ForeignKeyConstraint
) -> None:
    query = select(*key.columns).where(
        *(column == literal(None, column.type) for column in key.columns)
    )
    statement = _statement(crowded, lambda connection: connection.execute(query).all())
    assert _detours(crowded, statement) == []


# --- The control ---


def test_a_plan_shows_a_sort_and_a_missing_index(crowded: Database) -> None:
    plan = _plan(crowded, _list_overdue({}), "DROP INDEX ix_assignments_overdue")
    assert plan.sorts
    assert not _by_index(plan.page, "ix_assignments_overdue")


def test_detours_are_seen(crowded: Database) -> None:
    def detours(query: str) -> list[str]:
        return _detours(crowded, _statement(crowded, lambda each: each.execute(text(query)).all()))

    assert detours("SELECT * FROM assignments WHERE start_date = '2026-01-01'") == [
        "scans assignments"
    ]
    assert detours("SELECT id FROM assignments ORDER BY status LIMIT 20") == [
        "walks ix_assignments_status"
    ]
    sorted_ = detours("SELECT * FROM assignments WHERE status = 'paused' ORDER BY start_date")
    assert "sorts" in sorted_
