"""Which keys a file has named so far: on the disk, when they are too many for memory."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from pysqlite3 import dbapi2 as sqlite

_CACHE_KIB = 16_384


class NoRoom(Exception):
    """The temporary directory does not take the keys; the text says why."""


class SeenKeys:
    """A set of keys of several kinds."""

    def __init__(self, keys: Any) -> None:
        self._keys = keys

    def add(self, kind: str, key: object) -> bool:
        """Add a key; tell whether it is new."""
        added = self._keys.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (kind, str(key)))
        return bool(added.rowcount)

    def holds(self, kind: str, key: object) -> bool:
        """Tell whether a key has been added."""
        query = "SELECT 1 FROM keys WHERE kind = ? AND key = ?"
        return self._keys.execute(query, (kind, str(key))).fetchone() is not None


@contextmanager
def seen_keys() -> Iterator[SeenKeys]:
    """Give an empty set."""
    try:
        # A database without a name is in a file without one, which goes with the process.
        with closing(sqlite.connect("", isolation_level=None)) as keys:
            for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
                keys.execute(f"PRAGMA {pragma}")
            keys.execute("CREATE TABLE keys (kind, key, PRIMARY KEY (kind, key)) WITHOUT ROWID")
            keys.execute("BEGIN")
            yield SeenKeys(keys)
    except sqlite.OperationalError as error:
        raise NoRoom(str(error)) from None
