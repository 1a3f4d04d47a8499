"""The database: the only code that connects, begins, commits or rolls back.

`read()` is for one statement, `write()` for a transaction that is stored as a whole or not
at all, `erase()` for one that deletes personal data. What a driver raises leaves this module
as DatabaseUnavailable or InternalFault, without SQL and without values.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy import text as sql
from sqlalchemy.engine import URL, ExceptionContext

from peermentor_server.rules.errors import DatabaseUnavailable, InternalFault

# A transaction waits this long for another writer: of the same SQLite file, or of the same
# row in PostgreSQL.
LOCK_TIMEOUT_MS = 5000
POSTGRESQL_CONNECT_TIMEOUT_S = 2
# How long a call waits for a free connection before it answers UNAVAILABLE.
POOL_TIMEOUT_S = 2
# SQLite before this version may corrupt a WAL file that several connections share.
FIRST_SAFE_SQLITE = (3, 51, 3)

_READ_ONLY = "peermentor_read_only"
_PASSWORDS = ("password", "sslpassword")
_READ_ONLY_SERVER = "25006"


class InvalidUrl(Exception):
    """A text that is no URL of a database."""


class Database:
    """One SQLite file or one PostgreSQL database."""

    # A connection for each thread that serves calls, and one for the health check.
    def __init__(self, url: str, *, pool_size: int = 9) -> None:
        try:
            self._url = _parse(url)
            self.engine = _create_engine(self._url, pool_size)
        except (exc.ArgumentError, ValueError):
            raise InvalidUrl from None

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @property
    def location(self) -> str:
        """The URL without its password, for people."""
        return self._url.difference_update_query(_PASSWORDS).render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Connect for a single statement, which needs no transaction around it."""
        with _translated(), self.engine.connect() as connection:
            yield _autocommit(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Connect for a transaction: committed at the end, undone by an exception."""
        with _translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def erase(self) -> Iterator[Connection]:
        """As write(), for deletions: nothing of the rows stays behind in a file of SQLite's."""
        with self.write() as connection:
            yield connection
        if self.dialect == "sqlite":
            # What the write-ahead log still holds of them. The deletion itself is committed:
            # should a long reader or a full disk be in the way, a later checkpoint does it.
            with suppress(DatabaseUnavailable), self.read() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def ping(self) -> None:
        """Return when the database answers; otherwise raise DatabaseUnavailable."""
        with self.read() as connection:
            connection.execute(sql("SELECT 1 FROM alembic_version"))

    def close(self) -> None:
        """Close all connections. The database may be used again."""
        self.engine.dispose()


def _parse(text: str) -> URL:
    url = make_url(text)
    if "@" in (url.host or ""):
        raise ValueError("an @ in a password is written %40")
    if url.get_backend_name() in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    return url


def _create_engine(url: URL, pool_size: int) -> Engine:
    options: dict[str, Any] = {
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": POOL_TIMEOUT_S,
        # Values are names and contact dates: they have no place in an exception's text.
        "hide_parameters": True,
    }
    if url.get_backend_name() == "sqlite":
        return _create_sqlite_engine(url, options)
    return _create_postgresql_engine(url, options)


def _create_postgresql_engine(url: URL, options: dict[str, Any]) -> Engine:
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_recycle=300,
        connect_args={
            "connect_timeout": POSTGRESQL_CONNECT_TIMEOUT_S,
            "application_name": "peermentor",
            "options": f"-c timezone=UTC -c lock_timeout={LOCK_TIMEOUT_MS}",
        },
        **options,
    )
    event.listen(engine, "handle_error", _leave_read_only_server)
    return engine


def _leave_read_only_server(context: ExceptionContext) -> None:
    # A server that is no longer the primary still answers pings: without this, the pool
    # would hold on to it and refuse every write until the next start.
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY_SERVER:
        context.is_disconnect = True


def _create_sqlite_engine(url: URL, options: dict[str, Any]) -> Engine:
    if sqlite.sqlite_version_info < FIRST_SAFE_SQLITE:
        raise RuntimeError(f"SQLite {sqlite.sqlite_version} may corrupt a shared WAL file")
    engine = create_engine(url, module=sqlite, **options)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin too late and lose updates; _begin_sqlite does it.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={LOCK_TIMEOUT_MS}",
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
    # The one thing for which SQLite does not wait its turn: when several programs open a new
    # file at the same moment, it refuses all but one of them.
    deadline = time.monotonic() + LOCK_TIMEOUT_MS / 1000
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


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that first reads and then
    # writes would otherwise fail as soon as another one writes in between.
    if not connection.get_execution_options().get(_READ_ONLY):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _autocommit(connection: Connection) -> Connection:
    if connection.dialect.name == "sqlite":
        return connection.execution_options(**{_READ_ONLY: True})
    # Spares the round trips of BEGIN and ROLLBACK.
    return connection.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError) as error:
        cause = _without_values(error)
        if _is_outage(error):
            raise DatabaseUnavailable from cause
        raise InternalFault(str(cause)) from cause


def _is_outage(error: exc.DBAPIError | exc.TimeoutError) -> bool:
    if isinstance(error, exc.TimeoutError) or error.connection_invalidated:
        return True
    # SQLite's word for a statement that is wrong, which PostgreSQL calls a ProgrammingError.
    if getattr(error.orig, "sqlite_errorname", None) == "SQLITE_ERROR":
        return False
    return isinstance(error, exc.OperationalError | exc.InterfaceError)


class DriverError(Exception):
    """What is safe to log of a driver's error: its type, its code and no values."""


def _without_values(error: exc.SQLAlchemyError) -> DriverError:
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    name = f"{type(original).__name__} {code or ''}".strip()
    # Without a statement it failed to connect, and the text says where and why.
    connecting = isinstance(error, exc.DBAPIError) and error.statement is None
    return DriverError(f"{name}: {str(original).splitlines()[0]}" if connecting else name)
