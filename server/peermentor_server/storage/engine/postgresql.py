"""PostgreSQL: how its engine is made, so that it finds the primary, and leaves it in time."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy import text as sql
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError

from peermentor_server.storage.engine import deadlines, sessions
from peermentor_server.storage.engine.bounded_connection import BoundedConnection
from peermentor_server.storage.engine.driver_errors import READ_ONLY_SERVER, translated
from peermentor_server.timing import Timing

# What counts where the URL does not say otherwise.
_PARAMETERS: dict[str, Any] = {
    "application_name": "peermentor",
    # Of several hosts, the primary.
    "target_session_attrs": "read-write",
    # Notices a server that is gone without a word, from where nothing is awaited too.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
# Any number will do, as long as nobody else locks the same one in this database.
_ADVISORY_LOCK = 7_033_636_685
# What it ends with to wait for tables that others use.
_IN_USE = {
    "57014",  # query_canceled
    "40P01",  # deadlock_detected
}


class PostgreSQL:
    """The primary among the servers that these parameters of libpq's name."""

    file = None

    def __init__(self, parameters: dict[str, str], options: dict[str, Any], timing: Timing) -> None:
        self._timing = timing
        wanted = _PARAMETERS | {"connect_timeout": int(timing.connect_s)} | parameters
        self.engine = self.reading_engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: sessions.open_session(wanted, timing),
            # Statements alone have no transaction, and need no round trips for it.
            isolation_level="AUTOCOMMIT",
            pool_recycle=300,
            **options,
        )
        # For people and tests: SQLAlchemy itself would read lists of hosts in a way of its own.
        self.engine.url = _url(parameters)
        event.listen(self.engine, "checkout", _refuse_ended)
        event.listen(self.engine, "handle_error", _leave_read_only_server)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See Backend."""
        deadlines.refuse_late()
        with translated() as progress, self.engine.connect() as connection:
            progress.connected = True
            yield connection

    def begin_snapshot(self, connection: Connection) -> None:
        """See Backend."""
        self._begin(connection, "REPEATABLE READ, READ ONLY")
        # The first rows of many come when all of them are sorted.
        connection.execute(sql("SET LOCAL statement_timeout = 0"))

    def begin(self, connection: Connection, *, is_patient: bool = False) -> None:  # noqa: ARG002
        """See Backend."""
        self._begin(connection, "READ COMMITTED")

    def _begin(self, connection: Connection, isolation: str) -> None:
        # Whatever the default of the role or the database.
        begin = f"BEGIN ISOLATION LEVEL {isolation}"
        driver: Any = connection.connection.driver_connection
        if driver.pooled:
            begin = f"{begin}; {sessions.limits_of_transaction(self._timing)}"
        connection.exec_driver_sql(begin)

    def begin_staging(self, connection: Connection) -> None:
        """See Backend."""
        self.begin(connection)

    def begin_writing(self, connection: Connection) -> None:
        """See Backend. It has begun."""

    def wait_for_migrations(self, connection: Connection) -> None:
        """See Backend."""
        # However long it takes.
        connection.execute(sql("SET LOCAL lock_timeout = 0"))
        connection.execute(sql("SET LOCAL statement_timeout = 0"))
        connection.execute(sql("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})

    def keep_out(self, connection: Connection, tables: Sequence[str]) -> None:
        """See Backend."""
        if not tables:
            return
        # Whoever comes while it waits waits behind it: so it never waits for long, and lets go of
        # what it has before it tries again. A time-out of locks would be for each table anew.
        turn_s = self._timing.migration_turn_s
        end = time.monotonic() + self._timing.migration_lock_s
        while True:
            connection.exec_driver_sql("SAVEPOINT outside")
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(turn_s * 1000)}")
            try:
                connection.exec_driver_sql(f"LOCK TABLE {', '.join(tables)}")
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _IN_USE or time.monotonic() > end:
                    raise
                connection.exec_driver_sql("ROLLBACK TO SAVEPOINT outside")
                time.sleep(turn_s)
            else:
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                return

    def overwrite_erased(self) -> None:
        """See Backend. PostgreSQL does it by itself, in its own time."""

    def ping(self) -> None:
        """Fail on a server that takes no writes, in the way that writes do."""
        with translated() as progress, self.engine.begin() as connection:
            self.begin(connection)
            progress.connected = True
            # Locks no row, and so writes nothing itself.
            connection.execute(
                sql("SELECT 1 FROM alembic_version, mentees WHERE false FOR UPDATE OF mentees")
            )
            # With synchronous replication a write must also reach a standby. This one, of a few
            # bytes, stands in the log alone.
            connection.execute(
                sql(
                    "SELECT pg_logical_emit_message(true, 'peermentor', '') "
                    "WHERE current_setting('synchronous_standby_names') <> ''"
                )
            )

    def obstacle(self) -> str | None:
        """See Backend."""
        return None

    def damage(self) -> Iterator[str]:
        """See Backend. PostgreSQL has tools of its own for that."""
        yield from ()

    def close(self) -> None:
        """See Backend."""
        self.engine.dispose()


def _url(parameters: dict[str, str]) -> URL:
    others: dict[str, Any] = dict(parameters)
    names = {"username": "user", "password": "password", "database": "dbname"}
    named = {ours: others.pop(theirs, None) for ours, theirs in names.items()}
    return URL.create("postgresql+psycopg", **named, query=others)


def _refuse_ended(connection: BoundedConnection, *_event: object) -> None:
    # Costs no round trip, as a ping would. A server that is gone without a word is noticed by
    # the statement, before anything is stored.
    if connection.has_news():
        raise DisconnectionError


def _leave_read_only_server(context: ExceptionContext) -> None:
    # A server that is no longer the primary still answers pings: without this, the pool
    # would hold on to it and refuse every write until the next start.
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY_SERVER:
        context.is_disconnect = True
