"""The schema: migrations build what storage/tables declares, once, wholly, or not at all."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import ForeignKeyConstraint, PrimaryKeyConstraint, inspect, text

from peermentor_server.failures import CommandFailed
from peermentor_server.rules.errors import DatabaseUnavailable, DomainError, diagnosis
from peermentor_server.storage import assignments, opening, schema
from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.schema import NEWEST, State
from peermentor_server.storage.tables import metadata
from peermentor_server.timing import Timing
from support import catalogs, commands, migrations
from support.databases import url_of
from support.waiting import wait_until


@pytest.fixture
def own(empty_url: str) -> Iterator[Database]:
    """A database of the test's own, without any tables."""
    database = Database(empty_url)
    yield database
    database.close()


@pytest.fixture
def failing_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more migration, which fails half-way."""
    migrations.add(
        monkeypatch,
        tmp_path,
        "CREATE TABLE half (id INTEGER)",
        "INSERT INTO half VALUES (1)",
        "DELETE FROM mentees",
        "CREATE TABLE half (id INTEGER)",
    )


def test_migrations_build_exactly_what_the_tables_declare(own: Database) -> None:
    with own.write() as connection:
        metadata.create_all(connection)
        declared = catalogs.describe(connection)
        metadata.drop_all(connection)
    schema.migrate(own)
    with own.read() as connection:
        migrated = catalogs.describe(connection)
    assert {part: len(rows) > 0 for part, rows in migrated.items()} == dict.fromkeys(declared, True)
    assert migrated == declared


def test_a_catalog_shows_what_alembic_does_not_compare(own: Database) -> None:
    """The control of the test above: checks, predicates and orders are among the details."""
    schema.migrate(own)
    with own.read() as connection:
        details = str(catalogs.describe(connection))
    assert "duration_minutes > 0" in details
    assert "'active'" in details
    assert "ON DELETE CASCADE" in details
    assert ("NULLS FIRST" in details) == (own.dialect == "postgresql")
    assert ("AUTOINCREMENT" in details) == (own.dialect == "sqlite")


def test_alembic_finds_nothing_to_migrate(own: Database) -> None:
    schema.migrate(own)
    with own.read() as connection:
        differences = compare_metadata(_comparison(connection), metadata)
    # Of an index that tables.py declares once for each kind of database alembic only sees one.
    assert [found for found in differences if "ix_assignments_overdue" not in str(found)] == []


def _comparison(connection: object) -> MigrationContext:
    return MigrationContext.configure(
        connection,  # type: ignore[arg-type]
        opts={"compare_type": True, "compare_server_default": True},
    )


def test_the_newest_migration_is_named() -> None:
    scripts = ScriptDirectory(str(schema._MIGRATIONS))
    assert scripts.get_current_head() == schema.NEWEST


def test_a_start_on_a_current_sqlite_file_imports_nothing_that_only_some_calls_need(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    database = Database(url)
    schema.migrate(database)
    program = f"""
import sys
from peermentor_server.rpc import app
from peermentor_server.settings import Settings
from peermentor_server.storage import opening
opening.require_schema(opening.open_database(Settings(database_url={url!r})))
print(*{{"alembic", "psycopg", "icalendar"}} & sys.modules.keys())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_every_constraint_is_named_by_the_convention(own: Database) -> None:
    schema.migrate(own)
    expected = {"ck_assignments_status", "ck_templates_duration_minutes"}
    for table in metadata.sorted_tables:
        for constraint in table.constraints:
            if isinstance(constraint, ForeignKeyConstraint):
                expected.add(f"fk_{table.name}_{constraint.column_keys[0]}")
            # SQLite has no name for the key that it gives out itself.
            automatic = table.autoincrement_column is not None and own.dialect == "sqlite"
            if isinstance(constraint, PrimaryKeyConstraint) and not automatic:
                expected.add(f"pk_{table.name}")
    with own.read() as connection:
        assert catalogs.constraint_names(connection) == expected
        if own.dialect == "sqlite":
            assert catalogs.unnamed_constraints(connection) == 0


def test_every_index_is_named_after_its_table(own: Database) -> None:
    schema.migrate(own)
    with own.read() as connection:
        found = catalogs.index_names(connection)
        assert found == {index.name for table in metadata.sorted_tables for index in table.indexes}
        for table in metadata.sorted_tables:
            for index in inspect(connection).get_indexes(table.name):
                assert str(index["name"]).startswith(f"ix_{table.name}_")


def test_migrating_twice_changes_nothing(own: Database) -> None:
    schema.migrate(own)
    with own.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "Bjørn Solberg")
    before = _snapshot(own)
    schema.migrate(own)
    assert _snapshot(own) == before


def _snapshot(database: Database) -> tuple[object, ...]:
    """Return the schema, the rows, and what changes with any DDL statement."""
    counter = (
        "PRAGMA schema_version"
        if database.dialect == "sqlite"
        else "SELECT string_agg(oid || '/' || xmin, ',' ORDER BY oid) FROM pg_class"
    )
    with database.read() as connection:
        return (
            catalogs.describe(connection),
            connection.execute(text("SELECT * FROM mentees")).all(),
            connection.execute(text("SELECT * FROM alembic_version")).all(),
            connection.execute(text(counter)).scalar_one(),
        )


def test_two_programs_may_migrate_an_empty_database_at_once(empty_url: str) -> None:
    programs = [commands.start("migrate", PEERMENTOR_DATABASE_URL=empty_url) for _ in range(2)]
    results = [(program.communicate(timeout=60)[1], program.returncode) for program in programs]
    assert [status for _, status in results] == [0, 0], results
    database = Database(empty_url)
    assert schema.state(database) is State.CURRENT
    database.close()


def test_many_may_migrate_an_empty_database_at_the_same_moment(empty_url: str) -> None:
    databases = [Database(empty_url) for _ in range(4)]
    start = threading.Barrier(len(databases))
    failures: list[Exception] = []

    def migrate(database: Database) -> None:
        start.wait()
        try:
            schema.migrate(database)
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=migrate, args=[database]) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert schema.state(databases[0]) is State.CURRENT
    for database in databases:
        database.close()


@pytest.mark.usefixtures("failing_migration")
def test_a_migration_that_fails_leaves_an_empty_database_empty(own: Database) -> None:
    with pytest.raises(DomainError):
        schema.migrate(own)
    with own.read() as connection:
        assert inspect(connection).get_table_names() == []


@pytest.mark.usefixtures("failing_migration")
def test_a_migration_that_fails_leaves_the_older_schema_with_its_rows(own: Database) -> None:
    schema.migrate(own, NEWEST)
    with own.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "Bjørn Solberg")
    before = _snapshot(own)[:-1]
    with pytest.raises(DomainError):
        schema.migrate(own)
    assert _snapshot(own)[:-1] == before
    assert schema.state(own) is State.BEHIND


def test_a_new_database_is_behind_until_it_is_migrated(own: Database) -> None:
    assert schema.state(own) is State.BEHIND
    schema.migrate(own)
    assert schema.state(own) is State.CURRENT


def test_the_schema_of_a_newer_program_is_unknown_and_left_alone(own: Database) -> None:
    schema.migrate(own)
    before = _renamed(own, "9999")
    assert schema.state(own) is State.UNKNOWN
    with pytest.raises(schema.NewerSchema):
        schema.migrate(own)
    assert _snapshot(own) == before


def test_a_newer_schema_says_for_which_programs_it_is(own: Database) -> None:
    schema.migrate(own)
    for revision in ("0002_for_0001", "0003_for_0001"):
        before = _renamed(own, revision)
        assert schema.state(own) is State.NEWER
        opening.require_schema(own)
        schema.migrate(own)
        assert _snapshot(own) == before
    # The last ones are of no program of ours.
    for revision in ("0003_for_0002", "0002", "0001_for_0001", "0002_for_0001x"):
        before = _renamed(own, revision)
        assert schema.state(own) is State.UNKNOWN
        with pytest.raises(CommandFailed, match="is newer than this program"):
            opening.require_schema(own)
        assert _snapshot(own) == before


def _renamed(database: Database, revision: str) -> tuple[object, ...]:
    """Let the newest migration be of this name; return what there is then."""
    with database.write() as connection:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    return _snapshot(database)


def test_migrations_keep_their_promises_to_older_programs() -> None:
    scripts = ScriptDirectory(str(schema._MIGRATIONS)).walk_revisions()
    names = [script.revision for script in scripts][::-1]
    assert _broken_promises(names) == []
    # What a schema is for after one migration, it cannot be for if the one before was not.
    assert _broken_promises(["0001", "0002_for_0001", "0003_for_0002", "0004_for_0001"]) == ["0004"]
    assert _broken_promises(["0001", "0002_for_0001", "0003", "0004_for_0002"]) == ["0004"]
    assert _broken_promises(["0001", "0002_for_0002", "0002", "x"]) == ["0002", "0002", "x"]


def _broken_promises(names: list[str]) -> list[str]:
    """Return the numbers of migrations whose names are none, or say what cannot be."""
    broken, oldest = [], "0001"
    for place, name in enumerate(names, 1):
        number = schema.number(name)
        first = name.partition("_for_")[2] or number
        if number != f"{place:04}" or not oldest <= first or (first == number) == ("_" in name):
            broken.append(number)
        oldest = max(oldest, first)
    return broken


def test_a_migration_lets_others_go_on_while_it_waits_for_one_who_reads(
    postgresql: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations.add(monkeypatch, tmp_path, "ALTER TABLE assignments ADD COLUMN origin TEXT")
    patient = Database(url_of(postgresql), timing=Timing(migration_turn_s=0.1))
    migration = threading.Thread(target=schema.migrate, args=[patient])

    with postgresql.snapshot() as reader:
        reader.execute(text("SELECT count(*) FROM assignments"))
        migration.start()
        wait_until(lambda: _is_waited_for(postgresql), 20)
        for _ in range(10):
            with deadlines.within(2), postgresql.write() as connection:
                assignments.name_mentee(connection, "org_03", "user_088", "Bjørn Solberg")
                connection.execute(text("SELECT count(*) FROM assignments"))
        assert migration.is_alive()
    migration.join(20)
    assert schema.state(postgresql) is State.CURRENT
    patient.close()


def _is_waited_for(database: Database) -> bool:
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with database.read() as connection:
        return bool(connection.execute(query).scalar_one())


# --- What another program keeps there ---


def test_a_database_of_another_program_is_left_alone(own: Database) -> None:
    with own.write() as connection:
        connection.execute(text("CREATE TABLE assignments (course TEXT)"))
    _assert_foreign(own, "the table assignments in it is another program's")


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "own.db"
    other = sqlite3.connect(file)
    other.execute("CREATE TABLE bookmarks (address TEXT)")
    other.close()
    before = file.read_bytes()
    database = Database(f"sqlite:///{file}")
    _assert_foreign(database, "the table bookmarks in it is another program's")
    database.close()
    assert file.read_bytes() == before


def test_a_schema_of_postgresql_may_hold_tables_of_others(postgresql: Database) -> None:
    with postgresql.write() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
        connection.execute(text("CREATE TABLE bookmarks (address TEXT)"))
    schema.migrate(postgresql)
    assert schema.state(postgresql) is State.CURRENT


@pytest.mark.parametrize("revision", ["0001", NEWEST, "ae1027a6acf"])
def test_what_alembic_keeps_for_another_program_is_left_alone(revision: str, own: Database) -> None:
    with own.write() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text(f"INSERT INTO alembic_version VALUES ('{revision}')"))
    _assert_foreign(own, "the schema in it is another program's")


def _assert_foreign(database: Database, says: str) -> None:
    with database.read() as connection:
        before = catalogs.describe(connection)
    for use in (schema.state, schema.migrate):
        with pytest.raises(DatabaseUnavailable) as raised:
            use(database)
        assert diagnosis(raised.value) == says
    with database.read() as connection:
        assert catalogs.describe(connection) == before
