"""A SQLite file that is replaced or removed under a running service: nothing more is written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from peermentor_server.rules.errors import DatabaseUnavailable, reason
from peermentor_server.storage import assignments
from peermentor_server.storage.database import Database
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
            assert (
                reason(raised.value) == f"{file} was replaced or removed; start the service again"
            )
        assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("own.db")} == before


def test_a_file_that_is_put_back_is_used_again(tmp_path: Path) -> None:
    file = tmp_path / "own.db"
    with migrated(f"sqlite:///{file}") as database:
        file.rename(tmp_path / "aside")
        with pytest.raises(DatabaseUnavailable):
            database.ping()
        (tmp_path / "aside").rename(file)
        _write(database)


def _write(database: Database) -> None:
    with database.write() as connection:
        assignments.name_mentee(connection, "user_088", "")
