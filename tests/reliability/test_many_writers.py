"""Processes that write one SQLite file: no update is lost, none refused, none waits for long."""

from pathlib import Path

import pytest
from sqlalchemy import select

from peermentor_server.storage import assignments, schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import mentees
from support.busy_writer import COUNTER
from support.torture import either, measured
from support.writers import Report, writing

PROCESSES = 8
SECONDS = either(1.5, 60)
pytestmark = pytest.mark.timeout(either(120, 3600))


def _count(directory: Path, task: str, seconds: float = SECONDS) -> tuple[int, list[Report]]:
    """Let all processes count; return the number they got to, and what each says it did."""
    database = Database(f"sqlite:///{directory}/own.db")
    schema.migrate(database)
    with database.write() as connection:
        assignments.name_mentee(connection, "org_03", COUNTER, "0")
    files = [directory / f"writer_{number}" for number in range(PROCESSES)]
    with writing(task, database.location, files, seconds) as writers:
        reports = [writer.report() for writer in writers]
    with database.read() as connection:
        number = int(connection.execute(select(mentees.c.mentee_name)).scalar_one())
    database.close()
    return number, reports


def test_the_transactions_of_the_driver_lose_updates(tmp_path: Path) -> None:
    """The control: these processes get in each other's way."""
    lost = 0
    for attempt in range(5):
        place = tmp_path / str(attempt)
        place.mkdir()
        number, reports = _count(place, "count-by-driver", either(1.5, 10))
        lost += sum(report.written for report in reports) - number
        if lost:
            break
    assert lost > 0


def test_no_update_is_lost_and_every_process_gets_its_turn(tmp_path: Path) -> None:
    number, reports = _count(tmp_path, "count")
    slowest = max(report.slowest for report in reports)
    measured(f"{PROCESSES} processes, {number} updates in {SECONDS} s, slowest {slowest:.2f} s")
    assert number == sum(report.written for report in reports) > PROCESSES
    # Whoever waits for longer than a writer may is refused.
    assert [report.refused for report in reports] == [0] * PROCESSES
    assert min(report.written for report in reports) > number / PROCESSES / 10, reports
