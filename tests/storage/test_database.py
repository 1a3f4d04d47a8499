"""The database: durable, all or nothing, patient for a while, and silent about values."""

import itertools
import random
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import Connection, DateTime, Executable, insert, select, text, update

from peermentor_server.database_url import InvalidUrl
from peermentor_server.rules.errors import (
    DatabaseUnavailable,
    DomainError,
    InternalFault,
    diagnosis,
)
from peermentor_server.rules.pages import Page
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import assignments, schema
from peermentor_server.storage.assignments import Contact
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import assignments as assignments_table
from peermentor_server.storage.tables import contacts, mentees
from peermentor_server.timing import Timing
from support.clock import CONTRACT_DAY
from support.factories import STORED_ASSIGNMENT
from support.moves import Moves
from support.ports import free_ports

NOW = CONTRACT_DAY
PRIVATE = "Bjørn-Solberg-was-here"


@pytest.fixture
def second(database: Database) -> Iterator[Database]:
    """The same database through an engine of its own, as another process has it."""
    second = Database(database.engine.url.render_as_string(hide_password=False))
    yield second
    second.close()


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """A place for a SQLite database."""
    return tmp_path / "own.db"


def _write(database: Database, *statements: Executable) -> None:
    with database.write() as connection:
        for statement in statements:
            connection.execute(statement)


def _name(connection: Connection, mentee_id: str) -> str | None:
    statement = select(mentees.c.mentee_name).where(mentees.c.mentee_id == mentee_id)
    return connection.execute(statement).scalar_one_or_none()


# --- SQLite as it must be set ---


def test_sqlite_has_no_wal_reset_bug() -> None:
    assert sqlite.sqlite_version_info >= (3, 51, 3)


def test_a_sqlite_with_the_wal_reset_bug_is_refused(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "sqlite_version_info", (3, 51, 2))
    with pytest.raises(RuntimeError, match="may corrupt"):
        Database(f"sqlite:///{sqlite_file}")


def test_every_pooled_sqlite_connection_is_durable_and_patient(sqlite_file: Path) -> None:
    database = Database(f"sqlite:///{sqlite_file}", pool_size=4)
    with ExitStack() as stack:
        pooled = [stack.enter_context(database.read()) for _ in range(4)]
        for connection in pooled:
            assert _pragmas(connection) == {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "busy_timeout": 5000,
                "journal_size_limit": 8_388_608,
            }
    database.close()


def _pragmas(connection: Connection) -> dict[str, object]:
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "journal_size_limit")
    return {name: connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in names}


def test_a_new_sqlite_file_that_another_program_prepares_is_waited_for(sqlite_file: Path) -> None:
    other = sqlite.connect(str(sqlite_file), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
    timer.start()
    database = Database(f"sqlite:///{sqlite_file}")
    schema.migrate(database)
    timer.join()
    other.close()
    database.close()


# --- Reading and writing ---


def test_a_write_is_stored_when_its_block_ends(database: Database, second: Database) -> None:
    with database.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "Bjørn Solberg")
        with second.read() as elsewhere:
            assert _name(elsewhere, "user_088") is None
    with second.read() as connection:
        assert _name(connection, "user_088") == "Bjørn Solberg"


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    def write() -> None:
        with database.write() as connection:
            row = assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT, "Bjørn Solberg", NOW)
            assignments.record_contact(connection, EVERYWHERE, row.id, Contact(NOW, "call"), NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    with database.read() as connection:
        for table in (mentees, assignments_table, contacts):
            assert connection.execute(select(table)).all() == []


def test_a_write_whose_last_statement_is_refused_leaves_nothing(database: Database) -> None:
    same = insert(mentees).values(org_id="org_03", mentee_id="user_088", mentee_name="")
    with pytest.raises(InternalFault):
        _write(database, same, same)
    with database.read() as connection:
        assert _name(connection, "user_088") is None


def test_foreign_keys_hold(database: Database) -> None:
    contact = {"contact_date": NOW, "contact_type": "", "recorded_at": NOW}
    with pytest.raises(InternalFault):
        _write(database, insert(contacts).values(assignment_id=1, **contact))


def test_a_read_leaves_no_transaction_open(database: Database, second: Database) -> None:
    with second.write() as connection:
        assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT, "Bjørn Solberg", NOW)
    with database.read() as connection:
        assignments.list_page(connection, EVERYWHERE, {}, Page())
        _assert_no_transaction(second)
    _assert_no_transaction(second)


def _assert_no_transaction(second: Database) -> None:
    if second.dialect == "sqlite":
        connection = sqlite.connect(str(second.engine.url.database), timeout=0.05)
        # A reader that still read would hold the checkpoint up: busy, then the pages left.
        checkpoint = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()
        assert checkpoint == [(0, 0, 0)]
        return
    with second.read() as connection:
        states = connection.execute(
            text(
                "SELECT state FROM pg_stat_activity WHERE application_name = 'peermentor' "
                "AND datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).scalars()
        assert set(states) == {"idle"}


def test_a_transaction_that_stays_open_would_be_seen(database: Database, second: Database) -> None:
    """The control of the test above."""
    with database.write() as connection:
        for number in range(3):
            assignments.name_mentee(connection, "org_03", f"user_{number}", "")
    with database.engine.connect() as connection:
        if database.dialect == "postgresql":
            database.backend.begin(connection)
        rows = connection.execute(select(mentees))
        assert rows.fetchone() is not None
        with pytest.raises(AssertionError):
            _assert_no_transaction(second)
        rows.close()


def test_a_read_does_not_wait_for_a_writer(database: Database, second: Database) -> None:
    with database.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "Bjørn Solberg")
        # The write ends after it: a read that waited for it would never end well.
        with second.read() as elsewhere:
            assert _name(elsewhere, "user_088") is None


def test_a_sqlite_write_takes_its_turn_before_it_reads(sqlite_file: Path) -> None:
    url, timing = f"sqlite:///{sqlite_file}", Timing(lock_s=0.05)
    first, second = (Database(url, timing=timing) for _ in range(2))
    schema.migrate(first)
    with first.write(), pytest.raises(DatabaseUnavailable), second.write():
        pytest.fail("two write transactions at once")
    with second.write():
        pass
    first.close()
    second.close()


def test_a_writer_waits_for_another_one(database: Database, database_url: str) -> None:
    with database.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "")
    impatient = Database(database_url, timing=Timing(lock_s=0.2))
    with database.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", PRIVATE)
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable) as raised, impatient.write() as late:
            assignments.name_mentee(late, "org_03", "user_088", PRIVATE)
        assert time.monotonic() - started > 0.15
    assert PRIVATE not in _everything(raised.value)
    impatient.close()


# --- Errors ---


def _everything(error: BaseException) -> str:
    """Return all that a log could show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error.__cause__)


def _assert_silent(error: DomainError, *secrets: str) -> None:
    shown = _everything(error)
    for secret in (PRIVATE, "SELECT", "INSERT", "UPDATE", *secrets):
        assert secret not in shown
        assert secret not in error.message


def test_a_refused_constraint_is_a_fault_without_values(database: Database) -> None:
    same = insert(mentees).values(org_id="org_03", mentee_id=PRIVATE, mentee_name=PRIVATE)
    with pytest.raises(InternalFault) as raised:
        _write(database, same, same)
    _assert_silent(raised.value)
    assert raised.value.diagnosis in {
        "IntegrityError SQLITE_CONSTRAINT",
        "UniqueViolation 23505",
    }


def test_a_refused_check_is_a_fault_without_values(database: Database) -> None:
    with database.write() as connection:
        assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT, PRIVATE, NOW)
    with pytest.raises(InternalFault) as raised:
        _write(database, update(assignments_table).values(status=PRIVATE))
    _assert_silent(raised.value)


def test_a_value_that_does_not_fit_is_a_fault_without_values(database: Database) -> None:
    too_large = 31_415_926_535_897_932_384_626
    same_id = update(assignments_table).where(assignments_table.c.id == too_large)
    with pytest.raises((InternalFault, OverflowError)) as raised:
        _write(database, same_id.values(org_id=PRIVATE))
    shown = _everything(raised.value)
    assert PRIVATE not in shown
    assert str(too_large) not in shown


def test_a_nul_in_a_text_never_shows_the_text(database: Database) -> None:
    try:
        with database.write() as connection:
            assignments.name_mentee(connection, "org_03", "user_088", f"{PRIVATE}\0")
    except InternalFault as error:
        _assert_silent(error)
    else:
        assert database.dialect == "sqlite"


def test_a_text_that_cannot_be_encoded_never_shows_what_cannot(database: Database) -> None:
    unfit = "\udcff"
    with pytest.raises(InternalFault) as raised, database.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", f"{PRIVATE}{unfit}")
    _assert_silent(raised.value, unfit, ascii(unfit)[1:-1])
    assert raised.value.diagnosis == "UnicodeEncodeError"


def test_a_row_that_cannot_be_read_never_shows_its_values(database: Database) -> None:
    # Neither has such a time; on SQLite only a foreign hand can have written it.
    date = {
        "sqlite": f"SELECT '{PRIVATE}' AS contact",
        "postgresql": "SELECT timestamptz '31415-09-26 00:00:00Z' AS contact",
    }[database.dialect]
    for connect in (database.read, database.write):
        query = text(date).columns(contact=DateTime(timezone=True))
        with pytest.raises(InternalFault) as raised, connect() as connection:
            connection.execute(query).all()
        _assert_silent(raised.value, "31415")


# What PostgreSQL says of these is the value itself, in its first line, DETAIL or CONTEXT.
@pytest.mark.parametrize(
    "statement",
    [
        f"SELECT CAST('{PRIVATE}' AS integer)",
        f"SELECT CAST('{PRIVATE}' AS timestamptz)",
        f"SELECT CAST('{PRIVATE}' AS json)",
        f"DO $$ BEGIN RAISE EXCEPTION '{PRIVATE}'; END $$",
        f"DO $$ BEGIN RAISE EXCEPTION 'none' USING DETAIL = '{PRIVATE}'; END $$",
        f"DO $$ BEGIN RAISE EXCEPTION 'none' USING HINT = '{PRIVATE}'; END $$",
        f"DO $$ BEGIN RAISE EXCEPTION '{PRIVATE}' USING ERRCODE = '57014'; END $$",
    ],
)
def test_no_error_of_postgresql_shows_a_value(statement: str, postgresql: Database) -> None:
    for connect in (postgresql.read, postgresql.write):
        with pytest.raises(DomainError) as raised, connect() as connection:
            connection.exec_driver_sql(statement)
        _assert_silent(raised.value)


def test_what_a_commit_of_postgresql_refuses_shows_no_value(postgresql: Database) -> None:
    _write(
        postgresql,
        text("CREATE TABLE later (name text)"),
        text(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '%', NEW.name USING DETAIL = NEW.name; END $$"
        ),
        text(
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON later DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION refuse()"
        ),
    )
    refused = text(f"INSERT INTO later VALUES ('{PRIVATE}')")
    with pytest.raises(InternalFault) as raised:
        _write(postgresql, refused)
    _assert_silent(raised.value)


def test_a_missing_table_is_a_fault_of_ours_and_nothing_to_retry(empty_url: str) -> None:
    database = Database(empty_url)
    with pytest.raises(InternalFault) as raised, database.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", PRIVATE)
    _assert_silent(raised.value)
    database.close()


def test_a_database_without_a_schema_does_not_answer_a_ping(empty_url: str) -> None:
    database = Database(empty_url)
    with pytest.raises(DomainError):
        database.ping()
    schema.migrate(database)
    database.ping()
    database.close()


def test_a_server_that_is_not_there_is_unavailable() -> None:
    [port] = free_ports(1)
    database = Database(f"postgresql://peermentor:{PRIVATE}@127.0.0.1:{port}/peermentor")
    with pytest.raises(DatabaseUnavailable) as raised:
        database.ping()
    _assert_silent(raised.value)
    assert f'connection to server at "127.0.0.1", port {port} failed' in str(raised.value.__cause__)
    database.close()


def test_a_directory_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/nowhere/own.db")
    with pytest.raises(DatabaseUnavailable) as raised:
        database.ping()
    assert diagnosis(raised.value) == f"there is no directory {tmp_path}/nowhere"
    database.close()


def test_a_file_that_is_no_database_says_so(sqlite_file: Path) -> None:
    sqlite_file.write_text("Dear diary, " + PRIVATE * 1000)
    database = Database(f"sqlite:///{sqlite_file}")
    with pytest.raises(InternalFault) as raised:
        database.ping()
    assert "file is not a database" in str(raised.value.__cause__)
    _assert_silent(raised.value)
    database.close()


def test_errors_of_the_block_pass_through_as_they_are(database: Database) -> None:
    with pytest.raises(KeyError, match="mine"), database.write():
        raise KeyError("mine")
    with pytest.raises(KeyError, match="mine"), database.read():
        raise KeyError("mine")


def test_a_pool_without_a_free_connection_is_unavailable_after_a_while(empty_url: str) -> None:
    database = Database(empty_url, pool_size=1, timing=Timing(pool_s=0.2))
    moves = Moves()
    with database.write():
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable), database.write():
            pytest.fail("more connections than the pool may have")
        assert time.monotonic() - started >= 0.2
    # It was waited for, although in vain.
    assert moves.of("peermentor_database_connecting_seconds_sum") >= 0.2
    with database.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    database.close()


def test_a_failed_call_gives_its_connection_back(empty_url: str) -> None:
    database = Database(empty_url, pool_size=1, timing=Timing(pool_s=0.2))
    moves = Moves()
    for block in (database.read, database.write):
        for _ in range(3):
            with pytest.raises(InternalFault), block() as connection:
                connection.execute(text("SELECT * FROM nothing"))
    # What fails takes its time, too.
    assert moves.of("peermentor_database_statement_seconds_count", kind="select") >= 6
    database.close()


def test_connections_that_the_server_has_closed_are_replaced(postgresql: Database) -> None:
    postgresql.ping()
    _as_administrator(
        postgresql,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    postgresql.ping()


def test_a_connection_that_breaks_in_a_call_is_unavailable(postgresql: Database) -> None:
    def write() -> None:
        with postgresql.write() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            _as_administrator(postgresql, f"SELECT pg_terminate_backend({pid}, 5000)")
            assignments.name_mentee(connection, "org_03", "user_088", PRIVATE)

    with pytest.raises(DatabaseUnavailable) as raised:
        write()
    _assert_silent(raised.value)
    with postgresql.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "Bjørn Solberg")


def test_a_server_that_has_turned_read_only_is_left_for_a_new_connection(
    postgresql: Database,
) -> None:
    name = postgresql.engine.url.database
    _as_administrator(postgresql, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgresql.close()
    with pytest.raises(DatabaseUnavailable), postgresql.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "Bjørn Solberg")
    _as_administrator(postgresql, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    # The connection of before would have stayed read-only for ever.
    with postgresql.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "Bjørn Solberg")


def _as_administrator(database: Database, statement: str) -> None:
    # The URL's own wish counts: else a read-only server would not even be talked to.
    url = database.engine.url.update_query_dict({"target_session_attrs": "any"})
    other = Database(url.render_as_string(hide_password=False))
    with other.read() as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text(statement))
    other.close()


# --- Instants ---


def _instants() -> list[datetime]:
    """Return the edges of time, and many in between, of many zones and to the microsecond."""
    chance = random.Random(7)
    zones = [UTC, *(timezone(timedelta(minutes=minutes)) for minutes in (-720, -210, 345, 840))]
    last_day = date.max.toordinal()
    found = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime(999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1582, 10, 10, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ]
    for zone in itertools.islice(itertools.cycle(zones), 400):
        day = datetime.fromordinal(chance.randint(2, last_day - 2)).replace(tzinfo=zone)
        found.append(day + timedelta(microseconds=chance.randrange(86_400_000_000)))
    return found


def _stored(connection: Connection, instants: list[datetime]) -> list[datetime]:
    """Store instants, and return them in the order that the database puts them in."""
    key = assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT, "", NOW).id
    rows = [
        {"assignment_id": key, "contact_date": it, "contact_type": "", "recorded_at": it}
        for it in instants
    ]
    connection.execute(insert(contacts), rows)
    query = select(contacts.c.contact_date, contacts.c.recorded_at)
    found = connection.execute(query.order_by(contacts.c.contact_date)).all()
    assert all(row.contact_date == row.recorded_at for row in found)
    return [row.contact_date for row in found]


def test_instants_come_back_as_they_were_in_utc_and_in_order(database: Database) -> None:
    instants = _instants()
    with database.write() as connection:
        found = _stored(connection, instants)
    assert found == sorted(instants)
    assert all(it.tzinfo is UTC for it in found)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/St_Johns"])
def test_instants_do_not_depend_on_the_time_zone_of_the_server(
    postgresql: Database, zone: str
) -> None:
    name = postgresql.engine.url.database
    _as_administrator(postgresql, f"ALTER DATABASE {name} SET timezone = '{zone}'")
    _as_administrator(
        postgresql, f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET timezone = '{zone}'"
    )
    postgresql.close()
    with postgresql.write() as connection:
        assert _stored(connection, _instants()) == sorted(_instants())


def test_instants_do_not_depend_on_the_time_zone_of_the_session(postgresql: Database) -> None:
    # Not year 1 nor 9999: the driver cannot read what is year 0 or 10000 in the zone.
    instants = [it for it in _instants() if 1 < it.astimezone(UTC).year < 9999]
    with postgresql.write() as connection:
        connection.execute(text("SET LOCAL timezone = 'Pacific/Kiritimati'"))
        found = _stored(connection, instants)
    assert found == sorted(instants)
    assert all(it.tzinfo is UTC for it in found)


# --- URLs ---


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://peermentor:{PRIVATE}@127.0.0.1/peermentor",
        f"postgres://peermentor:{PRIVATE}@127.0.0.1/peermentor",
        f"postgresql+psycopg://peermentor:{PRIVATE}@127.0.0.1/peermentor",
        f"postgresql://127.0.0.1/peermentor?user=peermentor&password={PRIVATE}",
        f"postgresql://peermentor:{PRIVATE}@/peermentor?host=127.0.0.1:1&host=127.0.0.1:2",
        f"postgresql:///peermentor?host=/run/a&host=/run/b&password={PRIVATE}&sslpassword={PRIVATE}",
    ],
)
def test_a_location_never_shows_a_password(url: str) -> None:
    assert Database(url).location == url.replace(PRIVATE, "***")


@pytest.mark.parametrize("url", ["", "peermentor.db", "postgresql://h:port/x", "://"])
def test_a_text_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrl):
        Database(url)


def test_the_pool_has_a_connection_for_the_health_check_too(empty_url: str) -> None:
    database = Database(empty_url, timing=Timing(pool_s=0.2))
    schema.migrate(database)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(database.read())
        database.ping()
    database.close()
