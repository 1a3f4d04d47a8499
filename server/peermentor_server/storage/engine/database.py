"""The database: the only code that connects, begins, commits or rolls back.

`read()` is for one statement, `snapshot()` for several that read one state, `write()` for a
transaction that is stored as a whole or not at all, `erase()` for one that deletes personal data,
`stage()` for one that takes long to prepare. What a driver raises leaves this module as
`driver_errors` translates it.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from peermentor_server import database_url
from peermentor_server.file_identity import FileIdentity
from peermentor_server.rules.errors import DatabaseUnavailable
from peermentor_server.storage.engine import deadlines, statements
from peermentor_server.storage.engine.backend import Backend
from peermentor_server.storage.engine.driver_errors import translated
from peermentor_server.storage.engine.measured_pool import MeasuredPool
from peermentor_server.telemetry import metrics
from peermentor_server.timing import USUAL, Timing

# A connection for each thread that serves calls, and one for the health check.
POOL_SIZE = 12


@dataclass(slots=True)
class _Shared:
    """The connection of a transaction of several writes."""

    connection: Connection
    erases: bool = False


class _Own(threading.local):
    """What each thread has of its own."""

    shared: _Shared | None = None
    """While it is in a block of together()."""


class Database:
    """One SQLite file or one PostgreSQL database; InvalidUrl for anything else."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = POOL_SIZE,
        timing: Timing = USUAL,
        file_identity: FileIdentity | None = None,
    ) -> None:
        """Name a database, on SQLite at will only this one file: nothing connects yet."""
        self.backend = _backend(url, pool_size, timing, file_identity)
        self.location = database_url.shown(url)
        """Where it is, without secrets."""
        for engine in self._engines():
            statements.measure(engine)
        self._own = _Own()

    @property
    def engine(self) -> Engine:
        """What connects to write."""
        return self.backend.engine

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database."""
        return self.backend.file

    def connections_in_use(self) -> int:
        """Return how many connections of the pool are in use."""
        pool: Any = self.engine.pool
        return int(pool.checkedout())

    def tell_statements(self, begin: statements.Begin) -> None:
        """Tell of each statement from now on."""
        for engine in self._engines():
            statements.tell(engine, begin)

    def _engines(self) -> set[Engine]:
        return {self.backend.engine, self.backend.reading_engine}

    def read(self) -> AbstractContextManager[Connection]:
        """Connect for a single statement, which needs no transaction around it."""
        return self.backend.reading()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Connect for statements that all read what was stored when the first of them began.

        Nobody waits for that, however long it takes.
        """
        with translated() as progress, self.engine.connect() as connection:
            self.backend.begin_snapshot(connection)
            progress.connected = True
            yield connection

    @contextmanager
    def write(self, *, is_patient: bool = False) -> Iterator[Connection]:
        """Connect for a transaction: committed at the end, undone by an exception.

        One that `is_patient` waits for the migration of a SQLite file by another program.
        """
        if (shared := self._own.shared) is not None:
            with translated(connected=True):
                yield shared.connection
                deadlines.refuse_late()
            return
        deadlines.refuse_late()
        ended: float | None = None
        try:
            with translated() as progress, self.engine.begin() as connection:
                self.backend.begin(connection, is_patient=is_patient)
                progress.connected = True
                yield connection
                deadlines.refuse_late()
                progress.committing = True
                ended = time.perf_counter()
        finally:
            # What fails, too: so ends the wait for a standby that is away.
            if ended is not None:
                metrics.current.commits.observe(time.perf_counter() - ended)

    @contextmanager
    def stage(self) -> Iterator[Connection]:
        """As write(), but first for work in temporary tables alone, until begin_writing().

        However long that takes, on SQLite no other writer waits for it.
        """
        with translated() as progress, self.engine.connect() as connection:
            try:
                self.backend.begin_staging(connection)
                yield connection
                deadlines.refuse_late()
                progress.committing = True
                connection.commit()
            finally:
                # What is attached to it or set for it must not come back with another caller.
                connection.invalidate()

    def begin_writing(self, connection: Connection) -> None:
        """Go on to the other tables, in a connection of stage()."""
        self.backend.begin_writing(connection)

    @contextmanager
    def erase(self) -> Iterator[Connection]:
        """As write(), for deletions: nothing of the rows stays behind in a file of SQLite's."""
        with self.write() as connection:
            yield connection
        if (shared := self._own.shared) is not None:
            shared.erases = True
        else:
            self._overwrite_erased()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let every write() of this thread in the block be a part of one transaction.

        It is undone as a whole, and by any exception that leaves the block.
        """
        with self.write() as connection:
            shared = self._own.shared = _Shared(connection)
            try:
                yield
            finally:
                self._own.shared = None
        if shared.erases:
            self._overwrite_erased()

    def _overwrite_erased(self) -> None:
        # The deletion itself is committed: should a long reader or a full disk be in the way, a
        # later checkpoint does it.
        with suppress(DatabaseUnavailable), translated():
            self.backend.overwrite_erased()

    def ping(self) -> None:
        """Return when the database answers and can be written; else raise DatabaseUnavailable."""
        self.backend.ping()

    def obstacle(self) -> str | None:
        """Return what keeps this program from a file of SQLite's, which need not be there yet."""
        return self.backend.obstacle()

    def is_pooled(self) -> bool:
        """Tell whether a pooler of PostgreSQL's, such as PgBouncer, stands between."""
        with self.read() as connection:
            return bool(getattr(connection.connection.driver_connection, "pooled", False))

    def damage(self) -> Iterator[str]:
        """Yield what is broken in a file of SQLite's; PostgreSQL has tools of its own for that."""
        for each in self.backend.damage():
            yield f"{self.location} is damaged: {each}"

    def close(self) -> None:
        """Close all connections. The database may be used again."""
        self.backend.close()


def _backend(
    url: str, pool_size: int, timing: Timing, file_identity: FileIdentity | None
) -> Backend:
    options: dict[str, Any] = {
        "poolclass": MeasuredPool,
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": timing.pool_s,
        # Values are names and contact dates: they have no place in an exception's text.
        "hide_parameters": True,
    }
    # Each imports its driver, which takes its time and is not needed with the other.
    if database_url.is_sqlite(url):
        from peermentor_server.storage.engine.sqlite import SQLite

        return SQLite(database_url.sqlite_file(url), options, timing, file_identity)
    from peermentor_server.storage.engine.postgresql import PostgreSQL

    return PostgreSQL(database_url.postgresql_parameters(url), options, timing)
