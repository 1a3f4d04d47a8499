"""Sessions of PostgreSQL as the service relies on them, whatever server, role and surroundings say.

What a session needs is set once it is there. As options of its start it would replace those of
PGOPTIONS and of service files, and poolers refuse it.

A pooler, such as PgBouncer, gives another session to each transaction, and this one to other
clients. There nothing is set that they would find and nothing prepared that the next
transaction would miss; limits are set in each transaction.
"""

from collections.abc import Mapping
from typing import Any

from psycopg.errors import ProtocolViolation

from peermentor_server.storage.engine.bounded_connection import BoundedConnection
from peermentor_server.storage.engine.driver_errors import unusable
from peermentor_server.timing import Timing

_ENCODING = "UTF8"
# How values are written. The server tells of a change of these, and so poolers keep them for
# each of their clients.
_FORMS = {"DateStyle": "ISO, YMD", "TimeZone": "UTC", "standard_conforming_strings": "on"}
_OTHER_FORMS = {"IntervalStyle": "postgres"}


def open_session(parameters: Mapping[str, Any], timing: Timing) -> BoundedConnection:
    """Connect, and set what the service relies on."""
    wanted = {**parameters, "client_encoding": _ENCODING}
    # Without transactions until it is set up.
    connection = BoundedConnection.connect(**wanted, autocommit=True)
    connection.cancel_s = timing.cancel_s
    try:
        _require_encoding(connection)
        _set_up(connection, timing)
    except BaseException:
        connection.close()
        raise
    return connection


def limits_of_transaction(timing: Timing) -> str:
    """Return the statement that limits the transaction it is executed in."""
    return _assignment(_limits(timing) | _OTHER_FORMS, local=True)


def _require_encoding(connection: BoundedConnection) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != _ENCODING:
        raise unusable(
            f"the encoding of the database is {encoding} and must be {_ENCODING}: it is given to "
            "a new database, as by createdb --encoding=UTF8 --template=template0"
        )


def _set_up(connection: BoundedConnection, timing: Timing) -> None:
    query = f"{_assignment(_FORMS)}, pg_backend_pid()"
    [(*_, process)] = connection.execute(query.encode()).fetchall()
    # Behind a pooler another process answers than the connection began with.
    connection.pooled = process != connection.info.backend_pid
    if connection.pooled:
        connection.prepare_threshold = None
        if not _allows_transactions(connection):
            raise unusable(
                "the pooler in front of it has pool_mode statement, which allows no transactions, "
                "and must be set to transaction or session"
            )
    else:
        _limit_session(connection, timing)


def _allows_transactions(connection: BoundedConnection) -> bool:
    try:
        connection.execute(b"BEGIN")
        connection.execute(b"ROLLBACK")
    except ProtocolViolation as error:
        # PgBouncer has one code for all that it refuses, such as to wait any longer.
        if "statement pooling" not in str(error):
            raise
        return False
    return True


def _limit_session(connection: BoundedConnection, timing: Timing) -> None:
    # What whoever runs the service has said, by the URL or PGOPTIONS, counts for limits.
    query = b"SELECT name FROM pg_settings WHERE source = 'client'"
    said = {name for (name,) in connection.execute(query).fetchall()}
    ours = {name: value for name, value in _limits(timing).items() if name not in said}
    connection.execute(_assignment(ours | _OTHER_FORMS).encode())


def _limits(timing: Timing) -> dict[str, str]:
    return {
        "lock_timeout": _milliseconds(timing.lock_s),
        "statement_timeout": _milliseconds(timing.statement_s),
        "idle_in_transaction_session_timeout": _milliseconds(timing.idle_in_transaction_s),
    }


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _assignment(settings: Mapping[str, str], *, local: bool = False) -> str:
    calls = (f"set_config('{name}', '{value}', {local})" for name, value in settings.items())
    return f"SELECT {', '.join(calls)}"
