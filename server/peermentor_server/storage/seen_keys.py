"""Which keys a file has named so far: on the disk, when they are too many for memory."""

import tempfile
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
        with closing(_create()) as keys:
            yield SeenKeys(keys)
    except sqlite.OperationalError as error:
        raise NoRoom(str(error)) from None


def _create() -> Any:
    try:
        # Not a database without a name, which this SQLite would keep in memory.
        with tempfile.NamedTemporaryFile(prefix="peermentor-") as file:
            keys = sqlite.connect(file.name, isolation_level=None)
    except OSError as error:
        raise NoRoom(str(error)) from None
    # By now the file has no name any more, and goes with the process.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
        keys.execute(f"PRAGMA {pragma}")
    keys.execute("CREATE TABLE keys (kind, key, PRIMARY KEY (kind, key)) WITHOUT ROWID")
    keys.execute("BEGIN")
    return keys
