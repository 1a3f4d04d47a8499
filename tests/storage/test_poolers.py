"""Behind a real PgBouncer, with nothing but the URL: as on a connection of one's own."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import psycopg
import pytest
from sqlalchemy import text

from peermentor_server.rules.errors import DatabaseUnavailable
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import assignments, schema
from peermentor_server.storage.assignments import Contact
from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.database import Database
from support.clock import CONTRACT_DAY
from support.commands import run
from support.databases import Postgres
from support.factories import STORED_ASSIGNMENT
from support.poolers import running_pooler
from support.racing import at_once, errors
from support.waiting import wait_until

NOW = CONTRACT_DAY
# Fewer sessions than clients: each is given from one to the other all the time.
TRANSACTIONS = {"pool_mode": "transaction", "default_pool_size": "2"}


@pytest.fixture
def direct(postgres: Postgres) -> str:
    """The URL of a database of the test's own, past the pooler."""
    return postgres.new_database()


@pytest.fixture
def pooled(direct: str) -> Iterator[str]:
    """The URL of the same database through a pooler that gives out single transactions."""
    with running_pooler(direct, **TRANSACTIONS) as url:
        yield url


@pytest.fixture
def database(pooled: str) -> Iterator[Database]:
    """The database behind the pooler."""
    database = Database(pooled)
    schema.migrate(database)
    yield database
    database.close()


def _live(database: Database, number: int) -> None:
    """Create, change, read and delete an assignment, again and again."""
    for turn in range(25):
        pair = STORED_ASSIGNMENT | {"mentee_id": f"user_{number}_{turn}"}
        with database.write() as connection:
            key = assignments.add(connection, EVERYWHERE, pair, "Łukasz", NOW).id
        with database.read() as connection:
            assert assignments.get(connection, EVERYWHERE, key) is not None
        with database.write() as connection:
            assignments.record_contact(connection, EVERYWHERE, key, Contact(NOW, "call"), NOW)
        with database.read() as connection:
            found = assignments.get(connection, EVERYWHERE, key)
        assert found is not None
        assert (found.mentee_name, found.last_contact_date) == ("Łukasz", NOW)
        with database.erase() as connection:
            assignments.remove(connection, EVERYWHERE, key)


def test_many_at_once_find_what_they_have_stored(database: Database) -> None:
    outcomes = at_once(*(lambda number=n: _live(database, number) for n in range(6)))
    assert errors(outcomes) == []


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_is_recognised(mode: str, direct: str) -> None:
    with running_pooler(direct, pool_mode=mode) as url:
        for each, expected in ((url, True), (direct, False)):
            database = Database(each)
            assert database.is_pooled() is expected
            database.close()


@pytest.mark.parametrize("command", ["migrate", "check", "serve --no-gateway"])
def test_a_mode_without_transactions_is_refused_with_the_reason(command: str, direct: str) -> None:
    with running_pooler(direct, pool_mode="statement") as url:
        result = run(*command.split(), PEERMENTOR_DATABASE_URL=url)
    assert result.returncode == 1
    assert (
        f"cannot use {url}: the pooler in front of it has pool_mode statement, which allows no "
        "transactions, and must be set to transaction or session" in result.stderr
    )
    assert "Traceback" not in result.stderr


def test_nothing_is_left_for_other_clients(database: Database, pooled: str) -> None:
    _live(database, 1)
    with ExitStack() as stack:
        # As many as there are sessions, so that each has one of its own.
        for _ in range(2):
            other = stack.enter_context(psycopg.connect(pooled))
            query = "SELECT name FROM pg_settings WHERE source = 'session' AND name <> ALL (%s)"
            # The pooler keeps these for each of its clients.
            kept = [
                "DateStyle",
                "TimeZone",
                "standard_conforming_strings",
                "client_encoding",
                "application_name",
            ]
            assert other.execute(query, [kept]).fetchall() == []
            assert other.execute("SELECT name FROM pg_prepared_statements").fetchall() == []


def test_values_are_written_as_the_service_reads_them_whatever_others_set(
    database: Database, pooled: str
) -> None:
    with psycopg.connect(pooled, autocommit=True) as other:
        for _ in range(20):
            other.execute("SET datestyle = German")
            other.execute("SET timezone = 'Asia/Tokyo'")
            _live_once(database)


def _live_once(database: Database) -> None:
    with database.write() as connection:
        key = assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT, "Łukasz", NOW).id
    with database.read() as connection:
        found = assignments.get(connection, EVERYWHERE, key)
    assert found is not None
    assert (found.start_date, found.created_at) == (STORED_ASSIGNMENT["start_date"], NOW)


def test_limits_hold_in_each_transaction(database: Database) -> None:
    with database.write() as connection:
        names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        shown = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    assert shown == ["5s", "30s", "10s"]


def test_what_is_late_is_cancelled(database: Database, direct: str) -> None:
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable), deadlines.within(0.3), database.read() as connection:
        connection.execute(text("SELECT pg_sleep(60)"))
    # Far above what is slow here, and far below what the statement takes.
    assert time.monotonic() - started < 20
    with psycopg.connect(direct, autocommit=True) as other:
        running = (
            "SELECT FROM pg_stat_activity WHERE datname = current_database() "
            "AND state = 'active' AND query ~ 'sleep[(]'"
        )
        wait_until(lambda: other.execute(running).fetchall() == [], 20)


def test_connections_that_broke_are_replaced(database: Database, postgres: Postgres) -> None:
    _live_once(database)
    postgres.break_connections()
    wait_until(lambda: _is_well(database), 20)
    _live_once(database)


def _is_well(database: Database) -> bool:
    with suppress(DatabaseUnavailable):
        database.ping()
        return True
    return False
