"""A program whose threads write to a SQLite database on a recording disk.

    python -m support.recorded_writers DATABASE RECORD SYNCHRONOUS THREADS ROUNDS

Each thread adds names of mentees. In the first half of its rounds it erases every third of
them again, which empties SQLite's log; then the log grows until SQLite itself sees to it. The
events of the disk, with notes of what was acknowledged, are pickled into RECORD.
"""

import pickle
import sys
from functools import partial
from pathlib import Path

from sqlalchemy import delete, event

from peermentor_server.storage import assignments, schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import mentees
from support.disks import RecordingDisk, passing_by
from support.racing import at_once, errors

ERASED_EVERY = 3


def _write(database: Database, disk: RecordingDisk, thread: int, rounds: int) -> None:
    for number in range(rounds):
        key = f"{thread}-{number}"
        with database.write() as connection:
            assignments.name_mentee(connection, "org_03", key, "Nobody " * 20)
        disk.note("added", key)
        if number % ERASED_EVERY == 0 and number < rounds / 2:
            disk.note("erasing", key)
            with database.erase() as connection:
                connection.execute(delete(mentees).where(mentees.c.mentee_id == key))
            disk.note("erased", key)


def main(file: str, record: str, synchronous: str, threads: str, rounds: str) -> None:
    """Write, and store the record."""
    disk = RecordingDisk()
    with passing_by(disk, Path(file).parent):
        database = Database(f"sqlite:///{file}")

        # After the service has prepared the connection in its own way.
        @event.listens_for(database.engine, "connect")
        def prepare(connection: object, _record: object) -> None:
            if synchronous != "as it is":
                connection.execute(f"PRAGMA synchronous={synchronous}").close()  # type: ignore[attr-defined]

        schema.migrate(database)
        writers = (
            partial(_write, database, disk, thread, int(rounds)) for thread in range(int(threads))
        )
        failed = errors(at_once(*writers))
        if failed:
            raise failed[0]
        database.close()
    Path(record).write_bytes(pickle.dumps(disk.events))


if __name__ == "__main__":
    main(*sys.argv[1:])
