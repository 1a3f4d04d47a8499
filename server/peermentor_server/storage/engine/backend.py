"""What is not the same with every database, in one place for each: `sqlite`, `postgresql`."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine


class Backend(Protocol):
    """How `Database` connects, and what its connections begin with."""

    engine: Engine
    reading_engine: Engine
    """The same one, or one of its own for statements that only read."""

    @property
    def file(self) -> Path | None:
        """Where the database is, if it is a file."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Connect for one statement, whose rows are all fetched; translate what a driver raises."""

    def begin_snapshot(self, connection: Connection) -> None:
        """Begin a transaction that only reads, and reads one state."""

    def begin(self, connection: Connection, *, is_patient: bool = False) -> None:
        """Begin a transaction that writes.

        One that `is_patient` waits for the migration of a SQLite file by another program.
        """

    def begin_staging(self, connection: Connection) -> None:
        """Begin one that at first has to do with temporary tables alone."""

    def begin_writing(self, connection: Connection) -> None:
        """Go on to the other tables."""

    def wait_for_migrations(self, connection: Connection) -> None:
        """Keep other programs from migrating until the end of the transaction."""

    def keep_out(self, connection: Connection, tables: Sequence[str]) -> None:
        """Keep all others out of these tables until the end of the transaction.

        Who reads one for long is waited for, and nobody else waits for that.
        """

    def overwrite_erased(self) -> None:
        """See to it that nothing of deleted rows stays behind, once their deletion is stored."""

    def ping(self) -> None:
        """Return when the database answers and can be written; translate what a driver raises."""

    def obstacle(self) -> str | None:
        """Return what keeps this program from the file, which need not be there yet."""

    def damage(self) -> Iterator[str]:
        """Yield what is broken in the file."""

    def close(self) -> None:
        """Close all connections. They are made anew when they are needed."""
