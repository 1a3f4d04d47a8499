"""A connection of SQLite's for each thread that reads, kept at hand.

To take one from the pool, and to give it back, takes longer than to read a row.
"""

import threading
from types import TracebackType
from weakref import WeakSet

from sqlalchemy import Connection, Engine

from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.deadlines import WouldWait
from peermentor_server.storage.engine.driver_errors import Progress, raise_translated
from peermentor_server.storage.engine.sqlite_file import OwnFile


class Readers:
    """The connections of all threads, each of which has one."""

    def __init__(self, engine: Engine, file: OwnFile, lock_s: float) -> None:
        """Connect by `engine` to this file, and wait as long for those who lock it."""
        self.engine, self.file, self._lock_s = engine, file, lock_s
        self._own = threading.local()
        self._all: WeakSet[Connection] = WeakSet()

    def reading(self) -> "Reading":
        """Return a block for one statement whose rows are all fetched."""
        return Reading(self)

    def take(self) -> Connection:
        """Return the connection of this thread."""
        deadlines.refuse_late()
        self.file.check()
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._connect()
        return connection

    def recover(self) -> None:
        """See to it that the connection of this thread can be used after an error."""
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            return
        connection.rollback()
        if connection.invalidated:
            del self._own.connection
            connection.close()

    def close(self, *_event: object) -> None:
        """Close all of them. They are made anew when they are needed."""
        self._own = threading.local()
        for connection in list(self._all):
            connection.close()

    def _connect(self) -> Connection:
        connection = self.engine.connect()
        # The pool may make another one.
        connection.detach()
        self._all.add(connection)
        patience_ms = round(self._lock_s * 1000) if deadlines.may_wait() else 0
        connection.exec_driver_sql(f"PRAGMA busy_timeout={patience_ms}")
        return connection


class Reading:
    """A block that has the connection of its thread, and translates what the driver raises.

    In an event loop it raises WouldWait when others have locked the file.
    """

    __slots__ = ("_readers",)

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def __enter__(self) -> Connection:
        try:
            return self._readers.take()
        except Exception as error:
            self._translate(error, connected=False)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._readers.recover()
            self._translate(error, connected=True)

    def _translate(self, error: BaseException, *, connected: bool) -> None:
        original = getattr(error, "orig", None)
        self._readers.file.note(original)
        name = getattr(original, "sqlite_errorname", "")
        if name.startswith("SQLITE_BUSY") and not deadlines.may_wait():
            raise WouldWait from None
        raise_translated(error, Progress(connected=connected))
