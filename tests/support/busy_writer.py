"""A program that writes to a database until its time is up, or until it is killed.

    python -m support.busy_writer TASK URL FILE SECONDS

It says "ready", waits for a line on standard input, and ends with a line of JSON: how many
writes it made, how many were refused, and how long the slowest took, in seconds. TASK is

- `count`: add one to the number in the name of the mentee `counter`, by reading and writing;
- `count-by-driver`: the same in the transactions that the driver of SQLite makes by itself;
- `add`: add mentees named like FILE, with a number each, and write each into FILE, in a line of
  its own, once it is acknowledged.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pysqlite3 import dbapi2 as sqlite
from sqlalchemy import make_url, select

from peermentor_server.rules.errors import DatabaseUnavailable
from peermentor_server.storage import assignments
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import mentees

COUNTER = "counter"


class Refused(Exception):
    """A write that was not made."""


def _count(database: Database) -> None:
    mine = select(mentees.c.mentee_name).where(mentees.c.mentee_id == COUNTER)
    try:
        with database.write() as connection:
            number = int(connection.execute(mine).scalar_one())
            assignments.name_mentee(connection, "org_03", COUNTER, str(number + 1))
    except DatabaseUnavailable as error:
        raise Refused from error


def _count_by_driver(connection: sqlite.Connection) -> None:
    try:
        [[number]] = connection.execute(
            "SELECT mentee_name FROM mentees WHERE mentee_id = ?", [COUNTER]
        ).fetchall()
        connection.execute(
            "UPDATE mentees SET mentee_name = ? WHERE mentee_id = ?",
            [str(int(number) + 1), COUNTER],
        )
        connection.commit()
    except sqlite.OperationalError as error:
        connection.rollback()
        raise Refused from error


def _adder(database: Database, file: Path) -> Callable[[], None]:
    acknowledged = file.open("a")
    numbers = iter(range(10**9))

    def add() -> None:
        key = f"{file.name}-{next(numbers)}"
        with database.write() as connection:
            assignments.name_mentee(connection, "org_03", key, "Nobody")
        acknowledged.write(f"{key}\n")
        acknowledged.flush()

    return add


def _task(task: str, url: str, file: Path) -> Callable[[], None]:
    if task == "count-by-driver":
        connection = sqlite.connect(str(make_url(url).database), timeout=5)
        return lambda: _count_by_driver(connection)
    database = Database(url)
    return _adder(database, file) if task == "add" else lambda: _count(database)


def main(task: str, url: str, file: str, seconds: str) -> None:
    """Write, and tell."""
    work = _task(task, url, Path(file))
    _say("ready")
    sys.stdin.readline()
    written = refused = 0
    slowest = 0.0
    deadline = time.monotonic() + float(seconds)
    while (began := time.monotonic()) < deadline:
        try:
            work()
            written += 1
        except Refused:
            refused += 1
        slowest = max(slowest, time.monotonic() - began)
    _say(json.dumps({"written": written, "refused": refused, "slowest": slowest}))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
