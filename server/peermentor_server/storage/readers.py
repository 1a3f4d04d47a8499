"""A connection of SQLite's for each thread that reads, kept at hand.

To take one from the pool, and to give it back, takes longer than to read a row.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakSet

from sqlalchemy import Connection, Engine

from peermentor_server.storage import deadlines, limits
from peermentor_server.storage.deadlines import WouldWait


class Readers:
    """The connections of all threads, each of which has one."""

    def __init__(self, engine: Engine, check: Callable[[], object]) -> None:
        """Connect by `engine`; `check` raises when a connection can no longer be used."""
        self._engine, self._check = engine, check
        self._own = threading.local()
        self._all: WeakSet[Connection] = WeakSet()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give the connection of this thread, for one statement whose rows are all fetched.

        Raises WouldWait in an event loop when others have locked the file.
        """
        self._check()
        try:
            connection = self._of_this_thread()
            yield connection
        except BaseException as error:
            self._recover()
            if _is_locked(error) and not deadlines.may_wait():
                raise WouldWait from None
            raise

    def close(self, *_event: object) -> None:
        """Close all of them. They are made anew when they are needed."""
        self._own = threading.local()
        for connection in list(self._all):
            connection.close()

    def _of_this_thread(self) -> Connection:
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._connect()
        return connection

    def _recover(self) -> None:
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            return
        connection.rollback()
        if connection.invalidated:
            del self._own.connection
            connection.close()

    def _connect(self) -> Connection:
        connection = self._engine.connect()
        # The pool may make another one.
        connection.detach()
        self._all.add(connection)
        patience_ms = limits.LOCK_TIMEOUT_MS if deadlines.may_wait() else 0
        connection.exec_driver_sql(f"PRAGMA busy_timeout={patience_ms}")
        return connection


def _is_locked(error: BaseException) -> bool:
    name = getattr(getattr(error, "orig", None), "sqlite_errorname", "")
    return name.startswith("SQLITE_BUSY")
