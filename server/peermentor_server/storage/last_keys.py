"""The last keys that were given out: none of them is given again, whatever is deleted.

Functions take a connection of `Database.snapshot()` or `Database.write()`.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, text

from peermentor_server.storage import rights
from peermentor_server.storage.tables import assignments, contacts, templates

KEYED = tuple(table.name for table in (assignments, contacts, templates))

_OF_SQLITE = text("SELECT name, seq FROM sqlite_sequence")
_RAISE_SQLITE = text("UPDATE sqlite_sequence SET seq = :last WHERE name = :name")
_BEGIN_SQLITE = text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)")
_SEQUENCE = "CAST(pg_get_serial_sequence(:name, 'id') AS regclass)"
_OF_POSTGRESQL = text(f"SELECT pg_sequence_last_value({_SEQUENCE})")
_RAISE_POSTGRESQL = text(f"SELECT setval({_SEQUENCE}, :last)")
# An INSERT has locked the table before it takes a key: meanwhile nobody takes one.
_KEEP_OTHERS_OUT = text(f"LOCK TABLE {', '.join(KEYED)} IN SHARE ROW EXCLUSIVE MODE")


def read(connection: Connection) -> dict[str, int]:
    """Return the last key of each table, 0 where none was given."""
    if connection.dialect.name == "sqlite":
        found = {row.name: row.seq for row in connection.execute(_OF_SQLITE)}
        return {name: found.get(name, 0) for name in KEYED}
    return {
        name: connection.execute(_OF_POSTGRESQL, {"name": name}).scalar_one() or 0 for name in KEYED
    }


def raise_to(connection: Connection, last: Mapping[str, int]) -> None:
    """See to it that these keys, and all before them, are not given out from now on."""
    if not _lower(connection, last):
        return
    if connection.dialect.name == "sqlite":
        for name in _lower(connection, last):
            raised = {"name": name, "last": last[name]}
            if not connection.execute(_RAISE_SQLITE, raised).rowcount:
                connection.execute(_BEGIN_SQLITE, raised)
        return
    rights.require_setting_keys(connection)
    connection.execute(_KEEP_OTHERS_OUT)
    for name in _lower(connection, last):
        connection.execute(_RAISE_POSTGRESQL, {"name": name, "last": last[name]})


def _lower(connection: Connection, last: Mapping[str, int]) -> list[str]:
    return [name for name, found in read(connection).items() if found < last[name]]
