"""A session of PostgreSQL: as the service relies on it, whatever server and surroundings say."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, text

from peermentor_server.rules.errors import DatabaseUnavailable, diagnosis
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import assignments, schema
from peermentor_server.storage.assignments import Contact
from peermentor_server.storage.engine.database import Database
from peermentor_server.timing import USUAL
from support.databases import Postgres, migrated, url_of
from support.factories import STORED_ASSIGNMENT

NOW = datetime(2026, 3, 6, 10, tzinfo=UTC)
# Each reads or writes values in another way than the service.
HOSTILE = {
    "datestyle": "SQL, DMY",
    "client_encoding": "LATIN1",
    "timezone": "Asia/Tokyo",
    "standard_conforming_strings": "off",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "0",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "1234",
    "lock_timeout": "1234",
}


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """The URL of a database of the test's own, with the newest schema."""
    with migrated(postgres.new_migrated_database()) as database:
        yield url_of(database)


def _shown(connection: Connection, *names: str) -> dict[str, str]:
    return {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in names}


def _assert_works(url: str) -> None:
    database = Database(url)
    with database.write() as connection:
        created = assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT, "Łukasz Ωmega 李", NOW)
        assignments.record_contact(connection, EVERYWHERE, created.id, Contact(NOW, "call"), NOW)
    with database.read() as connection:
        found = assignments.get(connection, EVERYWHERE, created.id)
        assert found is not None
        assert found.mentee_name == "Łukasz Ωmega 李"
        assert found.start_date == STORED_ASSIGNMENT["start_date"]
        assert (found.last_contact_date, found.created_at) == (NOW, NOW)
    database.close()


def _set_for_database(url: str, settings: dict[str, str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in settings.items():
            statement = f"ALTER DATABASE {connection.info.dbname} SET {name} = '{value}'"
            connection.execute(statement.encode())


def test_what_is_set_for_the_database_has_no_effect(url: str) -> None:
    _set_for_database(url, HOSTILE)
    _assert_works(url)


def test_what_is_set_for_the_database_would_have_an_effect(url: str) -> None:
    """The control of the test above."""
    _set_for_database(url, HOSTILE)
    with psycopg.connect(url) as connection:
        for name in HOSTILE.keys() - {"client_encoding"}:
            [(shown,)] = connection.execute(f"SHOW {name}".encode()).fetchall()
            assert shown in {HOSTILE[name], HOSTILE[name] + "ms"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PGDATESTYLE", "German"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGTZ", "Asia/Tokyo"),
        ("PGOPTIONS", "-c datestyle=German -c client_encoding=LATIN1 -c intervalstyle=iso_8601"),
    ],
)
def test_what_the_surroundings_set_has_no_effect(
    variable: str, value: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    _assert_works(url)


def test_an_encoding_that_the_url_names_has_no_effect(url: str) -> None:
    _assert_works(f"{url}&client_encoding=LATIN1")


def test_what_a_standby_or_an_administrator_decides_is_left_alone(url: str) -> None:
    _set_for_database(url, {"synchronous_commit": "remote_apply", "row_security": "off"})
    database = Database(url)
    with database.read() as connection:
        shown = _shown(connection, "synchronous_commit", "row_security")
    assert shown == {"synchronous_commit": "remote_apply", "row_security": "off"}
    database.close()


# --- What whoever runs the service says ---


def test_options_of_the_surroundings_count(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=app -c lock_timeout=1234")
    _assert_uses_app(url)


def test_options_of_a_service_file_count(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = conninfo_to_dict(url) | {"options": "-c search_path=app -c lock_timeout=1234"}
    file = tmp_path / "services"
    file.write_text("\n".join(["[mentoring]", *(f"{name}={it}" for name, it in said.items())]))
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    _assert_uses_app("postgresql:///?service=mentoring")


def _assert_uses_app(url: str) -> None:
    database = Database(url)
    with database.write() as connection:
        connection.execute(text("CREATE SCHEMA app"))
    database.close()
    with migrated(url) as database, database.read() as connection:
        query = "SELECT schemaname FROM pg_tables WHERE tablename = 'mentees' ORDER BY 1"
        assert connection.execute(text(query)).scalars().all()[0] == "app"
        assert _shown(connection, "lock_timeout", "statement_timeout") == {
            "lock_timeout": "1234ms",
            "statement_timeout": f"{USUAL.statement_s:.0f}s",
        }


# --- Databases of another encoding ---


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_another_encoding_is_refused_with_the_reason(
    encoding: str, postgres: Postgres
) -> None:
    database = Database(postgres.new_database(encoding))
    for use in (database.ping, lambda: schema.migrate(database)):
        with pytest.raises(DatabaseUnavailable) as raised:
            use()
        assert diagnosis(raised.value).startswith(
            f"the encoding of the database is {encoding} and must be UTF8"
        )
    database.close()
