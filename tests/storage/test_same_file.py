"""Files of SQLite's that are replaced, removed or cut off under a running service.

Nothing more is read or written then, and a ping says why.
"""

import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from peermentor_server.file_identity import FileIdentity
from peermentor_server.rules.errors import DatabaseUnavailable, InternalFault, diagnosis
from peermentor_server.storage import assignments
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.engine.sqlite_file import OwnFile
from peermentor_server.storage.tables import mentees
from support.databases import migrated


def _remove(file: Path) -> None:
    file.unlink()


def _replace(file: Path) -> None:
    backup = Path(shutil.copy(file, file.with_name("backup.db")))
    backup.rename(file)


@pytest.mark.parametrize("change", [_remove, _replace])
def test_a_file_that_is_another_one_is_left_alone(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    file = tmp_path / "own.db"
    with migrated(f"sqlite:///{file}") as database:
        database.ping()
        change(file)
        before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("own.db")}
        for use in (database.ping, lambda: _write(database)):
            with pytest.raises(DatabaseUnavailable) as raised:
                use()
            assert diagnosis(raised.value).startswith(f"{file} was replaced or removed; put it ")
        assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("own.db")} == before


def test_a_file_that_is_put_back_is_used_again(tmp_path: Path) -> None:
    file = tmp_path / "own.db"
    with migrated(f"sqlite:///{file}") as database:
        file.rename(tmp_path / "aside")
        with pytest.raises(DatabaseUnavailable):
            database.ping()
        (tmp_path / "aside").rename(file)
        _write(database)


def test_of_an_expected_file_another_one_takes_no_place(tmp_path: Path) -> None:
    file = tmp_path / "own.db"
    url = f"sqlite:///{file}"
    with migrated(url):
        identity = FileIdentity.of(file)
    for change in (_replace, _remove):
        change(file)
        with pytest.raises(DatabaseUnavailable):
            _write(Database(url, file_identity=identity))
    assert [path.name for path in tmp_path.iterdir()] == ["own.db.lock"]


# --- A log that a killed process left, and the file that it finds there by then ---


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Path]:
    """A file whose latest writes are in its log alone, in a directory of its own."""
    (tmp_path / "left").mkdir()
    file = tmp_path / "left" / "own.db"
    with migrated(f"sqlite:///{file}") as database:
        _write(database)
        database.ping()
        yield file


def _mentees(file: Path) -> list[str]:
    with migrated(f"sqlite:///{file}") as database, database.read() as connection:
        return list(connection.execute(select(mentees.c.mentee_id)).scalars())


def test_a_log_is_written_to_no_other_file(left: Path) -> None:
    for change in (_replace, _remove):
        change(left)
        with pytest.raises(DatabaseUnavailable) as raised:
            _write(Database(f"sqlite:///{left}"))
        assert diagnosis(raised.value) == (
            f"{left}-wal belongs to another file, which was own.db before; put that back, or "
            "remove own.db-wal and own.db-shm, which hold its latest writes"
        )
    assert not left.exists()


def test_a_log_is_read_with_its_own_file_wherever_both_are_copied(
    left: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(left.parent, tmp_path / "copy")) / left.name
    assert _mentees(copy) == ["user_088"]


def test_a_backup_takes_the_place_of_a_file_whose_log_is_removed(left: Path) -> None:
    _replace(left)
    for suffix in ("-wal", "-shm"):
        left.with_name(left.name + suffix).unlink()
    with migrated(f"sqlite:///{left}") as database:
        _write(database)
    # From here on it is this one's log.
    with migrated(f"sqlite:///{left}") as database:
        _write(database)
        database.ping()


# --- The log and its index, and what is left of the file ---


def _besides(suffix: str, change: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda file: change(file.with_name(file.name + suffix))


def _cut(size: Callable[[Path], int]) -> Callable[[Path], object]:
    return lambda file: os.truncate(file, size(file))


def _half(file: Path) -> int:
    return file.stat().st_size // 2


def _overwrite(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"\xff" * file.stat().st_size)


REPLACED = "was replaced or removed; start the service again"
CUT = "; start the service again, or restore a backup"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_besides("-wal", _remove), f"-wal {REPLACED}"),
        (_besides("-wal", _replace), f"-wal {REPLACED}"),
        (_besides("-shm", _remove), f"-shm {REPLACED}"),
        (_besides("-shm", _replace), f"-shm {REPLACED}"),
        (_besides("-wal", _cut(lambda _: 0)), f"-wal was truncated or overwritten{CUT}"),
        (_besides("-wal", _cut(_half)), f"-wal was truncated or overwritten{CUT}"),
        (_besides("-wal", _overwrite), f"-wal was truncated or overwritten{CUT}"),
        (_cut(lambda _: 0), f" was truncated{CUT}"),
        (_cut(_half), f" was truncated{CUT}"),
    ],
)
def test_a_file_that_is_no_longer_whole_is_left_alone(
    change: Callable[[Path], object], says: str, tmp_path: Path
) -> None:
    file = tmp_path / "own.db"
    with migrated(f"sqlite:///{file}") as database:
        # What is in the file, and what is in the log alone.
        with database.erase() as connection:
            assignments.name_mentee(connection, "org_03", "user_087", "")
        _write(database)
        database.ping()
        change(file)
        for use in (database.ping, lambda: _write(database), database.ping):
            with pytest.raises(DatabaseUnavailable) as raised:
                use()
            assert diagnosis(raised.value) == f"{file}{says}"


def test_a_database_that_is_written_and_checked_all_the_time_is_whole(tmp_path: Path) -> None:
    """The control of the test above: whatever SQLite does itself, the files are whole."""
    url = f"sqlite:///{tmp_path}/own.db"
    with migrated(url) as database:
        own, stop = Database(url), threading.Event()

        def write() -> None:
            for number in itertools.count():
                if stop.is_set():
                    return
                with (own.erase if number % 3 else own.write)() as connection:
                    for each in range(number % 40):
                        assignments.name_mentee(connection, "org_03", f"user_{each}", "x" * number)
                if number % 10 == 0:
                    with own.read() as connection:
                        connection.exec_driver_sql("VACUUM")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(300):
                database.ping()
        finally:
            stop.set()
            writer.join()
            own.close()


def test_a_log_that_is_begun_anew_while_it_is_looked_at_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it is by then: here it has no page, before and afterwards."""
    with migrated(f"sqlite:///{tmp_path}/own.db") as database:
        own = Database(f"sqlite:///{tmp_path}/own.db")

        def begin_anew(name: str) -> None:
            with own.erase() as connection:
                assignments.name_mentee(connection, "org_03", name, "")

        def look_too_late(*_arguments: object) -> str:
            begin_anew("user_2")
            return "not what it was"

        begin_anew("user_1")
        monkeypatch.setattr(OwnFile, "_damage", look_too_late)
        database.ping()
        own.close()


def test_what_is_found_to_be_damaged_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "own.db"
    with migrated(f"sqlite:///{file}"):
        pass
    database = Database(f"sqlite:///{file}")
    database.ping()
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * (file.stat().st_size - 4096))
    with pytest.raises(InternalFault):
        _write(database)
    with pytest.raises(DatabaseUnavailable) as raised:
        database.ping()
    assert diagnosis(raised.value) == f"{file} is damaged (SQLITE_CORRUPT); restore a backup"
    database.close()


def test_the_files_of_one_who_has_closed_may_change(tmp_path: Path) -> None:
    with migrated(f"sqlite:///{tmp_path}/own.db") as database:
        for _ in range(3):
            _write(database)
            database.close()
            assert not (tmp_path / "own.db-wal").exists()


def _write(database: Database) -> None:
    with database.write() as connection:
        assignments.name_mentee(connection, "org_03", "user_088", "")
