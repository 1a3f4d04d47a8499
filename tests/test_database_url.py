"""URLs of databases: every form of libpq's, what is refused, and what is shown."""

from pathlib import Path

import pytest
from psycopg.pq import Conninfo

from peermentor_server import database_url
from peermentor_server.database_url import InvalidUrl
from support.commands import run

SECRET = "s3cret"  # noqa: S105 - in the URLs below


@pytest.mark.parametrize(
    ("url", "parameters"),
    [
        ("postgresql://", {}),
        ("postgresql:///db", {"dbname": "db"}),
        ("postgres://u@h:1/db", {"user": "u", "host": "h", "port": "1", "dbname": "db"}),
        ("postgresql+psycopg://h/db", {"host": "h", "dbname": "db"}),
        ("postgresql://h1:1,h2:2/db", {"host": "h1,h2", "port": "1,2", "dbname": "db"}),
        ("postgresql://h1,h2:2/db", {"host": "h1,h2", "port": ",2", "dbname": "db"}),
        ("postgresql://[::1]:1/db", {"host": "::1", "port": "1", "dbname": "db"}),
        ("postgresql://[::1],h:1/db", {"host": "::1,h", "port": ",1", "dbname": "db"}),
        ("postgresql://%2Fsocket%2Fdir/db", {"host": "/socket/dir", "dbname": "db"}),
        ("postgresql:///db?host=/socket/dir&port=1", {"host": "/socket/dir", "port": "1"}),
        ("postgresql:///?host=h1,h2&port=1,2", {"host": "h1,h2", "port": "1,2"}),
        ("postgresql:///?host=h1,h2&port=1", {"host": "h1,h2", "port": "1"}),
        ("postgresql:///?dbname=db&user=u&hostaddr=::1", {"dbname": "db", "hostaddr": "::1"}),
        ("postgresql://%C3%BC:p%40%2F%25@h/d%20b", {"user": "ü", "password": "p@/%"}),
        ("postgresql://ü@h/db", {"user": "ü"}),
        ("postgresql://u:a?b#c@h/db", {"password": "a?b#c", "host": "h", "dbname": "db"}),
        ("postgresql://h/db?ssl=true", {"sslmode": "require"}),
        ("postgresql://h/?options=-c%20search_path%3Dapp", {"options": "-c search_path=app"}),
        # Not libpq's, but clear.
        ("postgresql:///?options=-c%20search_path=app", {"options": "-c search_path=app"}),
        ("postgresql:///?host=h1:1&host=h2:2", {"host": "h1,h2", "port": "1,2"}),
        ("postgresql:///?host=h1&host=h2:2", {"host": "h1,h2", "port": ",2"}),
        ("postgresql:///?host=h1&host=h2&port=1&port=2", {"host": "h1,h2", "port": "1,2"}),
        ("postgresql:///?host=[::1]:1&host=[::1]:2", {"host": "::1,::1", "port": "1,2"}),
        ("postgresql:///?host=[::1]", {"host": "::1"}),
        ("postgresql:///?host=::1", {"host": "::1"}),
    ],
)
def test_what_a_url_says(url: str, parameters: dict[str, str]) -> None:
    found = database_url.postgresql_parameters(url)
    assert {name: found.get(name) for name in parameters} == parameters


def test_a_service_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    (tmp_path / "services").write_text("[mentoring]\nhost=h1,h2\nport=1,2\n")
    found = database_url.postgresql_parameters("postgresql:///?service=mentoring")
    assert found == {"service": "mentoring"}
    with pytest.raises(InvalidUrl, match='definition of service "other" not found'):
        database_url.check("postgresql:///?service=other")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must begin with sqlite:/// or postgresql://"),
        ("mysql://u:s3cret@h/db", "must begin with sqlite:/// or postgresql://"),
        (" postgresql://h/db", "must begin with"),
        ("postgresql:db", "must begin with"),
        ("sqlite:own.db", "must be sqlite:///FILE"),
        ("sqlite://h/own.db", "must be sqlite:///FILE"),
        ("sqlite:///own.db?mode=ro", "must be sqlite:///FILE"),
        ("sqlite:///", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("postgresql://u:s3cret@h:x/db", "the port must be a number"),
        ("postgresql://h:0/db", "the port must be a number"),
        ("postgresql://h:65536/db", "the port must be a number"),
        ("postgresql:///db?host=h:x&host=h2:1", "the port must be a number"),
        ("postgresql://h:1,h:2/db?port=1,2,3", "could not match 3 port numbers to 2 hosts"),
        ("postgresql://h/db?prepare_threshold=0", "prepare_threshold; leave it out: a pooler is"),
        ("postgresql://h/db?pgbouncer=true", "pgbouncer; leave it out: a pooler is recognised"),
        ("postgresql://h/db?pasword=s3cret", "libpq has no parameter pasword"),
        ("postgresql://h/db?sslmode=on", 'invalid sslmode value: "on"'),
        ("postgresql://h/db?target_session_attrs=first", "invalid target_session_attrs value"),
        ("postgresql://h/db?connect_timeout=soon", "connect_timeout must be a whole number"),
        ("postgresql://h/db?keepalives_idle=5s", "keepalives_idle must be a whole number"),
        # A password that is not escaped is cut somewhere, and its parts are taken for others.
        ("postgresql://u:s3cret@s3cret@h/db", "@ is written %40"),
        ("postgresql://u:s3cret/s3cret@h/db", "/ is %2F"),
        ("postgresql://u:12/s3cret@h/db", "@ is written %40"),
        ("postgresql://u:12/s3cret?s3cret@h/db", "% is %25"),
        ("postgresql://u:12/x?secret=s3cret@h/db", "% is %25"),
        ("postgresql://u:s3cret%zz@h/db", "% is %25"),
        ("postgresql://u:s3cret%00@h/db", "% is %25"),
        ("postgresql://u:s3cret@h/%ff", "% is %25"),
        ("postgresql://u:s3cret@[::1/db", "is not a database URL"),
        ("postgresql://h/db?s3cret", "is not a database URL"),
        ("postgresql://u:s3cret@h/\udcff", "is not a database URL"),
    ],
)
def test_what_is_no_url_is_refused_without_its_secrets(url: str, says: str) -> None:
    with pytest.raises(InvalidUrl) as refused:
        database_url.check(url)
    assert says in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////srv/ü.db",
        "postgresql://ü@h/d%C3%BC",
        "postgres://u@h1:1,h2/db?sslmode=require",
        "postgresql:///db?host=/socket/dir&options=-csearch_path%3Dapp",
        "postgresql+psycopg://h/",
    ],
)
def test_a_url_is_shown_as_it_was_given(url: str) -> None:
    assert database_url.shown(url) == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:s3cret@h/db", "postgresql://u:***@h/db"),
        ("postgresql://:s3cret@h/db", "postgresql://:***@h/db"),
        ("postgresql://u:s3c?ret#@h/db?sslmode=require", "postgresql://u:***@h/db?sslmode=require"),
        ("postgresql://h/?password=s3cret&user=u", "postgresql://h/?password=***&user=u"),
        ("postgresql://h/?pass%77ord=s3cret", "postgresql://h/?pass%77ord=***"),
        ("postgresql://h/?user=u& password=s3cret", "postgresql://h/?user=u& password=***"),
        ("postgresql://h/?sslpassword=s3cret", "postgresql://h/?sslpassword=***"),
    ],
)
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    database_url.check(url)
    assert database_url.shown(url) == shown


def test_whatever_libpq_calls_a_secret_is_not_shown() -> None:
    options = Conninfo.parse(b"")
    names = [option.keyword.decode() for option in options if option.dispchar == b"*"]
    assert {"password", "sslpassword"} <= set(names)
    for name in [*names, *(o.keyword.decode() for o in options if b"_key" in o.keyword)]:
        assert SECRET not in database_url.shown(f"postgresql://h/?{name}={SECRET}")


@pytest.mark.parametrize("command", ["serve", "serve --no-gateway", "migrate", "check"])
def test_a_wrong_url_is_refused_in_one_line_before_anything_starts(command: str) -> None:
    url = "postgresql://u:s3cret@h/db?prepare_threshold=0"
    result = run(*command.split(), PEERMENTOR_DATABASE_URL=url)
    assert (result.returncode, result.stdout) == (1, "")
    assert "PEERMENTOR_DATABASE_URL: libpq has no parameter prepare_threshold" in result.stderr
    assert result.stderr.count("\n") == 1
    assert SECRET not in result.stderr
