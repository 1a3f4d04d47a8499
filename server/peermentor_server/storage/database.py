"""The database: the only code that connects, begins, commits or rolls back.

`read()` is for one statement, `write()` for a transaction that is stored as a whole or not
at all, `erase()` for one that deletes personal data. What a driver raises leaves this module
as `outages` translates it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, exc, make_url
from sqlalchemy import text as sql
from sqlalchemy.engine import URL

from peermentor_server.rules.errors import DatabaseUnavailable
from peermentor_server.storage import deadlines, limits
from peermentor_server.storage.outages import translated

# The execution option of connections that take no write lock.
READ_ONLY = "peermentor_read_only"
# Of a URL's parameters only these are shown: others are secrets, or may be misspelt ones.
_SHOWN = {"host", "port"}


class InvalidUrl(Exception):
    """A text that is no URL of a database."""


class Database:
    """One SQLite file or one PostgreSQL database."""

    # A connection for each thread that serves calls, and one for the health check.
    def __init__(self, url: str, *, pool_size: int = 12) -> None:
        try:
            self._url = _parse(url)
            self.engine = _create_engine(self._url, pool_size)
            event.listen(self.engine, "before_cursor_execute", _refuse_late)
        except (exc.ArgumentError, ValueError):
            raise InvalidUrl from None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @property
    def location(self) -> str:
        """The URL without its secrets, for people."""
        if self.file is not None:
            return f"sqlite:///{self.file}"
        shown = self._url.difference_update_query(set(self._url.query) - _SHOWN)
        return shown.render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database."""
        return Path(str(self._url.database)) if self.dialect == "sqlite" else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Connect for a single statement, which needs no transaction around it."""
        with translated(), self.engine.connect() as connection:
            yield _autocommit(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Connect for a transaction: committed at the end, undone by an exception."""
        with translated() as progress, self.engine.begin() as connection:
            yield connection
            _refuse_late()
            progress.committing = True

    @contextmanager
    def erase(self) -> Iterator[Connection]:
        """As write(), for deletions: nothing of the rows stays behind in a file of SQLite's."""
        with self.write() as connection:
            yield connection
        if self.dialect == "sqlite":
            from peermentor_server.storage import sqlite

            # What the write-ahead log still holds of them. The deletion itself is committed:
            # should a long reader or a full disk be in the way, a later checkpoint does it.
            with suppress(DatabaseUnavailable), self.read() as connection:
                sqlite.truncate_log(connection)

    def ping(self) -> None:
        """Return when the database answers and can be written; else raise DatabaseUnavailable."""
        if self.dialect == "postgresql":
            from peermentor_server.storage import postgresql

            with self.write() as connection:
                postgresql.check_writable(connection)
        else:
            with self.read() as connection:
                connection.execute(sql("SELECT 1 FROM alembic_version"))

    def damage(self) -> Iterator[str]:
        """Yield what is broken in a file of SQLite's; PostgreSQL has tools of its own for that."""
        if self.dialect == "sqlite":
            with self.read() as connection:
                found = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
            yield from (f"{self.location} is damaged: {each}" for each in found if each != "ok")

    def close(self) -> None:
        """Close all connections. The database may be used again."""
        self.engine.dispose()


def _parse(text: str) -> URL:
    url = make_url(text)
    if "@" in (url.host or ""):
        raise ValueError("an @ in a password is written %40")
    if url.get_backend_name() in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    # As messages show it: whoever reads them may be somewhere else.
    return url.set(database=str(Path(str(url.database)).absolute()))


def _create_engine(url: URL, pool_size: int) -> Engine:
    options: dict[str, Any] = {
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": limits.POOL_TIMEOUT_S,
        # Values are names and contact dates: they have no place in an exception's text.
        "hide_parameters": True,
    }
    # Each imports its driver, which takes its time and is not needed with the other.
    if url.get_backend_name() == "sqlite":
        from peermentor_server.storage import sqlite

        return sqlite.create(url, options)
    from peermentor_server.storage import postgresql

    return postgresql.create(url, options)


def _refuse_late(*_event: object) -> None:
    # Such as when this process has stood still: the caller has asked another one meanwhile, and
    # gone on, and what is stored now could undo that.
    if deadlines.remaining() <= 0:
        raise DatabaseUnavailable from TimeoutError("the deadline has passed")


def _autocommit(connection: Connection) -> Connection:
    if connection.dialect.name == "sqlite":
        return connection.execution_options(**{READ_ONLY: True})
    # Spares the round trips of BEGIN and ROLLBACK.
    return connection.execution_options(isolation_level="AUTOCOMMIT")
