"""Fills the tables of a contestant by SQL."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

from sqlalchemy import Column, Connection, DateTime, Engine, Table, text

from bench import dataset

# Well within the time that the service gives a transaction.
_BATCH = 2000


def fill(
    begin: Callable[[], AbstractContextManager[Connection]],
    mentees: Table,
    assignments: Table,
    count: int,
) -> None:
    """Store so many rows, in transactions that `begin` begins."""
    rows = dataset.rows(count)
    while batch := list(islice(rows, _BATCH)):
        with begin() as connection:
            connection.execute(mentees.insert(), _columns_of(mentees, batch))
            connection.execute(assignments.insert(), _columns_of(assignments, batch))


def _columns_of(table: Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = [column for column in table.columns if column.name in rows[0]]
    return [{column.name: _stored(column, row[column.name]) for column in columns} for row in rows]


def _stored(column: Column[Any], value: Any) -> Any:
    if isinstance(column.type, DateTime) and not column.type.timezone and value is not None:
        # A column without a zone holds UTC.
        return value.replace(tzinfo=None)
    return value


def settle(engine: Engine) -> None:
    """Do at once what PostgreSQL does by itself a while after many rows have come."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
