"""No wait lasts past its deadline, and what is not certain is not said."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import Connection, text

from peermentor_server.rules.errors import DatabaseUnavailable
from peermentor_server.storage import assignments
from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.bounded_connection import BoundedConnection
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.engine.deadlines import Deadline
from peermentor_server.timing import Timing
from support.databases import migrated, url_of
from support.factories import contents
from support.waiting import wait_until

# Far below what would be waited without a deadline, and far above what is slow here.
SOON_S = 10


@contextmanager
def _soon() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < SOON_S


def _pid(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def _store(
    database: Database,
    before_the_commit: Callable[[], None] = lambda: None,
) -> None:
    with database.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "")
        before_the_commit()


def _store_with_a_pause(database: Database, seconds: float) -> None:
    with database.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "")
        time.sleep(seconds)
        assignments.name_mentee(connection, "org_03", "user_089", "")


def _store_slowly(database: Database) -> None:
    with database.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "")
        connection.execute(text("SELECT pg_sleep(60)"))


def _is_stored(database: Database) -> bool:
    with database.read() as connection:
        return connection.execute(text("SELECT 1 FROM mentees")).all() != []


# --- Deadlines ---


def test_a_statement_that_is_late_is_cancelled_and_its_connection_kept(
    postgresql: Database,
) -> None:
    with postgresql.read() as connection:
        before = _pid(connection)
    with _soon(), deadlines.within(0.2), pytest.raises(DatabaseUnavailable) as raised:
        _store_slowly(postgresql)
    assert str(raised.value.__cause__) == "QueryCanceled 57014"
    assert (raised.value.passing, raised.value.unknown_outcome) == (False, False)
    with postgresql.read() as connection:
        assert _pid(connection) == before


def test_a_commit_that_is_late_is_cancelled_and_may_have_been_stored(postgresql: Database) -> None:
    _at_commit(postgresql, "PERFORM pg_sleep(60)")
    with _soon(), deadlines.within(0.2), pytest.raises(DatabaseUnavailable) as raised:
        _store(postgresql)
    assert raised.value.unknown_outcome


def test_a_server_that_does_not_even_cancel_is_left(
    postgresql: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "cancel_safe", lambda _self, **_: None)
    with _soon(), deadlines.within(0.2), pytest.raises(DatabaseUnavailable) as raised:
        _store_slowly(postgresql)
    assert str(raised.value.__cause__) == "OperationalError"
    assert not raised.value.unknown_outcome
    postgresql.ping()


def test_work_without_a_deadline_takes_its_time(postgresql: Database) -> None:
    impatient = Database(url_of(postgresql), timing=Timing(cancel_s=0))
    with impatient.read() as connection:
        connection.execute(text("SELECT pg_sleep(0.5)"))
    impatient.close()


def test_an_inner_deadline_ends_with_its_block() -> None:
    with deadlines.within(100):
        with deadlines.within(1):
            assert deadlines.remaining() <= 1
        assert 1 < deadlines.remaining() <= 100
    assert deadlines.remaining() == float("inf")


def test_hosts_that_do_not_answer_keep_nobody_past_the_deadline() -> None:
    """Each of them alone would be waited for by the driver for two seconds or more."""
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(8)]
        hosts = "&".join(f"host=127.0.0.1:{each.getsockname()[1]}" for each in silent)
        database = Database(f"postgresql://peermentor@/peermentor?{hosts}")
        with _soon(), deadlines.within(0.2), pytest.raises(DatabaseUnavailable) as raised:
            database.ping()
        database.close()
    assert raised.value.passing


# --- What is certain ---


def _at_commit(database: Database, statement: str) -> None:
    """Let every commit of a mentee first do this, in PL/pgSQL."""
    with database.write() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN {statement}; RETURN NULL; END $$"
            )
        )
        connection.execute(
            text(
                "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT OR UPDATE ON mentees "
                "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit()"
            )
        )


def test_a_commit_that_the_server_warns_of_is_not_certain(postgresql: Database) -> None:
    _at_commit(postgresql, "RAISE WARNING 'in any language'")
    with pytest.raises(DatabaseUnavailable) as raised:
        _store(postgresql)
    assert (raised.value.passing, raised.value.unknown_outcome) == (True, True)
    assert _is_stored(postgresql)


def test_a_commit_that_the_server_comments_on_is_certain(postgresql: Database) -> None:
    _at_commit(postgresql, "RAISE NOTICE 'all is well'")
    _store(postgresql)
    assert _is_stored(postgresql)


def test_a_warning_before_the_commit_says_nothing_of_it(postgresql: Database) -> None:
    with postgresql.write() as connection:
        connection.execute(text("DO $$ BEGIN RAISE WARNING 'of something else'; END $$"))
        assignments.name_mentee(connection, "org_03", "user_088", "")
    assert _is_stored(postgresql)


def _break_off(database: Database, waiting_in: str) -> None:
    """Break off the connection that waits in a statement that begins with this."""
    other = Database(database.engine.url.render_as_string(hide_password=False))
    query = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE "
        f"wait_event = 'PgSleep' AND datname = current_database() AND query LIKE '{waiting_in}%'"
    )

    def broken() -> bool:
        with other.read() as connection:
            return connection.execute(text(query)).all() != []

    wait_until(broken, 10)
    other.close()


def test_a_transaction_that_breaks_before_its_commit_is_certainly_not_stored(
    postgresql: Database,
) -> None:
    breaking = threading.Thread(target=_break_off, args=[postgresql, "SELECT"])
    breaking.start()
    with pytest.raises(DatabaseUnavailable) as raised:
        _store_slowly(postgresql)
    breaking.join()
    assert (raised.value.passing, raised.value.unknown_outcome) == (True, False)
    assert not _is_stored(postgresql)


def test_a_transaction_that_breaks_in_its_commit_may_have_been_stored(
    postgresql: Database,
) -> None:
    _at_commit(postgresql, "PERFORM pg_sleep(60)")
    breaking = threading.Thread(target=_break_off, args=[postgresql, "COMMIT"])
    breaking.start()
    with pytest.raises(DatabaseUnavailable) as raised:
        _store(postgresql)
    breaking.join()
    assert (raised.value.passing, raised.value.unknown_outcome) == (True, True)


def test_a_commit_that_the_server_undid_is_certainly_not_stored(postgresql: Database) -> None:
    _at_commit(postgresql, "RAISE EXCEPTION USING ERRCODE = '40001'")
    with pytest.raises(DatabaseUnavailable) as raised:
        _store(postgresql)
    assert (raised.value.passing, raised.value.unknown_outcome) == (True, False)
    assert not _is_stored(postgresql)


def test_a_row_that_another_one_holds_is_nothing_to_try_again_at_once(
    postgresql: Database,
) -> None:
    _store(postgresql)
    other = Database(url_of(postgresql), timing=Timing(lock_s=0.05))
    with postgresql.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "")
        with pytest.raises(DatabaseUnavailable) as raised:
            _store(other)
    assert not raised.value.passing
    other.close()


def test_a_pool_without_a_free_connection_is_nothing_to_try_again_at_once(
    postgresql: Database,
) -> None:
    small = Database(url_of(postgresql), pool_size=1, timing=Timing(pool_s=0.1))
    with small.read(), pytest.raises(DatabaseUnavailable) as raised:
        small.ping()
    assert not raised.value.passing
    small.close()


def test_no_statement_begins_after_the_deadline(own: Database) -> None:
    with pytest.raises(DatabaseUnavailable), deadlines.within(-1):
        _store(own)
    with pytest.raises(DatabaseUnavailable), deadlines.within(0.2):
        _store_with_a_pause(own, 0.3)
    assert contents(own)["mentees"] == []
    with deadlines.within(SOON_S):
        _store(own)


def test_no_commit_begins_after_the_deadline(own: Database) -> None:
    with pytest.raises(DatabaseUnavailable), deadlines.within(0.2):
        _store(own, lambda: time.sleep(0.3))
    assert contents(own)["mentees"] == []


def test_nothing_is_stored_once_nobody_waits_for_it(own: Database) -> None:
    deadline = Deadline(SOON_S)
    with pytest.raises(DatabaseUnavailable), deadlines.until(deadline):
        _store(own, deadline.end)
    assert contents(own)["mentees"] == []


@pytest.mark.parametrize("waits_in_turn", [True, False])
def test_a_writer_of_sqlite_waits_no_longer_than_its_deadline(
    tmp_path: Path, *, waits_in_turn: bool
) -> None:
    """For its turn among the service's own writers, and for another program's transaction."""
    with migrated(f"sqlite:///{tmp_path}/own.db") as own, ExitStack() as stack:
        if waits_in_turn:
            stack.enter_context(Database(url_of(own)).write())
        else:
            foreign = stack.enter_context(closing(sqlite.connect(tmp_path / "own.db")))
            foreign.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable), deadlines.within(0.3):
            _store(own)
        # Without a deadline it is five seconds for each.
        assert time.monotonic() - started < 3


# --- The URL ---


def test_what_the_url_says_of_a_session_counts(postgresql: Database) -> None:
    said = "options=-c%20lock_timeout=1234%20-c%20timezone=Asia/Tokyo&application_name=nightly"
    own = Database(f"{url_of(postgresql)}&{said}")
    names = ("lock_timeout", "application_name", "statement_timeout", "timezone")
    with own.read() as connection:
        found = {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in names}
    assert found == {
        "lock_timeout": "1234ms",
        "application_name": "nightly",
        "statement_timeout": "30s",
        # Except for the zone: instants are read as UTC.
        "timezone": "UTC",
    }
    own.close()


def test_of_several_hosts_the_one_that_takes_writes_is_used(postgresql: Database) -> None:
    url = postgresql.engine.url
    silent = socket.create_server(("127.0.0.1", 0))
    gone = silent.getsockname()[1]
    silent.close()
    several = url.update_query_dict({"host": [f"127.0.0.1:{gone}", str(url.query["host"])]})
    own = Database(several.render_as_string(hide_password=False))
    own.ping()
    own.close()
