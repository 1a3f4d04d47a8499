"""Imports of names, and names that are taken out again, as operators do both."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select

from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import assignments, names, tables
from peermentor_server.storage.engine.database import Database
from support.clock import CONTRACT_DAY
from support.commands import PROGRAM, run, run_on_terminal
from support.databases import url_of
from support.factories import contents
from support.torture import either

HEADER = "mentee_id,mentee_name\n"
on_sqlite = pytest.mark.parametrize("kind", ["sqlite"], indirect=True, scope="session")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a file of names may be written."""
    return tmp_path / "mentees.csv"


def write_names(file: Path, count: int) -> None:
    """Write names for ids that are in no order."""
    ids = (f"user_{number * 7919 % 1_000_003:07}" for number in range(count))
    file.write_text(HEADER + "".join(f"{each},Bjørn {each}\n" for each in ids), encoding="utf-8")


def start_import(
    *arguments: str, database: str, temporary: Path | None = None, **options: object
) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PEERMENTOR_DATABASE_URL": database}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [PROGRAM, "import-mentees", "--org", "org_03", *arguments], env=environment, **options
    )


def stored(database: Database) -> dict[str, str]:
    with database.read() as connection:
        rows = connection.execute(select(tables.mentees)).all()
    return {row.mentee_id: row.mentee_name for row in rows}


def store(database: Database, told: Sequence[tuple[int, str, str, str]]) -> None:
    with names.spooled(database) as spool:
        spool.add(told)
        spool.store(lambda _done: None)


# --- What is stored ---


def test_names_are_stored_known_before_or_not(own: Database, file: Path) -> None:
    store(
        own,
        [
            (1, "org_03", "user_1", "Ann"),
            (2, "org_03", "user_2", "Bob"),
            (3, "org_03", "user_3", "Cid"),
        ],
    )
    file.write_text(HEADER + "user_4,Dag\nuser_2,Bo\nuser_1,Ann\n", encoding="utf-8")

    result = run(
        "import-mentees", "--org", "org_03", str(file), PEERMENTOR_DATABASE_URL=url_of(own)
    )

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("imported 3 names into ")
    assert stored(own) == {"user_1": "Ann", "user_2": "Bo", "user_3": "Cid", "user_4": "Dag"}
    with own.read() as connection:
        renamed = select(tables.mentees.c.mentee_id).where(tables.mentees.c.name_version > 1)
        assert connection.execute(renamed).scalars().all() == ["user_2"]


def test_many_names_are_stored(own: Database, file: Path) -> None:
    write_names(file, 5_000)
    process = start_import(str(file), database=url_of(own), stdout=subprocess.PIPE)
    assert process.communicate(timeout=60)[0].startswith(b"imported 5000 names into ")
    assert len(stored(own)) == 5_000


def test_an_import_that_fails_at_the_end_has_stored_nothing(own: Database) -> None:
    def fail_at_the_end() -> None:
        with names.spooled(own) as spool:
            spool.add([(1, "org_03", "user_1", "Ann")])
            spool.store(lambda _done: None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_at_the_end()
    assert stored(own) == {}
    store(own, [(1, "org_03", "user_2", "Bob")])
    assert stored(own) == {"user_2": "Bob"}


@on_sqlite
def test_a_killed_import_has_stored_all_or_nothing_and_leaves_no_file(
    own: Database, file: Path, tmp_path: Path
) -> None:
    count = 30_000
    write_names(file, count)
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def import_for(seconds: float) -> int:
        process = start_import(
            str(file), database=url_of(own), temporary=temporary, stdout=subprocess.DEVNULL
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        return process.wait()

    started = time.monotonic()
    assert import_for(60) == 0
    whole = time.monotonic() - started
    tries = int(either(6, 100))
    for number in range(tries):
        with own.write() as connection:
            connection.execute(tables.mentees.delete())
        import_for(whole * (number + 0.5) / tries)
        with own.read() as connection:
            found = connection.execute(select(func.count()).select_from(tables.mentees))
            assert found.scalar_one() in {0, count}
        # Python itself tries the directory with a file of a few letters.
        assert [each.name for each in temporary.iterdir() if each.stat().st_size > 64] == []


# --- Whom it disturbs ---


def test_until_the_end_nobody_waits_for_an_import(own: Database) -> None:
    other = Database(url_of(own))
    with names.spooled(own) as spool:
        for batch in range(10):
            spool.add([(batch * 100 + n, "org_03", f"user_{batch}_{n}", "Ann") for n in range(100)])
            with other.write() as connection:
                assignments.name_mentee(connection, "org_03", f"user_{batch}_0", "Bob")
        assert stored(other) == {f"user_{batch}_0": "Bob" for batch in range(10)}
        spool.store(lambda _done: None)
    assert len(stored(other)) == 1000
    assert set(stored(other).values()) == {"Ann"}
    other.close()


def test_an_import_may_take_longer_than_a_call(postgresql: Database) -> None:
    store(postgresql, [(1, "org_03", "user_1", "Ann")])
    hasty = Database(f"{url_of(postgresql)}&options=-c%20statement_timeout%3D1s")
    with ThreadPoolExecutor(1) as pool:
        with postgresql.write() as connection:
            assignments.name_mentee(connection, "org_03", "user_1", "Bob")
            importing = pool.submit(store, hasty, [(1, "org_03", "user_1", "Cid")])
            time.sleep(2)
        importing.result(60)
    assert stored(postgresql) == {"user_1": "Cid"}
    hasty.close()


@on_sqlite
def test_an_import_holds_a_part_of_the_names_in_memory(own: Database, file: Path) -> None:
    def peak_mib(count: int) -> float:
        write_names(file, count)
        process = start_import(str(file), database=url_of(own), stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss / 1024

    # Two caches of 32 MiB. Held whole, 200,000 names took 130 MiB.
    assert peak_mib(int(either(200_000, 1_000_000))) < peak_mib(1) + 90


# --- The command ---


def test_a_dash_reads_standard_input(own: Database) -> None:
    process = start_import("-", database=url_of(own), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    told = process.communicate("mentee_id;mentee_name\nuser_1;Åse\n".encode("utf-16"), 60)
    assert (process.returncode, told[1]) == (0, b"")
    assert stored(own) == {"user_1": "Åse"}


@on_sqlite
def test_a_pipe_is_a_file_too(own: Database) -> None:
    process = start_import("/dev/stdin", database=url_of(own), stdin=subprocess.PIPE)
    process.communicate((HEADER + "user_1,Ann\n").encode(), 60)
    assert stored(own) == {"user_1": "Ann"}


def test_a_dry_run_checks_the_file_and_touches_no_database(file: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    file.write_text(HEADER + "user_1,Ann\nuser_2,Bob\n")
    result = run(
        "import-mentees", "--org", "org_03", "--dry-run", str(file), PEERMENTOR_DATABASE_URL=url
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "dry run, nothing imported; 2 names could be\n"

    file.write_text(HEADER + "user_1,Ann\nuser_1,Bob\n")
    result = run(
        "import-mentees", "--org", "org_03", str(file), "--dry-run", PEERMENTOR_DATABASE_URL=url
    )
    assert result.returncode == 1
    assert result.stderr.endswith(
        "nothing imported\nline 3: mentee_id: is on an earlier line too\n"
    )
    assert list(tmp_path.iterdir()) == [file]


def test_an_encoding_may_be_named(file: Path, tmp_path: Path) -> None:
    file.write_bytes((HEADER + "user_1,Åse\n").encode("cp1252"))
    url = f"sqlite:///{tmp_path}/own.db"
    result = run("import-mentees", "--org", "org_03", str(file), PEERMENTOR_DATABASE_URL=url)
    assert "or name its encoding by --encoding" in result.stderr
    result = run(
        "import-mentees",
        "--org",
        "org_03",
        "--encoding=cp1252",
        str(file),
        PEERMENTOR_DATABASE_URL=url,
    )
    assert result.returncode == 0
    database = Database(url)
    assert stored(database) == {"user_1": "Åse"}
    database.close()


def test_a_terminal_shows_how_far_it_is(file: Path, tmp_path: Path) -> None:
    write_names(file, 10_000)
    url = f"sqlite:///{tmp_path}/own.db"
    command = ["import-mentees", "--org", "org_03", str(file)]
    result = run_on_terminal(*command, PEERMENTOR_DATABASE_URL=url)
    assert result.stdout.startswith(b"imported 10000 names into ")
    bars = result.stderr.decode().split("\r")
    assert "reading  [##############################] 100%\033[K" in bars
    assert len(bars) > 4
    assert bars[-1] == "\033[K"


def test_a_full_temporary_directory_is_told(file: Path, tmp_path: Path) -> None:
    def allow_small_files_alone() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    write_names(file, 50_000)
    process = start_import(
        "--dry-run",
        str(file),
        database=f"sqlite:///{tmp_path}/own.db",
        stderr=subprocess.PIPE,
        preexec_fn=allow_small_files_alone,
    )
    told = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 1
    assert "cannot write the names to the temporary directory: " in told
    # That of coverage, which cannot write either, is not ours.
    assert "peermentor_server" not in told.partition("Traceback")[2]


# --- forget-mentee ---


def test_a_mentee_without_assignments_is_forgotten(own: Database) -> None:
    store(own, [(1, "org_03", "user_1", "Telltale Name"), (2, "org_03", "user_2", "Bob")])

    result = run("forget-mentee", "user_1", PEERMENTOR_DATABASE_URL=url_of(own))

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("forgot mentee user_1 in ")
    assert stored(own) == {"user_2": "Bob"}
    if own.file is not None:
        files = own.file.parent.glob(f"{own.file.name}*")
        assert not any(b"Telltale" in each.read_bytes() for each in files)


@pytest.mark.parametrize("count", [1, 2])
def test_a_mentee_with_assignments_is_not_forgotten(own: Database, count: int) -> None:
    ids = dict.fromkeys(("mentee_id", "peer_mentor_id", "coordinator_id", "org_id"), "user_1")
    values = {**ids, "start_date": CONTRACT_DAY.date()}
    with own.write() as connection:
        for _ in range(count):
            assignments.add(connection, EVERYWHERE, values, "Ann", CONTRACT_DAY)

    result = run("forget-mentee", "user_1", PEERMENTOR_DATABASE_URL=url_of(own))

    assert result.returncode == 1
    assert result.stderr == (
        f"peermentor-server: nothing forgotten: mentee user_1 has {count} "
        f"assignment{'s' * (count - 1)}; --with-assignments deletes those too\n"
    )
    assert stored(own) == {"user_1": "Ann"}


def test_with_the_assignments_nothing_of_a_mentee_is_left_in_any_organisation(
    own: Database,
) -> None:
    ids = dict.fromkeys(("mentee_id", "peer_mentor_id", "coordinator_id"), "user_1")
    with own.write() as connection:
        for org_id, mentee_id in (("org_1", "user_1"), ("org_2", "user_1"), ("org_2", "user_2")):
            of_row = {"org_id": org_id, "mentee_id": mentee_id, "start_date": CONTRACT_DAY.date()}
            values = ids | of_row
            name = f"Telltale {mentee_id}"
            row = assignments.add(connection, EVERYWHERE, values, name, CONTRACT_DAY)
            contact = assignments.Contact(CONTRACT_DAY, "call")
            assignments.record_contact(connection, EVERYWHERE, row.id, contact, CONTRACT_DAY)

    result = run(
        "forget-mentee", "user_1", "--with-assignments", PEERMENTOR_DATABASE_URL=url_of(own)
    )

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("forgot mentee user_1, with 2 assignments and the contacts in ")
    rows = contents(own)
    assert stored(own) == {"user_2": "Telltale user_2"}
    assert (len(rows["assignments"]), len(rows["contacts"])) == (1, 1)
    if own.file is not None:
        files = own.file.parent.glob(f"{own.file.name}*")
        assert not any(b"Telltale user_1" in each.read_bytes() for each in files)


def test_a_mentee_is_forgotten_in_one_organisation_alone(own: Database) -> None:
    store(own, [(1, "org_1", "user_1", "Ann"), (2, "org_2", "user_1", "Bob")])
    for org_id, returncode in (("org_2", 0), ("org_2", 1), ("org_3", 1)):
        result = run(
            *("forget-mentee", "user_1", "--org", org_id), PEERMENTOR_DATABASE_URL=url_of(own)
        )
        assert result.returncode == returncode
        assert f" mentee user_1 of {org_id} in " in result.stdout + result.stderr
    assert stored(own) == {"user_1": "Ann"}


@pytest.mark.parametrize("mentee_id", ["user_2", "", "Ann Berg", "USER_1", "user_1 ", "%", "ø"])
def test_a_mentee_whom_nobody_knows_is_named(own: Database, mentee_id: str) -> None:
    store(own, [(1, "org_03", "user_1", "Ann")])
    result = run("forget-mentee", mentee_id, PEERMENTOR_DATABASE_URL=url_of(own))
    assert result.returncode == 1
    assert result.stderr.startswith("peermentor-server: there is no mentee ")
    assert f" in {own.dialect}://" in result.stderr
    assert stored(own) == {"user_1": "Ann"}


def test_nothing_is_forgotten_where_no_database_is(tmp_path: Path) -> None:
    file = tmp_path / "typo.db"
    result = run("forget-mentee", "user_1", PEERMENTOR_DATABASE_URL=f"sqlite:///{file}")
    assert result.returncode == 1
    assert result.stderr == f"peermentor-server: sqlite:///{file} holds nothing to forget\n"
    assert not list(tmp_path.iterdir())


def test_an_import_says_that_it_made_the_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'own.db'}"
    names = tmp_path / "names.csv"
    names.write_text("mentee_id,mentee_name\nuser_1,Ann\n")
    told = [
        run("import-mentees", "--org", "org_03", str(names), PEERMENTOR_DATABASE_URL=url).stdout
        for _ in "12"
    ]
    assert told == [f"imported 1 names into {url}{new}\n" for new in (", a new database", "")]
