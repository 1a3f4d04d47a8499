"""The database of the settings, with its schema; CommandFailed says why it cannot be used."""

from collections.abc import Callable
from typing import TypeVar

from peermentor_server.database_url import InvalidUrl
from peermentor_server.failures import CommandFailed
from peermentor_server.file_identity import FileIdentity
from peermentor_server.rules.errors import DomainError, diagnosis
from peermentor_server.settings import Settings
from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.timing import USUAL, Timing

T = TypeVar("T")


def open_database(
    configured: Settings, timing: Timing = USUAL, file_identity: FileIdentity | None = None
) -> Database:
    """Return the database of the settings, to which nothing has connected yet."""
    try:
        return Database(configured.database_url, timing=timing, file_identity=file_identity)
    except InvalidUrl as invalid:
        raise CommandFailed(f"PEERMENTOR_DATABASE_URL: {invalid}") from None


def require_schema(database: Database) -> None:
    """Bring SQLite up to date; on PostgreSQL that is left to `migrate`, at its owner's time.

    A newer schema that is for this program too will do.
    """
    if database.dialect == "sqlite":
        migrate(database)
        return
    state = use(database, lambda: schema.state(database))
    if state is schema.State.UNKNOWN:
        raise CommandFailed(unknown_schema(database))
    if state is schema.State.BEHIND:
        raise CommandFailed(
            f"the schema of {database.location} is out of date; run: peermentor-server migrate "
            "(or make migrate)"
        )


def migrate(database: Database) -> None:
    """Bring the schema up to date."""
    try:
        use(database, lambda: schema.migrate(database))
    except schema.NewerSchema:
        raise CommandFailed(unknown_schema(database)) from None


def is_new(database: Database) -> bool:
    """Tell whether to connect would make the SQLite file."""
    if problem := use(database, database.obstacle):
        raise CommandFailed(f"PEERMENTOR_DATABASE_URL: cannot use {database.location}: {problem}")
    return database.file is not None and not database.file.exists()


def require_existing(database: Database, configured: Settings, what: str) -> None:
    """Refuse to go on where to connect would make a file, which then has nothing of what is meant.

    Else whoever looks there in vain, or erases, would take the wrong file for the right one.
    """
    if is_new(database):
        raise CommandFailed(f"{database.location} holds {what}{_where_from(configured)}")


def _where_from(configured: Settings) -> str:
    """Say why it was looked for here, if that depends on where the command was run."""
    if configured.database_url.startswith("sqlite:////"):
        return ""
    return "; run this where serve runs, or name the file in PEERMENTOR_DATABASE_URL"


def unknown_schema(database: Database) -> str:
    """Say that another version of the program has made this schema."""
    return (
        f"the schema of {database.location} is newer than this program, or older than its first "
        "release"
    )


def use(database: Database, work: Callable[[], T]) -> T:
    """Return what `work` returns; CommandFailed where the database cannot be used."""
    try:
        return work()
    except DomainError as error:
        raise CommandFailed(
            f"PEERMENTOR_DATABASE_URL: cannot use {database.location}: {diagnosis(error)}"
        ) from None
