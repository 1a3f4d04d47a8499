"""Backups made while others write, and restored: nothing that was acknowledged is missing."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import make_url, select, text

from peermentor.v1.assignments_pb2 import CreateAssignmentRequest, ListAssignmentsRequest
from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor_server.cli import sample_data
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import assignments, schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import mentees
from support.clock import CONTRACT_DAY
from support.commands import run, start
from support.databases import Postgres
from support.factories import NEW_ASSIGNMENT, STORED_ASSIGNMENT, contents
from support.ports import free_ports
from support.serving import settings_for
from support.torture import either, measured
from support.writers import writing

ROUNDS = int(either(2, 30))
PROCESSES = 3
pytestmark = pytest.mark.timeout(either(120, 3600))


def _with_demo(url: str) -> Database:
    database = Database(url)
    schema.migrate(database)
    sample_data.load(database)
    return database


def _acknowledged_and_missing(
    url: str, directory: Path, back_up: Callable[[int], Database]
) -> tuple[int, int]:
    """Back up while processes write, and again; each time compare what they knew to be stored."""
    files = [directory / f"writer_{number}" for number in range(PROCESSES)]
    acknowledged: set[str] = set()
    missing = 0
    with writing("add", url, files, 600) as writers:
        for number in range(ROUNDS):
            for writer in writers:
                writer.wait_for_more()
            acknowledged = set().union(*(writer.acknowledged() for writer in writers))
            missing += len(acknowledged - _mentees_of(back_up(number)))
        # They wrote meanwhile, and still do.
        for writer in writers:
            writer.wait_for_more()
    measured(f"{ROUNDS} backups, {len(acknowledged)} writes acknowledged, {missing} missing")
    return len(acknowledged), missing


def _mentees_of(restored: Database) -> set[str]:
    with restored.read() as connection:
        found = set(connection.execute(select(mentees.c.mentee_id)).scalars())
    restored.close()
    return found


def _assert_serves(url: str) -> None:
    """Check that a server runs on this database, and gives out the next key."""
    ports = free_ports(3)
    with start("serve", "--no-gateway", **settings_for(url, ports)) as server:
        try:
            with grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
                grpc.channel_ready_future(channel).result(timeout=30)
                stub = AssignmentServiceStub(channel)
                listing = stub.ListAssignments(ListAssignmentsRequest())
                assert listing.pagination.total == 47
                created = stub.CreateAssignment(CreateAssignmentRequest(**NEW_ASSIGNMENT))
                assert created.assignment_id == "asgn_048"
                assert created.mentee_name == "Bjørn Solberg"
        finally:
            server.kill()
            server.communicate()


# --- SQLite ---


def _problems(database: Database) -> Sequence[Any]:
    with database.read() as connection:
        integrity = connection.execute(text("PRAGMA integrity_check")).scalars().all()
        return [*integrity, *connection.execute(text("PRAGMA foreign_key_check")).all()]


def test_a_backup_of_sqlite_under_load_misses_nothing(tmp_path: Path) -> None:
    database = _with_demo(f"sqlite:///{tmp_path}/own.db")

    def back_up(number: int) -> Database:
        file = tmp_path / f"backup_{number}.db"
        result = run("backup", str(file), PEERMENTOR_DATABASE_URL=database.location)
        assert (result.returncode, result.stderr) == (0, "")
        restored = Database(f"sqlite:///{file}")
        assert _problems(restored) == ["ok"]
        return restored

    acknowledged, missing = _acknowledged_and_missing(database.location, tmp_path, back_up)
    assert acknowledged > PROCESSES
    assert missing == 0
    database.close()


def test_a_mere_copy_of_the_file_misses_writes(tmp_path: Path) -> None:
    """The control: the latest writes are not in the database file itself."""
    database = _with_demo(f"sqlite:///{tmp_path}/own.db")
    # Moves what there is so far into the file.
    database.close()

    def copy(number: int) -> Database:
        file = shutil.copy(tmp_path / "own.db", tmp_path / f"copy_{number}.db")
        return Database(f"sqlite:///{file}")

    _, missing = _acknowledged_and_missing(database.location, tmp_path, copy)
    assert missing > 0


def test_sqlite_is_restored_by_putting_the_backup_in_place(tmp_path: Path) -> None:
    file = tmp_path / "own.db"
    database = _with_demo(f"sqlite:///{file}")
    before = contents(database)
    backup = tmp_path / "backup.db"
    assert run("backup", str(backup), PEERMENTOR_DATABASE_URL=database.location).returncode == 0
    with database.write() as connection:
        connection.execute(mentees.update().values(mentee_name="Nobody"))
    # As the README says: what SQLite and the server left beside the old file goes with it.
    stale = {end: file.with_name(f"own.db{end}") for end in ("", "-wal", "-shm", ".lock")}
    kept = {end: path.read_bytes() for end, path in stale.items()}
    assert kept["-wal"]
    database.close()
    for path in stale.values():
        path.unlink(missing_ok=True)
    shutil.copy(backup, file)
    restored = Database(f"sqlite:///{file}")
    assert contents(restored) == before
    restored.close()
    _assert_serves(f"sqlite:///{file}")


# --- PostgreSQL, by its own tools ---


def _dump(postgres: Postgres, url: str, file: Path) -> None:
    options = ["--format=custom", f"--file={file}", f"--dbname={_plain(url)}"]
    subprocess.run([postgres.tool("pg_dump"), *options], check=True, timeout=60)


def _restore(postgres: Postgres, file: Path) -> Database:
    url = postgres.new_database()
    options = ["--no-owner", "--single-transaction", f"--dbname={_plain(url)}", str(file)]
    subprocess.run([postgres.tool("pg_restore"), *options], check=True, timeout=60)
    return Database(url)


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def test_a_backup_of_postgresql_under_load_misses_nothing(
    postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.new_database()
    database = _with_demo(url)

    def back_up(number: int) -> Database:
        _dump(postgres, url, tmp_path / f"backup_{number}")
        return _restore(postgres, tmp_path / f"backup_{number}")

    acknowledged, missing = _acknowledged_and_missing(url, tmp_path, back_up)
    assert acknowledged > PROCESSES
    assert missing == 0
    database.close()


def test_postgresql_is_restored_into_an_empty_database(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.new_database()
    database = _with_demo(url)
    _dump(postgres, url, tmp_path / "backup")
    restored = _restore(postgres, tmp_path / "backup")
    assert schema.state(restored) is schema.State.CURRENT
    assert contents(restored) == contents(database)
    # The keys go on where they were.
    with restored.write() as connection:
        assert (
            assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT, None, CONTRACT_DAY).id == 48
        )
    restored.close()
    database.close()
