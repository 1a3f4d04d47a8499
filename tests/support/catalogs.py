"""What a database says about its own tables, in a form that can be compared."""

import re
from typing import Any

from sqlalchemy import Connection, text

# SQLite has no catalog of constraints: their names stand in the text of CREATE TABLE alone.
_NAMED_CONSTRAINT = re.compile(r"\bCONSTRAINT (\w+)")
_ANY_CONSTRAINT = re.compile(r"\b(?:PRIMARY KEY|FOREIGN KEY|CHECK|UNIQUE)\b")
_AUTOMATIC_KEY = re.compile(r"\bPRIMARY KEY AUTOINCREMENT\b")

_POSTGRESQL_COLUMNS = """
    SELECT table_name, ordinal_position, column_name, data_type, character_maximum_length,
        is_nullable, column_default, is_identity, identity_generation, collation_name
    FROM information_schema.columns WHERE table_schema = 'public'
"""
_POSTGRESQL_CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, contype::text, convalidated,
        pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""
_POSTGRESQL_SEQUENCES = """
    SELECT sequencename, data_type::text, start_value, increment_by, max_value, cycle,
        pg_get_serial_sequence(split_part(sequencename, '_id_seq', 1), 'id')
    FROM pg_sequences WHERE schemaname = 'public'
"""


def describe(connection: Connection) -> dict[str, list[Any]]:
    """Return everything that makes up the schema, without alembic's own table."""
    found = _sqlite(connection) if connection.dialect.name == "sqlite" else _postgresql(connection)
    return {
        part: sorted((row for row in rows if "alembic_version" not in str(row)), key=str)
        for part, rows in found.items()
    }


def constraint_names(connection: Connection) -> set[str]:
    """Return the names of primary keys, foreign keys, checks and unique constraints."""
    if connection.dialect.name == "postgresql":
        # PostgreSQL 18 counts NOT NULL among the constraints, and names it.
        return {name for _, name, kind, *_ in describe(connection)["constraints"] if kind != "n"}
    return {
        name
        for _, _, sql in describe(connection)["objects"]
        for name in _NAMED_CONSTRAINT.findall(sql)
    }


def index_names(connection: Connection) -> set[str]:
    """Return the names of the indexes that were created by themselves."""
    if connection.dialect.name == "postgresql":
        names = {row[0] for row in describe(connection)["indexes"]}
        return names - constraint_names(connection)
    return {name for kind, name, _ in describe(connection)["objects"] if kind == "index"}


def unnamed_constraints(connection: Connection) -> int:
    """Count the constraints in SQLite that have no name, but for its automatic keys."""
    texts = [sql for kind, _, sql in describe(connection)["objects"] if kind == "table"]
    everything = "\n".join(texts)
    return (
        len(_ANY_CONSTRAINT.findall(everything))
        - len(_AUTOMATIC_KEY.findall(everything))
        - len(_NAMED_CONSTRAINT.findall(everything))
    )


def _sqlite(connection: Connection) -> dict[str, list[Any]]:
    objects = _rows(
        connection,
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'",
    )
    found: dict[str, list[Any]] = {
        "objects": [(kind, name, _normalised(sql)) for kind, name, sql in objects]
    }
    for pragma in ("table_xinfo", "index_list", "foreign_key_list"):
        found[pragma] = [
            (name, *row)
            for kind, name, _ in objects
            if kind == "table"
            for row in _rows(connection, f"PRAGMA {pragma}({name})")
        ]
    # The order in which the indexes were made says nothing.
    found["index_list"] = [(table, *row) for table, _, *row in found["index_list"]]
    found["index_xinfo"] = [
        (name, *row)
        for _, name, *_ in found["index_list"]
        for row in _rows(connection, f"PRAGMA index_xinfo({name})")
    ]
    return found


def _normalised(sql: str) -> str:
    """Split CREATE TABLE into its parts; the order of constraints says nothing."""
    flat = " ".join(sql.split())
    if not flat.startswith("CREATE TABLE"):
        return flat
    head, _, body = flat.partition("(")
    parts = [part.strip() for part in re.split(r", (?=\w+ [A-Z]|CONSTRAINT)", body)]
    return "\n".join([head, *sorted(part.removesuffix(" )") for part in parts)])


def _postgresql(connection: Connection) -> dict[str, list[Any]]:
    return {
        "columns": _rows(connection, _POSTGRESQL_COLUMNS),
        "constraints": _rows(connection, _POSTGRESQL_CONSTRAINTS),
        "indexes": _rows(
            connection,
            "SELECT indexname, tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        ),
        "sequences": _rows(connection, _POSTGRESQL_SEQUENCES),
    }


def _rows(connection: Connection, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(sql))]
