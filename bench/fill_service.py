"""Fills the service's own tables: python -m bench.fill_service DATABASE_URL ROWS

Runs with the service's Python, whose tables know how they store what.
"""

import sys

from bench.filling import fill, settle
from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import assignments, mentees


def fill_service(url: str, count: int) -> None:
    """Bring the schema of an empty database up to date, and store so many rows in it."""
    database = Database(url)
    try:
        schema.migrate(database)
        fill(database.write, mentees, assignments, count)
        settle(database.engine)
    finally:
        database.close()


if __name__ == "__main__":
    fill_service(sys.argv[1], int(sys.argv[2]))
