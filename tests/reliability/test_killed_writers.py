"""Writing processes that are killed: what SQLite acknowledged is there, and nobody is held up."""

import random
import time
from pathlib import Path

import pytest
from sqlalchemy import select, text

from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import mentees
from support.torture import either, measured
from support.writers import Writer, writing

PROCESSES = 4
ROUNDS = int(either(2, 100))
pytestmark = pytest.mark.timeout(either(120, 3600))


def _lost(database: Database, writers: list[Writer]) -> set[str]:
    with database.read() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalars().all() == ["ok"]
        found = set(connection.execute(select(mentees.c.mentee_id)).scalars())
    return set().union(*(writer.acknowledged() for writer in writers)) - found


def test_no_acknowledged_write_is_lost(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/own.db")
    schema.migrate(database)
    acknowledged = 0
    for number in range(ROUNDS):
        files = [tmp_path / f"round_{number}_{process}" for process in range(PROCESSES)]
        with writing("add", database.location, files, 60) as writers:
            time.sleep(random.uniform(0.2, 0.6))
            for writer in writers[1:]:
                writer.kill()
            # Whoever held the turn holds nobody up.
            writers[0].wait_for_more()
            writers[0].kill()
            assert _lost(database, writers) == set()
        acknowledged += sum(len(writer.acknowledged()) for writer in writers)
    measured(f"{ROUNDS} times {PROCESSES} writers killed, {acknowledged} writes acknowledged")
    database.close()


def test_a_write_that_is_lost_would_be_seen(tmp_path: Path) -> None:
    """The control of the test above."""
    database = Database(f"sqlite:///{tmp_path}/own.db")
    schema.migrate(database)
    with writing("add", database.location, [tmp_path / "writer"], 60) as [writer]:
        writer.wait_for_more()
        writer.kill()
        with database.write() as connection:
            connection.execute(mentees.delete().where(mentees.c.mentee_id == "writer-0"))
        assert _lost(database, [writer]) == {"writer-0"}
    database.close()
