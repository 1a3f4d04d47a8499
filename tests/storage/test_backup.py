"""A backup of SQLite: whole or not there, without traces, and only of what holds together."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pysqlite3 import dbapi2 as sqlite

from peermentor_server.cli import sample_data
from peermentor_server.rules.errors import InternalFault
from peermentor_server.storage import backup, backup_times, schema
from peermentor_server.storage.engine.database import Database
from support.disks import SQLITE_FULL, FailingDisk, passing_by
from support.factories import contents


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Database]:
    """A SQLite database with the demo data."""
    database = Database(f"sqlite:///{tmp_path}/own.db")
    schema.migrate(database)
    sample_data.load(database)
    yield database
    database.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty directory."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def test_a_backup_holds_everything(own: Database, place: Path) -> None:
    counts = backup.write(own, place / "backup.db")
    copy = Database(f"sqlite:///{place}/backup.db")
    assert contents(copy) == contents(own)
    assert counts == {table: len(rows) for table, rows in contents(own).items()}
    copy.close()


def test_the_time_of_the_last_whole_backup_is_known(own: Database, place: Path) -> None:
    assert own.file is not None
    assert backup_times.last(own.file) == 0
    (place / "taken.db").touch()
    with pytest.raises(FileExistsError):
        backup.write(own, place / "taken.db")
    assert backup_times.last(own.file) == 0
    backup.write(own, place / "first.db")
    first = backup_times.last(own.file)
    assert first >= own.file.stat().st_mtime
    backup.write(own, place / "second.db")
    assert backup_times.last(own.file) > first


def test_a_backup_waits_for_no_writer_and_holds_nothing_unfinished(
    own: Database, place: Path
) -> None:
    with own.write() as connection:
        connection.exec_driver_sql("DELETE FROM idempotency_keys")
        connection.exec_driver_sql("DELETE FROM contacts")
        assert backup.write(own, place / "backup.db")["contacts"] == 46


def test_a_backup_holds_no_trace_of_what_was_deleted(own: Database, place: Path) -> None:
    # As by a program that does not overwrite what it deletes.
    other = sqlite.connect(str(own.engine.url.database))
    other.execute("PRAGMA secure_delete=OFF")
    other.execute("INSERT INTO mentees VALUES ('user_999', 'org_03', 'Telltale Name', 1)")
    other.commit()
    other.execute("DELETE FROM mentees WHERE mentee_id = 'user_999'")
    other.commit()
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    assert b"Telltale Name" in Path(str(own.engine.url.database)).read_bytes()
    backup.write(own, place / "backup.db")
    assert b"Telltale Name" not in (place / "backup.db").read_bytes()


def test_a_file_that_appears_meanwhile_is_kept(
    own: Database, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place / "backup.db"
    check = backup._check

    def check_and_appear(part: Path) -> dict[str, int]:
        file.write_text("dear")
        return check(part)

    monkeypatch.setattr(backup, "_check", check_and_appear)
    with pytest.raises(FileExistsError):
        backup.write(own, file)
    assert file.read_text() == "dear"
    assert list(place.iterdir()) == [file]


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO contacts VALUES (999, 999, '', '', '')",
        "PRAGMA ignore_check_constraints=ON; UPDATE assignments SET status = 'lost'",
    ],
)
def test_a_database_that_does_not_hold_together_is_refused(
    own: Database, place: Path, damage: str
) -> None:
    other = sqlite.connect(str(own.engine.url.database), isolation_level=None)
    other.executescript(damage)
    other.close()
    own.close()
    with pytest.raises(backup.InvalidCopy):
        backup.write(own, place / "backup.db")
    assert list(place.iterdir()) == []


def test_a_damaged_page_is_noticed(own: Database, place: Path) -> None:
    own.close()
    file = Path(str(own.engine.url.database))
    content = bytearray(file.read_bytes())
    # Past the first pages, where a damage is noticed at once.
    content[12 * 4096 :] = bytes(len(content) - 12 * 4096)
    file.write_bytes(content)
    with pytest.raises((backup.InvalidCopy, InternalFault)):
        backup.write(own, place / "backup.db")
    assert list(place.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(own: Database, place: Path) -> None:
    disk = FailingDisk(write_code=SQLITE_FULL)
    disk.fails = True
    with passing_by(disk, place), pytest.raises(backup.NoRoom):
        backup.write(own, place / "backup.db")
    assert list(place.iterdir()) == []


def test_a_backup_is_synced_before_it_has_its_name(
    own: Database, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place / "backup.db"
    order: list[tuple[str, bool]] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        kind = "directory" if os.path.isdir(descriptor) else "file"  # noqa: PTH112
        order.append((kind, file.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    backup.write(own, file)
    assert order == [("file", False), ("directory", True)]
