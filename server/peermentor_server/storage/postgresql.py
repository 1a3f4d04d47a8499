"""PostgreSQL: how its engine is made, so that it finds the primary, and leaves it in time."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy import text as sql
from sqlalchemy.engine import URL, ExceptionContext

from peermentor_server.storage import limits
from peermentor_server.storage.bounded import BoundedConnection
from peermentor_server.storage.outages import READ_ONLY_SERVER


def create(url: URL, options: dict[str, Any]) -> Engine:
    """Return an engine for this database."""
    engine = create_engine(
        url, pool_pre_ping=True, pool_recycle=300, connect_args=_connect_args(url), **options
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "handle_error", _leave_read_only_server)
    return engine


def _connect_args(url: URL) -> dict[str, Any]:
    """Return what the URL does not say otherwise."""
    ours: dict[str, Any] = {
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
    wanted = {name: value for name, value in ours.items() if name not in url.query}
    return wanted | {"options": _session_options(url.query)}


def _session_options(query: Mapping[str, Any]) -> str:
    ours = {
        "lock_timeout": limits.LOCK_TIMEOUT_MS,
        "statement_timeout": limits.STATEMENT_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": limits.IDLE_IN_TRANSACTION_TIMEOUT_MS,
    }
    settings = [f"-c {name}={value}" for name, value in ours.items()]
    # The last one of a name counts: the URL's, except that instants are always read as UTC.
    return " ".join([*settings, str(query.get("options", "")), "-c timezone=UTC"])


def _connect(_dialect: Any, _record: Any, arguments: Any, named: Any) -> Any:
    return BoundedConnection.connect(*arguments, **named)


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
