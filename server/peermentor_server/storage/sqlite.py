"""SQLite: how its engine is made, so that what was acknowledged survives."""

import time
from typing import Any

from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from peermentor_server.storage import limits

# SQLite before this version may corrupt a WAL file that several connections share.
FIRST_SAFE_VERSION = (3, 51, 3)
READ_ONLY = "peermentor_read_only"
"""The execution option of connections that take no write lock."""


def create(url: URL, options: dict[str, Any]) -> Engine:
    """Return an engine for this database."""
    if sqlite.sqlite_version_info < FIRST_SAFE_VERSION:
        raise RuntimeError(f"SQLite {sqlite.sqlite_version} may corrupt a shared WAL file")
    engine = create_engine(url, module=sqlite, **options)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin too late and lose updates; _begin does it.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={limits.LOCK_TIMEOUT_MS}",
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
    deadline = time.monotonic() + limits.LOCK_TIMEOUT_MS / 1000
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


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that first reads and then
    # writes would otherwise fail as soon as another one writes in between.
    if not connection.get_execution_options().get(READ_ONLY):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
