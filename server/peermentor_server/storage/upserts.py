"""INSERT … ON CONFLICT, which SQLAlchemy has for each database apart."""

from importlib import import_module
from typing import Any

from sqlalchemy import Table


def insert(dialect: str, table: Table) -> Any:
    """Return an INSERT into this table that may go on with `on_conflict_do_update`."""
    # The one that the engine has imported already; the other would take its time.
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
