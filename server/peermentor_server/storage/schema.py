"""The schema of a database: how far it is, and how to bring it up to date.

A migration is named by its number: 0002. One that older programs can live with also names the
first migration whose programs can: 0002_for_0001. The name is all that an older program knows of
it, and so decides whether that program goes on, and may be started.
"""

import re
from enum import Enum, auto
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from peermentor_server.storage import rights
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.engine.driver_errors import unusable
from peermentor_server.storage.tables import VERSION_TABLE, mentees, metadata

# The name of the newest migration. Whoever has it needs no alembic, whose import takes a good
# part of a worker's start.
NEWEST = "0001"
_MIGRATIONS = Path(__file__).parent / "migrations"
_NAME = re.compile(r"([0-9]{4})(?:_for_([0-9]{4}))?")


class NewerSchema(Exception):
    """Only a newer program can use this schema; see State.UNKNOWN."""


class State(Enum):
    """How the schema of a database stands to the one this program knows."""

    CURRENT = auto()
    BEHIND = auto()
    NEWER = auto()
    """Written by a newer program, for this one too."""
    UNKNOWN = auto()
    """Written by a newer program: nothing here can say what it means."""


_UP_TO_DATE = {State.CURRENT, State.NEWER}


def state(database: Database) -> State:
    """Compare the schema with the newest migration.

    Raises DatabaseUnavailable where the schema is not the service's, or its role may not use it
    or bring it up to date.
    """
    with database.read() as connection:
        return _state(connection)


def _state(connection: Connection) -> State:
    is_postgresql = connection.dialect.name == "postgresql"
    if is_postgresql:
        rights.require_use(connection)
    found = _compare(_own_revision(connection))
    if is_postgresql and found is State.BEHIND:
        rights.require_change(connection)
    return found


def _compare(revision: str | None) -> State:
    if revision == NEWEST:
        return State.CURRENT
    if revision is not None and _is_for_this_program(revision):
        return State.NEWER
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(_MIGRATIONS)).walk_revisions()
    known = revision is None or revision in {script.revision for script in scripts}
    return State.BEHIND if known else State.UNKNOWN


def number(revision: str) -> str:
    """Return the number of a migration; of two, the higher one is the newer one."""
    return revision.partition("_")[0]


def _is_for_this_program(revision: str) -> bool:
    found = _NAME.fullmatch(revision)
    oldest = found and found[2]
    return oldest is not None and oldest <= number(NEWEST) < number(revision)


def _own_revision(connection: Connection) -> str | None:
    """Return the revision; keep away from what another program has under our names or alembic's."""
    revision = _revision(connection)
    tables = set(inspect(connection).get_table_names()) - {VERSION_TABLE}
    ours = tables & metadata.tables.keys()
    # A file belongs to one program; in a schema of PostgreSQL only our names must be free.
    foreign = (ours or tables) if connection.dialect.name == "sqlite" else ours
    if revision is None and foreign:
        # They may be ours by now: another one of us has migrated since.
        revision = _revision(connection)
    if revision is None and foreign:
        raise unusable(f"the table {min(foreign)} in it is another program's")
    if revision is not None and mentees.name not in ours:
        raise unusable("the schema in it is another program's")
    return revision


def _revision(connection: Connection) -> str | None:
    """Return the newest migration that this database has had, as alembic keeps it."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    query = text(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
    return connection.execute(query).scalar_one_or_none()


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the schema up to date in one transaction, one program at a time.

    One that is newer, and for this program too, is left as it is. Raises NewerSchema for one that
    only a newer program can use.
    """
    if revision == "head" and state(database) in _UP_TO_DATE:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic takes %(name)s for what is to be filled in.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with database.write(is_patient=True) as connection:
        database.backend.wait_for_migrations(connection)
        found = _state(connection)
        if found is State.UNKNOWN:
            raise NewerSchema
        if found is State.NEWER:
            return
        tables = set(inspect(connection).get_table_names()) & metadata.tables.keys()
        database.backend.keep_out(connection, sorted(tables))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
