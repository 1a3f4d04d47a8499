"""SQLite: how its engine is made, so that what was acknowledged survives."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy import text as sql
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from peermentor_server.file_identity import FileIdentity
from peermentor_server.storage.engine import deadlines, sqlite_file
from peermentor_server.storage.engine.readers import Readers
from peermentor_server.storage.engine.sqlite_file import OwnFile
from peermentor_server.storage.engine.write_queue import WriteQueue
from peermentor_server.storage.tables import VERSION_TABLE
from peermentor_server.timing import Timing

# SQLite before this version may corrupt a WAL file that several connections share.
FIRST_SAFE_VERSION = (3, 51, 3)


class SQLite:
    """A file, of which this is the only program's."""

    def __init__(
        self,
        file: str,
        options: dict[str, Any],
        timing: Timing,
        identity: FileIdentity | None = None,
    ) -> None:
        """Use what is at this path, or nothing but the file that `identity` names."""
        if sqlite.sqlite_version_info < FIRST_SAFE_VERSION:
            raise RuntimeError(f"SQLite {sqlite.sqlite_version} may corrupt a shared WAL file")
        self.file, self._timing = Path(file), timing
        # Resolved, so that a link to the file leads to the same queue.
        path = self.file.resolve()
        self._own_file = OwnFile(path, identity)
        # Where one is expected, an empty one must not take its place.
        mode = "rwc" if identity is None else "rw"
        self._address = f"file:{quote(os.fsencode(self.file))}?mode={mode}"
        self._prepare = partial(_prepare, WriteQueue(path), timing.lock_s)
        self.engine = self._make_engine(options)
        event.listen(self.engine, "checkout", self._own_file.check)
        event.listen(self.engine, "handle_error", self._own_file.note_event)
        # Each thread keeps a connection to read: to take one from a pool takes longer.
        without_pool = {"poolclass": NullPool, "hide_parameters": options["hide_parameters"]}
        self.reading_engine = self._make_engine(without_pool)
        self._readers = Readers(self.reading_engine, self._own_file, timing.lock_s)

    def _make_engine(self, options: dict[str, Any]) -> Engine:
        def connect() -> Any:
            self._own_file.prepare()
            return sqlite.connect(
                self._address, uri=True, factory=_Connection, check_same_thread=False
            )

        engine = create_engine(
            URL.create("sqlite", database=str(self.file)), module=sqlite, creator=connect, **options
        )
        event.listen(engine, "connect", self._prepare)
        event.listen(engine, "connect", self._own_file.remember)
        event.listen(engine, "close", self._own_file.forget)
        event.listen(engine, "close_detached", self._own_file.forget)
        return engine

    def reading(self) -> AbstractContextManager[Connection]:
        """See Backend."""
        return self._readers.reading()

    def begin_snapshot(self, connection: Connection) -> None:
        """See Backend."""
        connection.exec_driver_sql("BEGIN DEFERRED")

    def begin(self, connection: Connection, *, is_patient: bool = False) -> None:
        """See Backend."""
        driver: Any = connection.connection.dbapi_connection
        driver.begin_turn(self._timing.migration_lock_s if is_patient else None)
        try:
            # IMMEDIATE takes the write lock at once: a transaction that first reads and then
            # writes would otherwise fail as soon as another one writes in between.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except BaseException:
            driver.end_turn()
            raise

    def begin_staging(self, connection: Connection) -> None:
        """See Backend. Temporary tables are in a file of their own."""

    def begin_writing(self, connection: Connection) -> None:
        """See Backend."""
        connection.commit()
        self.begin(connection)

    def wait_for_migrations(self, connection: Connection) -> None:
        """See Backend. The write transaction itself keeps others out."""

    def keep_out(self, connection: Connection, tables: Sequence[str]) -> None:
        """See Backend. Who reads goes on with what was there before."""

    def overwrite_erased(self) -> None:
        """Move everything from the write-ahead log to the database file, and empty the log."""
        with self.engine.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            # It locks writers out while it works: without a turn it waits for seconds among many.
            driver.begin_turn()
            try:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                driver.end_turn()

    def ping(self) -> None:
        """See Backend; also raise DatabaseUnavailable when the file is no longer whole."""
        with self.reading() as connection:
            connection.execute(sql("SELECT 1 FROM alembic_version"))
            self._own_file.check_whole(connection)

    def obstacle(self) -> str | None:
        """See Backend."""
        return sqlite_file.obstacle(self.file.resolve())

    def damage(self) -> Iterator[str]:
        """See Backend."""
        with self.reading() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
        yield from (each for each in found if each != "ok")

    def close(self) -> None:
        """See Backend."""
        self._readers.close()
        self.engine.dispose()


def _patience_s(longest_s: float) -> float:
    return max(0.0, min(longest_s, deadlines.remaining())) if deadlines.may_wait() else 0.0


def _busy_timeout(patience_s: float) -> str:
    return f"busy_timeout={int(patience_s * 1000)}"


class _Connection(sqlite.Connection):  # type: ignore[misc]
    """A connection of the driver that ends its turn as a writer along with its transaction."""

    queue: WriteQueue
    lock_s: float
    _has_turn = False

    def begin_turn(self, longest_s: float | None = None) -> None:
        """Wait for the other writers of this file, as long as for a call unless said."""
        longest_s = self.lock_s if longest_s is None else longest_s
        self.queue.enter(_patience_s(longest_s))
        self._has_turn = True
        # What is left of it, for other programs, which do not wait in turn.
        self.execute(f"PRAGMA {_busy_timeout(_patience_s(longest_s))}").close()

    def end_turn(self) -> None:
        """Let the next writer go on."""
        if self._has_turn:
            self._has_turn = False
            self.queue.leave()

    def commit(self) -> None:
        """Commit."""
        try:
            super().commit()
        finally:
            self._end_turn_with_transaction()

    def rollback(self) -> None:
        """Roll back."""
        try:
            super().rollback()
        finally:
            self._end_turn_with_transaction()

    def close(self) -> None:
        """Close, which ends a transaction too."""
        try:
            super().close()
        finally:
            self.end_turn()

    def _end_turn_with_transaction(self) -> None:
        # A commit that failed may have left it open.
        if not self.in_transaction:
            self.end_turn()


def _prepare(queue: WriteQueue, lock_s: float, connection: Any, _record: Any) -> None:
    connection.queue, connection.lock_s = queue, lock_s
    # The driver's own transactions begin too late and lose updates; _begin does it.
    connection.isolation_level = None
    for pragma in (
        _busy_timeout(_patience_s(lock_s)),
        # An acknowledged write survives a power cut; NORMAL would lose the latest ones.
        "synchronous=FULL",
        "foreign_keys=ON",
        # Deleted rows are overwritten, not merely unlinked: they held names.
        "secure_delete=ON",
        "journal_size_limit=8388608",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
    _switch_to_wal(connection)


def _switch_to_wal(connection: Any) -> None:
    if _is_of_another_program(connection):
        return
    # The one thing for which SQLite does not wait its turn: when several programs open a new
    # file at the same moment, it refuses all but one of them.
    deadline = time.monotonic() + _patience_s(connection.lock_s)
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite.OperationalError as error:
            busy = error.sqlite_errorname.startswith("SQLITE_BUSY")
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _is_of_another_program(connection: Any) -> bool:
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return bool(tables) and (VERSION_TABLE,) not in tables
