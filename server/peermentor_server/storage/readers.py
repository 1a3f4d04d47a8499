"""A connection of SQLite's for each thread that reads, kept at hand.

To take one from the pool, and to give it back, takes longer than to read a row.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakSet

from sqlalchemy import Connection, Engine

from peermentor_server.storage import limits


class Readers:
    """The connections of all threads, each of which has one."""

    def __init__(self, engine: Engine, check: Callable[[], object]) -> None:
        """Connect by `engine`; `check` raises when a connection can no longer be used."""
        self._engine, self._check = engine, check
        self._own = threading.local()
        self._all: WeakSet[Connection] = WeakSet()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give the connection of this thread, for one statement whose rows are all fetched."""
        self._check()
        connection: Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._connect()
        try:
            yield connection
        except BaseException:
            connection.rollback()
            if connection.invalidated:
                self._own.__dict__.clear()
                connection.close()
            raise

    def close(self, *_event: object) -> None:
        """Close all of them. They are made anew when they are needed."""
        self._own = threading.local()
        for connection in list(self._all):
            connection.close()

    def _connect(self) -> Connection:
        connection = self._engine.connect()
        # The pool may make another one.
        connection.detach()
        self._all.add(connection)
        # In an event loop all calls would wait along: there, what is locked fails at once.
        patience_ms = 0 if _is_in_a_loop() else limits.LOCK_TIMEOUT_MS
        connection.exec_driver_sql(f"PRAGMA busy_timeout={patience_ms}")
        return connection


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
