"""A role of PostgreSQL that may not do what it has to: what it lacks is said, and of whom."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from peermentor_server.rules.errors import DatabaseUnavailable, diagnosis
from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from support import migrations
from support.commands import run
from support.databases import Postgres, migrated

ROLE = "Weak role"


class Place:
    """A database, and how to come into it as a role without rights."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.weak = url.replace("//postgres:@", "//Weak%20role@")
        assert self.weak != url
        self.name = urlsplit(url).path.removeprefix("/")

    def execute(self, *statements: str) -> None:
        """Execute statements as the administrator."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@pytest.fixture
def place(postgres: Postgres) -> Iterator[Place]:
    """An empty database, and a role that may connect to it and nothing more."""
    place = Place(postgres.new_database())
    place.execute(f'CREATE ROLE "{ROLE}" LOGIN', "REVOKE ALL ON SCHEMA public FROM public")
    yield place
    place.execute(f'DROP OWNED BY "{ROLE}"', f'DROP ROLE "{ROLE}"')


def _assert_refused(url: str, says: str) -> None:
    database = Database(url)
    for use in (schema.state, schema.migrate):
        with pytest.raises(DatabaseUnavailable) as raised:
            use(database)
        assert says in diagnosis(raised.value)
    database.close()


@pytest.mark.parametrize("command", ["migrate", "check", "serve --no-gateway"])
def test_every_command_says_what_is_missing(command: str, place: Place) -> None:
    result = run(*command.split(), PEERMENTOR_DATABASE_URL=place.weak)
    assert result.returncode == 1
    assert f": cannot use {place.weak}: its search_path is " in result.stderr
    assert f"that role {ROLE} may use" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_schema_that_the_role_may_not_use(place: Place) -> None:
    _assert_refused(
        place.weak,
        'its search_path is "$user", public, and none of that is a schema that exists and that '
        f"role {ROLE} may use (CREATE SCHEMA, or GRANT USAGE ON SCHEMA)",
    )


def test_a_search_path_that_leads_nowhere(place: Place) -> None:
    _assert_refused(
        f"{place.url}&options=-csearch_path%3Dnowhere", "its search_path is nowhere, and none"
    )


def test_a_schema_in_which_the_role_may_create_nothing(place: Place) -> None:
    place.execute(f'GRANT USAGE ON SCHEMA public TO "{ROLE}"')
    _assert_refused(place.weak, f"role {ROLE} may make none: it lacks CREATE on schema public")


def test_tables_of_another_role_that_are_behind(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with migrated(place.url):
        migrations.add(monkeypatch, tmp_path, "CREATE TABLE later (id INTEGER)")
    place.execute(
        f'GRANT ALL ON SCHEMA public TO "{ROLE}"',
        f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{ROLE}"',
        f'GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "{ROLE}"',
    )
    _assert_refused(
        place.weak,
        f"role {ROLE} may not change those of other roles: access_keys of postgres, ",
    )


def test_tables_that_the_role_may_not_use(place: Place) -> None:
    with migrated(place.url):
        place.execute(f'GRANT USAGE ON SCHEMA public TO "{ROLE}"')
        _assert_refused(
            place.weak, f"role {ROLE} lacks DELETE on access_keys, INSERT on access_keys, "
        )


def test_each_right_that_lacks_is_named_and_no_other(place: Place) -> None:
    with migrated(place.url):
        place.execute(
            f'GRANT USAGE ON SCHEMA public TO "{ROLE}"',
            f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{ROLE}"',
            f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{ROLE}"',
            f'REVOKE DELETE, UPDATE ON contacts FROM "{ROLE}"',
            f'REVOKE USAGE ON SEQUENCE templates_id_seq FROM "{ROLE}"',
        )
        _assert_refused(
            place.weak,
            f"role {ROLE} lacks DELETE on contacts, UPDATE on contacts, USAGE on templates_id_seq "
            "(GRANT)",
        )
        place.execute(
            f'GRANT DELETE, UPDATE ON contacts TO "{ROLE}"',
            f'GRANT USAGE ON SEQUENCE templates_id_seq TO "{ROLE}"',
        )
        # Neither owns anything nor may create anything, and serves.
        database = Database(place.weak)
        assert schema.state(database) is schema.State.CURRENT
        database.ping()
        database.close()


def test_a_role_that_may_make_no_temporary_tables_imports_no_names(
    place: Place, tmp_path: Path
) -> None:
    with migrated(place.url):
        place.execute(
            f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{ROLE}"',
            f'GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "{ROLE}"',
            f'GRANT USAGE ON SCHEMA public TO "{ROLE}"',
            f"REVOKE TEMPORARY ON DATABASE {place.name} FROM public",
        )
        (tmp_path / "names.csv").write_text("mentee_id,mentee_name\nuser_1,Ann\n")
        result = run(
            "import-mentees",
            "--org",
            "org_03",
            f"{tmp_path}/names.csv",
            PEERMENTOR_DATABASE_URL=place.weak,
        )
    assert result.returncode == 1
    assert f": role {ROLE} lacks TEMPORARY on database {place.name} (GRANT)\n" in result.stderr
