"""PostgreSQL: how its engine is made."""

from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext

from peermentor_server.storage import limits

_READ_ONLY_SERVER = "25006"


def create(url: URL, options: dict[str, Any]) -> Engine:
    """Return an engine for this database."""
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_recycle=300,
        connect_args={
            "connect_timeout": limits.CONNECT_TIMEOUT_S,
            "application_name": "peermentor",
            "options": f"-c timezone=UTC -c lock_timeout={limits.LOCK_TIMEOUT_MS}",
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
