"""The commands that use the database. They return what to print, or raise CommandFailed."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

from peermentor_server import demo, mentee_import
from peermentor_server.database_url import InvalidUrl
from peermentor_server.failures import CommandFailed
from peermentor_server.mentee_file import InvalidFile
from peermentor_server.mentee_import import Progress
from peermentor_server.rules import texts
from peermentor_server.rules.errors import DomainError, reason
from peermentor_server.settings import Settings
from peermentor_server.storage import assignments, backup, names, schema
from peermentor_server.storage.database import Database

T = TypeVar("T")
_log = structlog.get_logger("peermentor_server")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# How long the gateway, or whoever else asks for our health, has to see that we leave. Several
# of its checks go by in that time.
DRAIN_S = 1.0
# How often a worker says that it is well.
PULSE_S = 1.0
# How long calls may go on once the server has been told to stop.
STOP_GRACE_S = 10


def serve_grpc(configured: Settings, *, pulse_fd: int | None = None) -> None:
    """Run the gRPC server until SIGTERM, before which it drains, or SIGINT.

    As a worker it is given `pulse_fd`, where it tells every second that it serves; it then
    shares its port with the worker that it may replace.
    """
    # Imported here, since the other commands do without gRPC.
    from peermentor_server.app import App, PortTaken

    database = _open(configured)
    _require_schema(database)
    # Blocked in this thread and all that it starts, the signals wait for sigwait below:
    # a handler could run in a thread of gRPC's, and leave this one asleep.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    app = App(configured, database, share_port=pulse_fd is not None)
    try:
        app.start()
    except PortTaken as taken:
        raise CommandFailed(f"PEERMENTOR_GRPC_ADDRESS: {taken}") from None
    _log.info("serving", address=str(configured.grpc_address), database=database.location)
    if pulse_fd is not None:
        threading.Thread(target=_beat, args=[pulse_fd], name="pulse", daemon=True).start()
    if signal.sigwait(STOP_SIGNALS) == signal.SIGTERM:
        _log.info("draining")
        app.drain()
        time.sleep(DRAIN_S)
    _log.info("stopping")
    app.stop(STOP_GRACE_S)
    database.close()
    _end_hanging_threads()


def _beat(pulse_fd: int) -> None:
    # Nobody reads while the parent itself is held up, or has been killed: what does not fit is
    # not missed.
    os.set_blocking(pulse_fd, False)
    while True:
        with contextlib.suppress(OSError):
            os.write(pulse_fd, b".")
        time.sleep(PULSE_S)


def _end_hanging_threads() -> None:
    """Leave even while a call hangs in a database that does not answer.

    Python itself would wait for the call's thread for as long as it takes.
    """
    main = threading.main_thread()
    others = [each for each in threading.enumerate() if each is not main and not each.daemon]
    deadline = time.monotonic() + 1
    for thread in others:
        thread.join(max(0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        _log.warning("leaving calls unfinished")
        os._exit(0)


def migrate(configured: Settings) -> str:
    """Bring the schema of the database up to date."""
    database = _open(configured)
    _migrate(database)
    return f"{database.location} is up to date"


def load_demo(configured: Settings) -> str:
    """Load sample data into an empty database."""
    database = _open(configured)
    _require_schema(database)
    try:
        counts = _with_database(database, lambda: demo.load(database))
    except demo.NotEmpty:
        raise CommandFailed(
            f"{database.location} holds data already; demo loads only into an empty database"
        ) from None
    return f"loaded {counts[0]} assignments and {counts[1]} templates into {database.location}"


def import_mentees(
    configured: Settings,
    file: Path | None,
    *,
    encoding: str | None,
    dry_run: bool,
    progress: Progress,
) -> str:
    """Load names of mentees from a CSV file, or from standard input: all of them, or none."""
    database = None if dry_run else _open(configured)
    new = ""
    if database is not None:
        new = ", a new database" if _is_new(database) else ""
        _require_schema(database)

    def load() -> int:
        with names.spooled(database) as spool:
            count = mentee_import.read(file, encoding, spool, progress)
            if database is not None:
                spool.store(lambda done: progress("storing", done))
            return count

    try:
        if database is None:
            return f"nothing imported, as asked for; {load()} names could be"
        return f"imported {_with_database(database, load)} names into {database.location}{new}"
    except InvalidFile as invalid:
        raise CommandFailed(f"nothing imported\n{invalid}") from None
    except names.NoRoom as full:
        raise CommandFailed(
            f"nothing imported\nthe temporary directory does not take the names: {full}; "
            "TMPDIR may name another one"
        ) from None


def forget_mentee(configured: Settings, mentee_id: str) -> str:
    """Delete the name of a mentee who has no assignment."""
    database = _open(configured)
    if _is_new(database):
        # To connect would make one, and whoever erases a person would believe the name gone.
        raise CommandFailed(f"{database.location} holds nothing to forget{_where_from(configured)}")
    _require_schema(database)
    known = texts.identifier_problem(mentee_id) is None
    count = _with_database(database, lambda: _forget(database, mentee_id)) if known else None
    if count is None:
        raise CommandFailed(
            f"there is no mentee {texts.shown_id(mentee_id)} in {database.location}"
        )
    if count:
        raise CommandFailed(
            f"nothing forgotten: mentee {mentee_id} has {count} assignment{'s' * (count > 1)}; "
            "the name goes when the last one is deleted"
        )
    return f"forgot mentee {mentee_id} in {database.location}"


def _forget(database: Database, mentee_id: str) -> int | None:
    with database.erase() as connection:
        return assignments.forget_mentee(connection, mentee_id)


def back_up(configured: Settings, file: Path) -> str:
    """Copy a SQLite database into a new file, whoever writes to it meanwhile."""
    database = _open(configured)
    if database.dialect != "sqlite":
        raise CommandFailed(
            f"{database.location} is backed up by PostgreSQL's own tools: "
            f"pg_dump --format=custom --file={file} (docs/backup.md says more)"
        )
    try:
        counts = _with_database(database, lambda: backup.write(database, file))
    except FileExistsError:
        raise CommandFailed(f"{file} is there already; name a file that is not") from None
    except OSError as error:
        raise CommandFailed(f"cannot write {file}: {error.strerror}") from None
    except backup.NoRoom:
        raise CommandFailed(f"cannot write {file}: no space left") from None
    except backup.NothingToCopy:
        raise CommandFailed(
            f"{database.location} holds nothing to back up{_where_from(configured)}"
        ) from None
    except backup.InvalidCopy:
        raise CommandFailed(f"{database.location} is damaged; nothing is backed up") from None
    rows = ", ".join(f"{count} {table}" for table, count in counts.items())
    return f"backed up {database.location} to {file}, and checked it: {rows}"


def _where_from(configured: Settings) -> str:
    """Say why it was looked for here, if that depends on where the command was run."""
    if configured.database_url.startswith("sqlite:////"):
        return ""
    return "; run this where serve runs, or name the file in PEERMENTOR_DATABASE_URL"


def _open(configured: Settings) -> Database:
    try:
        return Database(configured.database_url)
    except InvalidUrl as invalid:
        raise CommandFailed(f"PEERMENTOR_DATABASE_URL: {invalid}") from None


def _is_new(database: Database) -> bool:
    """Tell whether to connect would make the SQLite file."""
    if problem := _with_database(database, database.obstacle):
        raise CommandFailed(f"PEERMENTOR_DATABASE_URL: cannot use {database.location}: {problem}")
    return database.file is not None and not database.file.exists()


def _require_schema(database: Database) -> None:
    """Bring SQLite up to date; on PostgreSQL that is left to `migrate`, at its owner's time."""
    if database.dialect == "sqlite":
        _migrate(database)
        return
    state = _with_database(database, lambda: schema.state(database))
    if state is schema.State.UNKNOWN:
        raise _newer(database)
    if state is schema.State.BEHIND:
        raise CommandFailed(
            f"the schema of {database.location} is behind; run: peermentor-server migrate "
            "(or make migrate)"
        )


def _migrate(database: Database) -> None:
    try:
        _with_database(database, lambda: schema.migrate(database))
    except schema.NewerSchema:
        raise _newer(database) from None


def _newer(database: Database) -> CommandFailed:
    return CommandFailed(f"the schema of {database.location} is newer than this program")


def _with_database(database: Database, work: Callable[[], T]) -> T:
    try:
        return work()
    except DomainError as error:
        raise CommandFailed(
            f"PEERMENTOR_DATABASE_URL: cannot use {database.location}: {reason(error)}"
        ) from None
