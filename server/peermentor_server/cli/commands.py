"""The commands that use the database. They return what to print, or raise CommandFailed."""

from pathlib import Path
from typing import TypeVar

import structlog

from peermentor_server.cli import mentee_import, sample_data
from peermentor_server.cli.input_files import InvalidFile
from peermentor_server.cli.mentee_import import Progress
from peermentor_server.failures import CommandFailed
from peermentor_server.rules import texts
from peermentor_server.settings import Settings
from peermentor_server.storage import assignments, backup, names, opening

T = TypeVar("T")
_log = structlog.get_logger("peermentor_server")


def migrate(configured: Settings) -> str:
    """Bring the schema of the database up to date."""
    database = opening.open_database(configured)
    opening.migrate(database)
    return f"{database.location} is up to date"


def load_demo(configured: Settings) -> str:
    """Load sample data into an empty database."""
    database = opening.open_database(configured)
    opening.require_schema(database)
    try:
        counts = opening.use(database, lambda: sample_data.load(database))
    except sample_data.NotEmpty:
        raise CommandFailed(
            f"{database.location} holds data already; demo loads only into an empty database"
        ) from None
    return f"loaded {counts[0]} assignments and {counts[1]} templates into {database.location}"


def import_mentees(
    configured: Settings,
    file: Path | None,
    *,
    encoding: str | None,
    org_id: str | None,
    dry_run: bool,
    progress: Progress,
) -> str:
    """Load names of mentees from a CSV file, or from standard input: all of them, or none."""
    database = None if dry_run else opening.open_database(configured)
    new = ""
    if database is not None:
        new = ", a new database" if opening.is_new(database) else ""
        opening.require_schema(database)

    def load() -> int:
        with names.spooled(database) as spool:
            count = mentee_import.read(file, encoding, org_id, spool, progress)
            if database is not None:
                spool.store(lambda done: progress("storing", done))
            return count

    try:
        if database is None:
            return f"dry run, nothing imported; {load()} names could be"
        return f"imported {opening.use(database, load)} names into {database.location}{new}"
    except InvalidFile as invalid:
        raise CommandFailed(f"nothing imported\n{invalid}") from None
    except names.NoRoom as full:
        raise CommandFailed(
            f"nothing imported\ncannot write the names to the temporary directory: {full}; "
            "TMPDIR may name another one"
        ) from None


def forget_mentee(
    configured: Settings, mentee_id: str, org_id: str | None, *, with_assignments: bool
) -> str:
    """Delete a mentee, everywhere or in one organisation: the name, and all else if wanted."""
    database = opening.open_database(configured)
    opening.require_existing(database, configured, "nothing to forget")
    opening.require_schema(database)
    where = f" of {org_id}" if org_id else ""

    def forget() -> int | None:
        with database.erase() as connection:
            return assignments.forget_mentee(
                connection, mentee_id, org_id, with_assignments=with_assignments
            )

    known = texts.identifier_problem(mentee_id) is None
    count = opening.use(database, forget) if known else None
    if count is None:
        raise CommandFailed(
            f"there is no mentee {texts.shown_id(mentee_id)}{where} in {database.location}"
        )
    theirs = f"{count} assignment{'s' * (count > 1)}"
    if count and not with_assignments:
        raise CommandFailed(
            f"nothing forgotten: mentee {mentee_id}{where} has {theirs}; --with-assignments "
            "deletes those too"
        )
    also = f", with {theirs} and the contacts" if count else ""
    return f"forgot mentee {mentee_id}{where}{also} in {database.location}"


def back_up(configured: Settings, file: Path) -> str:
    """Copy a SQLite database into a new file, whoever writes to it meanwhile."""
    database = opening.open_database(configured)
    if database.dialect != "sqlite":
        raise CommandFailed(
            f"{database.location} is backed up by PostgreSQL's own tools: "
            f"pg_dump --format=custom --file={file} (docs/backup.md says more)"
        )
    try:
        counts = opening.use(database, lambda: backup.write(database, file))
    except FileExistsError:
        raise CommandFailed(f"{file} exists already; name a new file") from None
    except OSError as error:
        raise CommandFailed(f"cannot write {file}: {error.strerror}") from None
    except backup.NoRoom:
        raise CommandFailed(f"cannot write {file}: no space left") from None
    except backup.NothingToCopy:
        opening.require_existing(database, configured, "nothing to back up")
        raise CommandFailed(f"{database.location} holds nothing to back up") from None
    except backup.InvalidCopy:
        raise CommandFailed(f"{database.location} is damaged; nothing is backed up") from None
    rows = ", ".join(f"{count} {table}" for table, count in counts.items())
    return f"backed up {database.location} to {file}, and checked it: {rows}"
