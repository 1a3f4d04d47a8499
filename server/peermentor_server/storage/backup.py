"""A copy of a SQLite database, made while others write to it."""

from contextlib import closing
from pathlib import Path

from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import text

from peermentor_server.rules.errors import DatabaseUnavailable
from peermentor_server.storage import backup_times
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.engine.driver_errors import unusable
from peermentor_server.storage.whole_files import whole_file


class InvalidCopy(Exception):
    """The copy does not hold together: the database itself is damaged."""


class NoRoom(Exception):
    """The copy does not fit where it is to be."""


class NothingToCopy(Exception):
    """There is no such database, or it has no tables."""


def write(database: Database, file: Path) -> dict[str, int]:
    """Copy a SQLite database into a new file; return the number of rows of each table.

    The copy holds what was committed when it began, and nothing of what was deleted by then.
    The file appears under its name when it is whole, checked and safe on the disk. Raises
    FileExistsError, or OSError where it cannot be written.
    """
    if problem := database.obstacle():
        raise unusable(problem)
    if database.file is None or not database.file.exists():
        # To connect would make one.
        raise NothingToCopy
    with whole_file(file) as part:
        _copy(database, part)
        counts = _check(part)
    backup_times.note(database.file)
    return counts


def _copy(database: Database, part: Path) -> None:
    # One statement reads one state, however long it takes and whoever writes meanwhile. A copy
    # by pages would begin anew with each write, and take along what deleted rows left behind.
    try:
        with database.read() as connection:
            connection.execute(text("VACUUM INTO :file"), {"file": str(part)})
    except DatabaseUnavailable as error:
        # The database itself is only read.
        if "SQLITE_FULL" in str(error.__cause__):
            raise NoRoom from None
        raise


def _check(part: Path) -> dict[str, int]:
    # Not opened for reading alone: SQLite would then leave out the CHECK constraints.
    with closing(sqlite.connect(str(part))) as connection:
        if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise InvalidCopy
        if connection.execute("PRAGMA foreign_key_check").fetchall():
            raise InvalidCopy
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
            "AND name <> 'alembic_version' ORDER BY name"
        ).fetchall()
        if not tables:
            raise NothingToCopy
        return {
            table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608
            for (table,) in tables
        }
