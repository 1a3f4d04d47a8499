"""The command line, run as its users run it."""

import json
import os
import sqlite3
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from sqlalchemy import text

import peermentor
from peermentor_server.cli import commands, doctor, sample_data
from peermentor_server.settings import Settings
from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.supervise import gateway
from support import migrations
from support.commands import PROGRAM, run
from support.databases import Postgres, migrated, url_of
from support.issuers import AUDIENCE, ISSUER, SigningKey, key_set
from support.poolers import running_pooler
from support.ports import free_ports
from support.serving import settings_for

UNREACHABLE = "postgresql://user:secret@127.0.0.1:1/name"


def test_help_lists_every_command() -> None:
    result = run("--help")
    assert result.returncode == 0
    for command in (
        "serve",
        "check",
        "config",
        "ready",
        "migrate",
        "demo",
        "import-mentees",
        "backup",
        "export",
        "import",
    ):
        assert f"\n    {command}" in result.stdout


def test_version() -> None:
    assert run("--version").stdout == f"peermentor-server {peermentor.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["work"], ["serve", "worker"]])
def test_what_serve_alone_runs_is_not_offered(arguments: list[str]) -> None:
    result = run(*arguments)
    offered = (result.stdout + result.stderr).replace("'work'", "").replace("arguments: worker", "")
    assert "worker" not in offered.replace("--workers", "")


def test_a_command_is_needed() -> None:
    result = run()
    assert result.returncode == 2
    assert "COMMAND" in result.stderr


def test_a_bad_setting_refuses_to_start() -> None:
    for command in ("serve", "check", "migrate"):
        result = run(command, PEERMENTOR_REST_ADDRESS="nowhere", PEERMENTOR_LOG_FORMAT="console")
        assert result.returncode == 1
        assert result.stderr.startswith("peermentor-server: PEERMENTOR_REST_ADDRESS: must be")


def test_a_refusal_is_a_line_of_the_log_where_that_is_json() -> None:
    result = run("check", PEERMENTOR_WORKERS="0", PEERMENTOR_X=" ", PEERMENTOR_LOG_FORMAT="JSON")
    assert result.returncode == 1
    (line,) = [json.loads(line) for line in result.stderr.splitlines()]
    assert line["event"] == "PEERMENTOR_WORKERS: must be a whole number from 1 to 64"
    assert line["level"] == "error"


def test_a_misspelt_setting_is_named() -> None:
    result = run("migrate", PEERMENTOR_LOG_LEVLE="debug", PEERMENTOR_DATABASE_URL="nothing")
    assert "DATABASE_URL: must begin" in result.stderr
    result = run("demo", PEERMENTOR_LOG_LEVLE="debug", PEERMENTOR_DATABASE_URL=UNREACHABLE)
    assert "there is no setting PEERMENTOR_LOG_LEVLE; ignored" in result.stderr


def test_a_password_with_an_at_sign_is_not_shown() -> None:
    url = "postgresql://user:sec@ret@127.0.0.1:1/name"
    result = run("migrate", PEERMENTOR_DATABASE_URL=url)
    assert result.stderr.startswith(
        "peermentor-server: PEERMENTOR_DATABASE_URL: is not a database URL, "
    )
    assert "sec" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_migrate_brings_a_database_up_to_date(empty_url: str) -> None:
    for _ in range(2):
        result = run("migrate", PEERMENTOR_DATABASE_URL=empty_url)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.endswith("is up to date\n")
    database = Database(empty_url)
    assert schema.state(database) is schema.State.CURRENT
    database.close()


def test_what_is_created_is_its_owners_alone(tmp_path: Path) -> None:
    run("migrate", PEERMENTOR_DATABASE_URL=f"sqlite:///{tmp_path}/own.db")
    assert (tmp_path / "own.db").stat().st_mode & 0o777 == 0o600


def test_demo_loads_into_an_empty_database_only(own: Database) -> None:
    loaded = run("demo", PEERMENTOR_DATABASE_URL=url_of(own))
    assert (loaded.returncode, loaded.stderr) == (0, "")
    assert loaded.stdout.startswith("loaded 47 assignments and 8 templates into ")
    again = run("demo", PEERMENTOR_DATABASE_URL=url_of(own))
    assert again.returncode == 1
    assert "loads only into an empty database" in again.stderr


def test_import_mentees_loads_names(tmp_path: Path) -> None:
    file = tmp_path / "mentees.csv"
    file.write_text(
        "org_id,mentee_id,mentee_name\norg_03,user_088,Bjørn Solberg\n", encoding="utf-8"
    )
    url = f"sqlite:///{tmp_path}/own.db"
    result = run("import-mentees", str(file), PEERMENTOR_DATABASE_URL=url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"imported 1 names into {url}, a new database\n"
    with sqlite3.connect(tmp_path / "own.db") as connection:
        rows = connection.execute("SELECT * FROM mentees").fetchall()
    connection.close()
    assert rows == [("user_088", "org_03", "Bjørn Solberg", 1)]


def test_import_mentees_loads_nothing_from_a_file_with_a_wrong_line(tmp_path: Path) -> None:
    file = tmp_path / "mentees.csv"
    file.write_text("mentee_id,mentee_name\nuser_088,Bjørn Solberg\nuser 089,Ann\n")
    result = run(
        *("import-mentees", "--org", "org_03", str(file)),
        PEERMENTOR_DATABASE_URL=f"sqlite:///{tmp_path}/own.db",
    )
    assert result.returncode == 1
    assert "nothing imported\nline 3: mentee_id: must be ASCII" in result.stderr
    assert "Ann" not in result.stderr


def test_backup_tells_what_it_copied_and_no_names(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/own.db", tmp_path / "backup.db"
    with migrated(url) as database:
        sample_data.load(database)
    result = run("backup", str(file), PEERMENTOR_DATABASE_URL=url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        f"backed up {url} to {file}, and checked it: "
        "0 access_keys, 47 assignments, 46 contacts, 0 idempotency_keys, 48 mentees, 8 templates\n"
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert {each.name for each in tmp_path.glob("*backup*")} == {"backup.db"}


def test_backup_replaces_no_file(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/own.db", tmp_path / "backup.db"
    with migrated(url):
        file.write_text("dear")
    result = run("backup", str(file), PEERMENTOR_DATABASE_URL=url)
    assert result.returncode == 1
    assert result.stderr == f"peermentor-server: {file} exists already; name a new file\n"
    assert file.read_text() == "dear"


def test_backup_of_an_older_schema_leaves_it_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with migrated(f"sqlite:///{tmp_path}/own.db") as database:
        migrations.add(monkeypatch, tmp_path, "CREATE TABLE later (id INTEGER)")
        commands.back_up(Settings(database_url=database.location), tmp_path / "backup.db")
        assert (tmp_path / "backup.db").exists()
        assert schema.state(database) is schema.State.BEHIND


def test_backup_of_no_database_makes_none(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    result = run("backup", str(tmp_path / "backup.db"), PEERMENTOR_DATABASE_URL=url)
    assert result.returncode == 1
    assert result.stderr == f"peermentor-server: {url} holds nothing to back up\n"
    (tmp_path / "own.db").touch()
    assert run("backup", str(tmp_path / "backup.db"), PEERMENTOR_DATABASE_URL=url).returncode == 1
    assert not (tmp_path / "backup.db").exists()


def test_backup_into_a_directory_that_is_not_there_says_so(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/own.db", tmp_path / "nowhere" / "backup.db"
    with migrated(url):
        result = run("backup", str(file), PEERMENTOR_DATABASE_URL=url)
    assert result.returncode == 1
    assert result.stderr == f"peermentor-server: cannot write {file}: No such file or directory\n"


def test_backup_of_postgresql_is_left_to_its_own_tools(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    result = run("backup", str(file), PEERMENTOR_DATABASE_URL=UNREACHABLE)
    assert result.returncode == 1
    assert f"pg_dump --format=custom --file={file}" in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_postgresql_with_an_older_schema_is_left_to_migrate(
    command: str, postgres: Postgres
) -> None:
    result = run(command, **settings_for(postgres.new_database(), free_ports(3)))
    assert result.returncode == 1
    assert "is out of date; run: peermentor-server migrate" in result.stderr


@pytest.mark.parametrize("command", ["migrate", "demo", "serve --no-gateway"])
def test_a_schema_of_a_newer_program_is_left_alone(command: str, own: Database) -> None:
    with own.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    result = run(*command.split(), PEERMENTOR_DATABASE_URL=url_of(own))
    assert result.returncode == 1
    assert "is newer than this program" in result.stderr


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("These are my notes, and no database. " * 100)
    result = run("migrate", PEERMENTOR_DATABASE_URL=f"sqlite:///{tmp_path}/notes.txt")
    assert result.returncode == 1
    assert "cannot use sqlite:///" in result.stderr
    assert "SQLITE_NOTADB" in result.stderr


@pytest.mark.parametrize("command", ["migrate", "demo", "serve --no-gateway"])
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:////no/such/directory/own.db", "there is no directory /no/such/directory"),
        (UNREACHABLE, "refused"),
    ],
)
def test_a_database_out_of_reach_is_named_without_its_password(
    command: str, url: str, says: str
) -> None:
    result = run(*command.split(), PEERMENTOR_DATABASE_URL=url)
    assert result.returncode == 1
    assert "PEERMENTOR_DATABASE_URL: cannot use" in result.stderr
    assert says in result.stderr
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr


# --- check ---


def test_check_finds_everything_well(own: Database) -> None:
    result = run("check", PEERMENTOR_DATABASE_URL=url_of(own))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == ["ok     settings", "ok     database", "ok     gateway"]


def test_check_tells_programs_the_same(own: Database, tmp_path: Path) -> None:
    well = {"ok": True, "problems": [], "note": None}
    result = run("check", "--json", PEERMENTOR_DATABASE_URL=url_of(own))
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "ok": True,
        "parts": {"settings": well, "database": well, "gateway": well},
    }
    url = f"sqlite:///{tmp_path}/new.db"
    result = run("check", "--json", PEERMENTOR_DATABASE_URL=url)
    note = f"{url} does not exist yet; serve will create it"
    assert json.loads(result.stdout)["parts"]["database"] == well | {"note": note}


def test_check_tells_programs_what_is_wrong(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/none/own.db"
    result = run("check", "--json", PEERMENTOR_DATABASE_URL=url)
    assert (result.returncode, result.stderr) == (1, "")
    found = json.loads(result.stdout)
    problem = f"there is no directory {tmp_path}/none"
    assert (found["ok"], found["parts"]["settings"]["ok"]) == (False, True)
    assert found["parts"]["database"] == {"ok": False, "problems": [problem], "note": None}


def test_check_tells_programs_what_is_wrong_with_settings() -> None:
    result = run("check", "--json", PEERMENTOR_WORKERS="0", PEERMENTOR_DATABASE_URL="nothing")
    assert (result.returncode, result.stderr) == (1, "")
    found = json.loads(result.stdout)
    assert not found["ok"]
    assert list(found["parts"]) == ["settings"]
    problems = found["parts"]["settings"]["problems"]
    assert [problem.split(":")[0] for problem in problems] == [
        "PEERMENTOR_DATABASE_URL",
        "PEERMENTOR_WORKERS",
    ]


def test_check_reads_the_keys_of_tokens(own: Database, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    given = {
        "PEERMENTOR_DATABASE_URL": url_of(own),
        "PEERMENTOR_ACCESS": "required",
        "PEERMENTOR_JWT_ISSUER": ISSUER,
        "PEERMENTOR_JWT_AUDIENCE": AUDIENCE,
        "PEERMENTOR_JWT_KEYS": str(file),
    }
    missing = run("check", **given)
    assert missing.returncode == 1
    assert f"wrong  tokens: cannot read {file}: [Errno 2] No such file" in missing.stderr
    file.write_text(key_set(SigningKey("ec", "ES256"), SigningKey("more", "EdDSA")))
    well = run("check", **given)
    assert (well.returncode, well.stdout.splitlines()[3:]) == (
        0,
        ["ok     tokens: known keys: 2"],
    )


def test_check_recognises_a_pooler(postgresql: Database) -> None:
    with running_pooler(url_of(postgresql), pool_mode="transaction") as url:
        result = run("check", PEERMENTOR_DATABASE_URL=url)
    assert result.returncode == 0
    assert "ok     database: behind a pooler, whose pool_mode must be" in result.stdout


def test_check_knows_whether_a_newer_schema_is_for_this_program_too(own: Database) -> None:
    def found(revision: str) -> "CompletedProcess[str]":
        with own.write() as connection:
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
        return run("check", PEERMENTOR_DATABASE_URL=url_of(own))

    well = found("0002_for_0001")
    assert (well.returncode, well.stderr) == (0, "")
    assert "ok     database: its schema is newer than this program, and" in well.stdout
    assert "is newer than this program, or older than" in found("0003_for_0002").stderr


def test_check_makes_no_file(tmp_path: Path) -> None:
    result = run("check", PEERMENTOR_DATABASE_URL=f"sqlite:///{tmp_path}/new.db")
    assert result.returncode == 0
    assert "new.db does not exist yet; serve will create it" in result.stdout
    assert list(tmp_path.iterdir()) == []
    empty = tmp_path / "empty.db"
    empty.touch()
    result = run("check", PEERMENTOR_DATABASE_URL=f"sqlite:///{empty}")
    assert result.returncode == 0
    assert "empty.db is empty; serve will create its tables" in result.stdout
    assert empty.stat().st_size == 0


def test_check_finds_damage(tmp_path: Path) -> None:
    file = tmp_path / "own.db"
    url = f"sqlite:///{file}"
    with migrated(url) as database:
        sample_data.load(database)
    with file.open("r+b") as damaged:
        for page in range(2, file.stat().st_size // 4096):
            damaged.seek(page * 4096 + 8)
            damaged.write(b"\xff" * 600)
    result = run("check", PEERMENTOR_DATABASE_URL=url)
    assert result.returncode == 1
    assert "wrong  database: " in result.stderr


def test_check_says_what_is_wrong_with_a_database(postgres: Postgres, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_text("no database at all")
    for url, complaint in {
        UNREACHABLE: "cannot use postgresql://user:***@127.0.0.1:1/name",
        f"sqlite:///{tmp_path}/none/own.db": f"there is no directory {tmp_path}/none",
        f"sqlite:///{damaged}": "SQLITE_NOTADB",
        postgres.new_database(): "is out of date; run: peermentor-server migrate",
    }.items():
        result = run("check", PEERMENTOR_DATABASE_URL=url)
        assert result.returncode == 1
        assert result.stderr.startswith("peermentor-server: not everything is well\n")
        assert "wrong  database: " in result.stderr
        assert complaint in result.stderr
        assert "secret" not in result.stderr
        assert "ok     gateway" in result.stderr


def test_check_says_what_is_wrong_with_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No setting makes the gateway refuse its file; one that has been changed by hand may."""
    monkeypatch.setattr(gateway, "configuration", lambda *_: {"admin": "by hand"})
    found = doctor.check(Settings(database_url=f"sqlite:///{tmp_path}/new.db"), {})
    assert not doctor.is_well(found)
    assert "wrong  gateway: Envoy refuses its configuration: " in doctor.as_text(found)


def test_check_names_a_bad_setting() -> None:
    result = run("check", PEERMENTOR_WORKERS="0")
    assert result.returncode == 1
    assert "PEERMENTOR_WORKERS: must be a whole number from 1 to 64" in result.stderr


# --- A working directory that is gone ---


def _run_where_nothing_is(directory: Path, *arguments: str, url: str) -> "CompletedProcess[str]":
    directory.mkdir()
    return subprocess.run(
        ["sh", "-c", 'rmdir "$PWD" && exec "$0" "$@"', PROGRAM, *arguments],
        cwd=directory,
        env=os.environ | {"PEERMENTOR_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["serve", "check", "migrate", "backup /tmp/never-made.db"])
def test_a_relative_name_is_refused_there(command: str, tmp_path: Path) -> None:
    result = _run_where_nothing_is(tmp_path / "gone", *command.split(), url="sqlite:///own.db")
    assert result.returncode == 1
    assert (
        "PEERMENTOR_DATABASE_URL: own.db is in the working directory, which is gone; name its "
        "whole path" in result.stderr
    )
    assert result.stderr.count("\n") == 1


def test_a_relative_argument_is_refused_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    result = _run_where_nothing_is(tmp_path / "gone", "backup", "copy.db", url=url)
    assert result.returncode == 2
    assert result.stderr.endswith("argument FILE: the working directory is gone\n")


def test_whole_paths_work_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    for number, command in enumerate(("migrate", "check", f"backup {tmp_path}/copy.db")):
        gone = tmp_path / f"gone-{number}"
        result = _run_where_nothing_is(gone, *command.split(), url=url)
        assert (result.returncode, result.stderr) == (0, "")
