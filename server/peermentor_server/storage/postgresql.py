"""PostgreSQL: how its engine is made, so that it finds the primary, and leaves it in time."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy import text as sql
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import DisconnectionError

from peermentor_server.storage import limits, sessions
from peermentor_server.storage.bounded import BoundedConnection
from peermentor_server.storage.database import READ_ONLY
from peermentor_server.storage.outages import READ_ONLY_SERVER, translated

# What counts where the URL does not say otherwise.
_PARAMETERS: dict[str, Any] = {
    "application_name": "peermentor",
    "connect_timeout": limits.CONNECT_TIMEOUT_S,
    # Of several hosts, the primary.
    "target_session_attrs": "read-write",
    # Notices a server that is gone without a word, from where nothing is awaited too.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}


def create(
    parameters: dict[str, str], options: dict[str, Any]
) -> tuple[Engine, Engine, Callable[[], AbstractContextManager[Connection]]]:
    """Return an engine for the database of these parameters of libpq's, the same one to read it,
    and what makes blocks that do so.
    """
    wanted = _PARAMETERS | parameters

    def connect(*_event: object) -> BoundedConnection:
        return sessions.open_session(wanted)

    engine = create_engine(
        "postgresql+psycopg://",
        # Statements alone have no transaction, and need no round trips for it; others begin one.
        isolation_level="AUTOCOMMIT",
        pool_recycle=300,
        **options,
    )
    # For people and tests: SQLAlchemy itself would read lists of hosts in a way of its own.
    engine.url = _url(parameters)
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkout", _refuse_ended)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _leave_read_only_server)
    reading = partial(_reading, engine.execution_options(**{READ_ONLY: True}))
    return engine, engine, reading


@contextmanager
def _reading(engine: Engine) -> Iterator[Connection]:
    with translated() as progress, engine.connect() as connection:
        progress.connected = True
        yield connection


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


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    # The second is SQLAlchemy's own word, for those who use the engine as any other.
    if options.get(READ_ONLY) or options.get("isolation_level") == "AUTOCOMMIT":
        return
    # Whatever the default of the role or the database.
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
    driver: Any = connection.connection.driver_connection
    if driver.pooled:
        begin = f"{begin}; {sessions.limits_of_transaction()}"
    connection.exec_driver_sql(begin)


def _leave_read_only_server(context: ExceptionContext) -> None:
    # A server that is no longer the primary still answers pings: without this, the pool
    # would hold on to it and refuse every write until the next start.
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY_SERVER:
        context.is_disconnect = True


def check_writable(connection: Connection) -> None:
    """Fail, here or at the commit, on a server that takes no writes, in the way that writes do."""
    # Locks no row, and so writes nothing itself.
    connection.execute(
        sql("SELECT 1 FROM alembic_version, mentees WHERE false FOR UPDATE OF mentees")
    )
    # With synchronous replication a write must also reach a standby. This one, of a few bytes,
    # stands in the log alone.
    connection.execute(
        sql(
            "SELECT pg_logical_emit_message(true, 'peermentor', '') "
            "WHERE current_setting('synchronous_standby_names') <> ''"
        )
    )
