"""Writers of one SQLite file take turns: across connections, threads and processes."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import Connection, event, text

from peermentor_server.rules.errors import DatabaseUnavailable, InternalFault
from peermentor_server.storage import assignments, schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.engine.write_queue import WriteQueue
from peermentor_server.timing import Timing
from support import migrations

# Holds the turn until it is killed.
HOLDER = """
import sys, time
from pathlib import Path
from peermentor_server.storage.engine.write_queue import WriteQueue
WriteQueue(Path(sys.argv[1])).enter(5)
sys.stdout.write("entered\\n")
sys.stdout.flush()
time.sleep(60)
"""


IMPATIENT = Timing(lock_s=0.1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A place for a database."""
    return tmp_path / "own.db"


@pytest.fixture
def own(file: Path) -> Iterator[Database]:
    """A SQLite database of the test's own."""
    database = Database(f"sqlite:///{file}")
    schema.migrate(database)
    yield database
    database.close()


@pytest.fixture
def impatient(file: Path) -> Iterator[Database]:
    """The same, but its writers do not wait for long."""
    database = Database(f"sqlite:///{file}", timing=IMPATIENT)
    schema.migrate(database)
    yield database
    database.close()


def _write(database: Database) -> None:
    with database.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "")


def _nobody_has_a_turn(file: Path) -> bool:
    queue = WriteQueue(file)
    try:
        queue.enter(0)
    except DatabaseUnavailable:
        return False
    queue.leave()
    return True


def test_the_lock_file_lies_beside_the_database_for_its_owner_alone(
    own: Database, file: Path
) -> None:
    _write(own)
    assert file.with_name("own.db.lock").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("own")
def test_a_relative_path_and_a_link_lead_to_the_same_queue(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file.parent / "link.db").symlink_to(file)
    monkeypatch.chdir(file.parent)
    for name in ("own.db", "link.db"):
        other = Database(f"sqlite:///{name}")
        with other.write():
            assert not _nobody_has_a_turn(file)
        other.close()
    assert not file.with_name("link.db.lock").exists()


def test_the_turn_lasts_until_the_transaction_has_ended(own: Database, file: Path) -> None:
    with own.write() as connection:
        assert not _nobody_has_a_turn(file)
        connection.commit()
        assert _nobody_has_a_turn(file)
    with own.write() as connection:
        connection.rollback()
        assert _nobody_has_a_turn(file)


def test_reading_takes_no_turn(own: Database, file: Path) -> None:
    with own.read() as connection:
        connection.execute(text("SELECT * FROM mentees"))
        assert _nobody_has_a_turn(file)


def _fail(connection: Connection) -> None:
    connection.execute(text("SELECT * FROM nothing"))


def _fail_at_commit(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
    connection.exec_driver_sql(
        "INSERT INTO contacts (assignment_id, contact_date, contact_type, recorded_at) "
        "VALUES (1, 'x', 'x', 'x')"
    )


@pytest.mark.parametrize("work", [_fail, _fail_at_commit])
def test_a_write_that_fails_ends_its_turn(own: Database, file: Path, work: object) -> None:
    assert callable(work)
    with pytest.raises(InternalFault), own.write() as connection:
        work(connection)
    assert _nobody_has_a_turn(file)
    _write(own)


def test_a_transaction_that_cannot_begin_ends_its_turn(impatient: Database, file: Path) -> None:
    impatient.close()
    other = sqlite.connect(str(file), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable):
        _write(impatient)
    assert _nobody_has_a_turn(file)
    other.close()
    _write(impatient)


@pytest.mark.parametrize("in_turn", [True, False])
def test_a_migration_waits_for_another_one_longer_than_a_call_does(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_turn: bool
) -> None:
    database = Database(f"sqlite:///{file}", timing=IMPATIENT)
    schema.migrate(database)
    migrations.add(monkeypatch, tmp_path, "CREATE TABLE later (id INTEGER)")
    queue, other = WriteQueue(file), sqlite.connect(str(file), isolation_level=None)
    if in_turn:
        queue.enter(0)
    other.execute("BEGIN IMMEDIATE")
    migration = threading.Thread(target=schema.migrate, args=[database])
    migration.start()
    with pytest.raises(DatabaseUnavailable):
        _write(database)
    migration.join(timeout=1)
    other.close()
    if in_turn:
        queue.leave()
    migration.join()
    assert schema.state(database) is schema.State.CURRENT
    database.close()


def test_a_connection_that_is_thrown_away_ends_its_turn(own: Database, file: Path) -> None:
    with own.engine.connect() as connection:
        own.backend.begin(connection)
        assert not _nobody_has_a_turn(file)
        connection.invalidate()
    assert _nobody_has_a_turn(file)


def test_a_writer_waits_for_another_process_and_not_for_ever(
    impatient: Database, file: Path
) -> None:
    with _holder(file) as holder:
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable) as raised:
            _write(impatient)
        assert time.monotonic() - started >= 0.1
        assert "did not end in time" in str(raised.value.__cause__)
        holder.kill()
        holder.wait()
        _write(impatient)


def test_a_writer_waits_for_another_thread_and_not_for_ever(impatient: Database) -> None:
    with impatient.write(), pytest.raises(DatabaseUnavailable) as raised:
        _write(impatient)
    assert "did not end in time" in str(raised.value.__cause__)


def test_a_killed_holder_lets_the_next_one_in(own: Database, file: Path) -> None:
    with _holder(file) as holder:
        timer = threading.Timer(0.2, holder.kill)
        timer.start()
        _write(own)
        timer.join()


def _holder(file: Path) -> "subprocess.Popen[str]":
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "entered\n"
    return holder


def test_a_program_that_knows_no_turns_is_waited_for(own: Database, file: Path) -> None:
    other = sqlite.connect(str(file), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
    timer.start()
    _write(own)
    timer.join()
    other.close()


def test_without_a_lock_file_a_writer_goes_on(file: Path) -> None:
    file.with_name("own.db.lock").mkdir()
    database = Database(f"sqlite:///{file}")
    schema.migrate(database)
    _write(database)
    database.close()


def test_on_a_file_system_without_locks_a_writer_goes_on(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_descriptor: int, _operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    _write(own)


def test_erasing_empties_the_log_in_its_turn(own: Database, file: Path) -> None:
    seen = []

    @event.listens_for(own.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if "wal_checkpoint" in statement:
            seen.append(_nobody_has_a_turn(file))

    with own.erase() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "")
    assert seen == [False]
    assert _nobody_has_a_turn(file)
    assert file.with_name("own.db-wal").stat().st_size == 0
