"""INSERT … ON CONFLICT, which SQLAlchemy has for each database apart."""

from importlib import import_module
from typing import Any

from sqlalchemy import ColumnElement, Table, case

from peermentor_server.storage.tables import mentees


def insert(dialect: str, table: Table) -> Any:
    """Return an INSERT into this table that may go on with `on_conflict_do_update`."""
    # The one that the engine has imported already; the other would take its time.
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


def renaming(statement: Any, name: ColumnElement[str]) -> Any:
    """Let an INSERT of mentees rename those who are there; another name moves its version."""
    moved = case((mentees.c.mentee_name == name, 0), else_=1)
    return statement.on_conflict_do_update(
        index_elements=["mentee_id", "org_id"],
        set_={"mentee_name": name, "name_version": mentees.c.name_version + moved},
    )
