"""Many names on their way into the database: all of them, or none.

They are checked and sorted in a file apart, and go into the database by one statement at the
end: only for that do other writers of SQLite wait. Memory holds a part of them, however many they
are, and what is killed before the end leaves nothing behind.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from typing import Any

from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    Table,
    Text,
    delete,
    exists,
    insert,
    select,
    text,
)
from sqlalchemy.schema import CreateTable

from peermentor_server.storage import rights, upserts
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import mentees

_COLUMNS = ("mentee_id", "org_id", "mentee_name")
_BATCH = 2_000
_CACHE_KIB = 32_768


def _names(table: str, **options: Any) -> Table:
    columns = (Column(name, Text) for name in _COLUMNS)
    return Table(table, MetaData(), *columns, **options)


# Where the names lie before they are stored: SQLite reads the file itself, and PostgreSQL has a
# table of the transaction's own.
_SPOOLED = _names("lines", schema="spool")
_INCOMING = _names("incoming_names", prefixes=["TEMPORARY"], postgresql_on_commit="DROP")


@contextmanager
def spooled(database: Database | None) -> Iterator["NameSpool"]:
    """Give a spool, and where there is a database commit at the end what it has stored there."""
    with ExitStack() as stack:
        with _writing():
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="peermentor-"))
        with file:
            lines = stack.enter_context(closing(_create(file.name)))
            target = stack.enter_context(database.stage()) if database else None
            if target and target.dialect.name == "sqlite":
                _attach(target, file.name)
        # It has no name any more: nobody else can open it, and it goes with the process.
        yield NameSpool(lines, database, target)


def _create(file: str) -> Any:
    lines = sqlite.connect(file, isolation_level=None)
    # What is broken off is not needed again.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
        lines.execute(f"PRAGMA {pragma}")
    lines.execute(
        "CREATE TABLE lines (mentee_id TEXT, org_id TEXT, line INTEGER, mentee_name TEXT, "
        "PRIMARY KEY (mentee_id, org_id, line)) WITHOUT ROWID"
    )
    return lines


def _attach(target: Connection, file: str) -> None:
    target.exec_driver_sql("ATTACH DATABASE ? AS spool", (file,))
    target.exec_driver_sql("PRAGMA spool.journal_mode=OFF")
    target.exec_driver_sql(f"PRAGMA main.cache_size=-{_CACHE_KIB}")


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite.OperationalError) as error:
        raise NoRoom(str(error)) from None


class NoRoom(Exception):
    """The temporary directory does not take the names; the text says why."""


class NameSpool:
    """Lines of a file: the number of each, the ids of an organisation and a mentee, the name."""

    def __init__(self, lines: Any, database: Database | None, target: Connection | None) -> None:
        self._lines = lines
        self._database, self._target = database, target

    def add(self, lines: Iterable[tuple[int, str, str, str]]) -> None:
        """Keep some more lines."""
        with _writing():
            self._lines.execute("BEGIN")
            self._lines.executemany(
                "INSERT INTO lines (line, org_id, mentee_id, mentee_name) VALUES (?, ?, ?, ?)",
                lines,
            )
            self._lines.execute("COMMIT")

    def count(self) -> int:
        """Return how many lines there are."""
        return int(self._lines.execute("SELECT count(*) FROM lines").fetchone()[0])

    def repeated(self) -> list[int]:
        """Return the numbers of the lines whose ids stand on an earlier one."""
        found = self._lines.execute(
            "SELECT line FROM lines AS later WHERE EXISTS (SELECT 1 FROM lines AS earlier "
            "WHERE earlier.org_id = later.org_id AND earlier.mentee_id = later.mentee_id "
            "AND earlier.line < later.line)"
        )
        return sorted(line for (line,) in found)

    def store(self, progress: Callable[[float], None]) -> None:
        """Give the mentees these names, known before or not; none may stand on two lines."""
        target = self._target
        if target is None or self._database is None:
            raise ValueError("this spool is for no database")
        if target.dialect.name == "sqlite":
            source = _SPOOLED
        else:
            source = _INCOMING
            self._send(target, progress)
        _leave_out_what_is_known(target, source)
        self._database.begin_writing(target)
        _move(target, source)

    def _send(self, target: Connection, progress: Callable[[float], None]) -> None:
        rights.require_staging(target)
        # A great many names may take longer than any call.
        target.execute(text("SET LOCAL statement_timeout = 0"))
        target.execute(CreateTable(_INCOMING))
        sent, count = 0, self.count()
        found = self._lines.execute("SELECT mentee_id, org_id, mentee_name FROM lines")
        while batch := list(islice(found, _BATCH)):
            rows = [dict(zip(_COLUMNS, line, strict=True)) for line in batch]
            target.execute(insert(_INCOMING), rows)
            sent += len(rows)
            progress(sent / count)


def _leave_out_what_is_known(target: Connection, source: Table) -> None:
    same = [mentees.c[name] == source.c[name] for name in _COLUMNS]
    target.execute(delete(source).where(exists().where(*same)))


def _move(target: Connection, source: Table) -> None:
    # In one order for all, so that two imports never wait for each other.
    names = select(source).order_by(source.c.mentee_id, source.c.org_id)
    statement = upserts.insert(target.dialect.name, mentees).from_select(_COLUMNS, names)
    target.execute(upserts.renaming(statement, statement.excluded.mentee_name))
