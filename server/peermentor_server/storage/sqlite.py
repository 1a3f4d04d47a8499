"""SQLite: how its engine is made, so that what was acknowledged survives."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from peermentor_server.storage import deadlines, limits
from peermentor_server.storage.database import PATIENT, READ_ONLY
from peermentor_server.storage.readers import Readers
from peermentor_server.storage.sqlite_file import OwnFile
from peermentor_server.storage.tables import VERSION_TABLE
from peermentor_server.storage.write_queue import WriteQueue

# SQLite before this version may corrupt a WAL file that several connections share.
FIRST_SAFE_VERSION = (3, 51, 3)


def create(
    url: URL, options: dict[str, Any]
) -> tuple[Engine, Engine, Callable[[], AbstractContextManager[Connection]]]:
    """Return an engine for this database, one to read it, and what makes blocks that do so."""
    if sqlite.sqlite_version_info < FIRST_SAFE_VERSION:
        raise RuntimeError(f"SQLite {sqlite.sqlite_version} may corrupt a shared WAL file")
    # Resolved, so that a link to the file leads to the same queue.
    path = Path(str(url.database)).resolve()
    own_file = OwnFile(path)
    prepare = partial(_prepare, WriteQueue(path), own_file)

    engine = create_engine(url, module=sqlite, connect_args={"factory": _Connection}, **options)
    event.listen(engine, "do_connect", own_file.prepare)
    event.listen(engine, "checkout", own_file.check)
    event.listen(engine, "handle_error", lambda context: own_file.note(context.original_exception))
    event.listen(engine, "begin", _begin)

    def connect() -> Any:
        own_file.prepare()
        return sqlite.connect(url.database, factory=_Connection, check_same_thread=False)

    # Events at every statement take longer than SQLite does: those who read have none.
    hidden = {"hide_parameters": options["hide_parameters"]}
    reading = create_engine(url, module=sqlite, creator=connect, poolclass=NullPool, **hidden)
    for each in (engine, reading):
        event.listen(each, "connect", prepare)
        event.listen(each, "connect", own_file.remember)
        event.listen(each, "close", own_file.forget)
        event.listen(each, "close_detached", own_file.forget)
    readers = Readers(reading, own_file)
    event.listen(engine, "engine_disposed", readers.close)
    return engine, reading, readers.reading


def _patience_s(timeout_ms: int | None = None) -> float:
    if not deadlines.may_wait():
        return 0.0
    return max(0.0, min((timeout_ms or limits.LOCK_TIMEOUT_MS) / 1000, deadlines.remaining()))


class _Connection(sqlite.Connection):  # type: ignore[misc]
    """A connection of the driver that ends its turn as a writer along with its transaction."""

    queue: WriteQueue
    file: OwnFile
    _has_turn = False

    def begin_turn(self, timeout_ms: int | None = None) -> None:
        """Wait for the other writers of this file, as long as for a call unless said."""
        self.queue.enter(_patience_s(timeout_ms))
        self._has_turn = True
        # What is left of it, for other programs, which do not wait in turn.
        self.execute(f"PRAGMA busy_timeout={int(_patience_s(timeout_ms) * 1000)}").close()

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


def truncate_log(engine: Engine) -> None:
    """Move everything from the write-ahead log to the database file, and empty the log."""
    with engine.execution_options(**{READ_ONLY: True}).connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        # It locks writers out while it works: without a turn it waits for seconds among many.
        driver.begin_turn()
        try:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            driver.end_turn()


def check_file(connection: Connection) -> None:
    """Raise DatabaseUnavailable when the file is no longer whole, or cannot be written."""
    driver: Any = connection.connection.dbapi_connection
    driver.file.check_whole(connection)


def _prepare(queue: WriteQueue, file: OwnFile, connection: Any, _record: Any) -> None:
    connection.queue, connection.file = queue, file
    # The driver's own transactions begin too late and lose updates; _begin does it.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(_patience_s() * 1000)}",
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
    deadline = time.monotonic() + _patience_s()
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


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get(READ_ONLY):
        return
    driver: Any = connection.connection.dbapi_connection
    driver.begin_turn(limits.MIGRATION_LOCK_TIMEOUT_MS if options.get(PATIENT) else None)
    try:
        # IMMEDIATE takes the write lock at once: a transaction that first reads and then
        # writes would otherwise fail as soon as another one writes in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except BaseException:
        driver.end_turn()
        raise
