"""The file of a SQLite database, with the log and the index of the log beside it.

Other programs can do to them what SQLite does not notice: what is written to a file that was
removed, or replaced by a backup, would be acknowledged and gone; and of two processes one could
write to the old file and one to the new.
"""

import os
import pwd
import stat
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import ExceptionContext

from peermentor_server.file_identity import FileIdentity
from peermentor_server.rules.errors import DatabaseUnavailable
from peermentor_server.storage.engine import log_owner
from peermentor_server.storage.engine.driver_errors import unusable

_WAL_HEADER, _FRAME_HEADER = 32, 24
_WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
# What SQLite says once it has read what it cannot have written.
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ")


class FileReplaced(Exception):
    """Where a file was, there is another one by now, or none."""

    def __init__(self, path: Path, what_to_do: str) -> None:
        super().__init__(f"{path} was replaced or removed; {what_to_do}")


class FileDamaged(Exception):
    """A file no longer holds what was written to it."""


class OwnFile:
    """Holds the connections of an engine to one file, and to those that SQLite keeps beside it.

    It is the file that `identity` names, or else the one that the first connection opens.
    """

    def __init__(self, path: Path, identity: FileIdentity | None = None) -> None:
        self._path = path
        self._log_file, index = _besides(path)
        # As texts: Path takes several times as long to be looked up.
        self._all = [str(each) for each in (path, self._log_file, index)]
        self._identity = identity
        # SQLite makes them anew when nobody has the database open.
        self._besides: dict[Path, FileIdentity | None] = dict.fromkeys(_besides(path))
        self._connections = 0
        # Of the file and those beside it, when all were there and nothing was wrong.
        self._seen: list[FileIdentity | None] = []
        self._lock = threading.Lock()
        self._loss: Exception | None = None
        self._size = 0

    def remember(self, *_event: object) -> None:
        """Take the files that have just been opened for the ones."""
        with self._lock:
            if self._identity is None:
                self._identity = FileIdentity.of(self._path)
            if self._connections == 0:
                self._besides = {path: FileIdentity.of(path) for path in self._besides}
                self._seen = []
                log_owner.note(self._path, self._log_file)
            self._connections += 1

    def forget(self, *_event: object) -> None:
        """Note that a connection was closed."""
        with self._lock:
            self._connections -= 1

    def prepare(self, *_event: object) -> None:
        """Raise DatabaseUnavailable where a connection could not read and write."""
        self.check()
        if problem := obstacle(self._path):
            raise unusable(problem)

    def check(self, *_event: object) -> None:
        """Raise DatabaseUnavailable when the files are no longer the ones, or not whole."""
        if self._loss is not None:
            raise DatabaseUnavailable from self._loss
        # Every call does this: it looks closer only when something is new.
        if not self._seen or self._seen != [FileIdentity.of(path) for path in self._all]:
            self._check_closely()

    def _check_closely(self) -> None:
        if self._identity is None:
            return
        if FileIdentity.of(self._path) != self._identity:
            raise DatabaseUnavailable from FileReplaced(
                self._path, "put it back, or stop the service before another takes its place"
            )
        with self._lock:
            if self._connections:
                self._check_besides()

    def _check_besides(self) -> None:
        found = {path: FileIdentity.of(path) for path in self._besides}
        for path, was in self._besides.items():
            if was is not None and found[path] != was:
                self._lose(FileReplaced(path, "start the service again"))
        # Of a new database they are made by the first to write.
        self._besides = found
        log_owner.note(self._path, self._log_file)
        self._seen = [self._identity, *found.values()]

    def check_whole(self, connection: Connection) -> None:
        """Raise DatabaseUnavailable when the files are cut off, or can no longer be written."""
        if problem := obstacle(self._path):
            raise unusable(problem)
        version, log = _version(connection), _log(connection)
        damage = self._damage(connection, *log)
        # Had somebody written meanwhile, it would be none. A log that was begun anew may be as
        # long as it was.
        if damage and (version, log) == (_version(connection), _log(connection)):
            self._lose(FileDamaged(f"{damage}; start the service again, or restore a backup"))

    def _damage(self, connection: Connection, in_log: int, copied: int) -> str | None:
        page_size = _value(connection, "page_size")
        pages_size = _value(connection, "page_count") * page_size
        size = _size(self._path)
        # Pages that are in the log alone need not be in the file. It gets smaller by a VACUUM
        # alone, after which there are fewer pages.
        if size < (pages_size if in_log == copied else min(self._size, pages_size)):
            return f"{self._path} was truncated"
        self._size = size
        if in_log and not _holds(self._log_file, in_log, page_size):
            return f"{self._log_file} was truncated or overwritten"
        return None

    def note_event(self, context: ExceptionContext) -> None:
        """Look at an error of an engine's."""
        self.note(context.original_exception)

    def note(self, error: BaseException | None) -> None:
        """Look at an error of the driver's."""
        name = getattr(error, "sqlite_errorname", "")
        if self._connections and name.startswith(_DAMAGED):
            self._loss = FileDamaged(f"{self._path} is damaged ({name}); restore a backup")

    def _lose(self, loss: Exception) -> None:
        # For good: connections of now have what those to come would not.
        self._loss = loss
        raise DatabaseUnavailable from loss


def _version(connection: Connection) -> int:
    """Return another number whenever others have committed since."""
    return int(_value(connection, "data_version"))


def _log(connection: Connection) -> tuple[int, int]:
    """Return how many pages are in the log, and how many of those in the database by now."""
    _, in_log, copied = connection.exec_driver_sql("PRAGMA wal_checkpoint(NOOP)").one()
    return max(0, in_log), max(0, copied)


def _holds(log: Path, pages: int, page_size: int) -> bool:
    """Tell whether a log ends as one of this length does; see "WAL File Format" of SQLite's."""
    try:
        with log.open("rb") as file:
            header = file.read(_WAL_HEADER)
            file.seek(_WAL_HEADER + (pages - 1) * (_FRAME_HEADER + page_size))
            last = file.read(_FRAME_HEADER + page_size)
    except FileNotFoundError:
        return False
    # Every page names the log that it is in, and the last one of a transaction says so.
    is_ours = header[:4] in _WAL_MAGIC and last[8:16] == header[16:24]
    return is_ours and len(last) == _FRAME_HEADER + page_size and any(last[4:8])


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _besides(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]


def _value(connection: Connection, pragma: str) -> Any:
    return connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()


def obstacle(path: Path) -> str | None:
    """Return what keeps this program from reading and writing a database in this file.

    The file need not be there yet. It is not opened: with that, SQLite's locks would be lost.
    """
    try:
        return _obstacle(path) or _log_of_another(path)
    except PermissionError as error:
        return f"{error.filename} cannot be reached by {_name(os.geteuid())}"


def _obstacle(path: Path) -> str | None:
    directory = path.parent
    if not directory.is_dir():
        return f"there is no directory {directory}"
    for each in filter(Path.exists, (path, *_besides(path))):
        if not each.is_file():
            return f"{each} is no file"
        if not _may(each, os.R_OK):
            return f"{each} cannot be read{_why(each)}"
        if not _may(each, os.W_OK):
            return f"{each} cannot be written{_why(each)}"
    if not _may(directory, os.W_OK | os.X_OK):
        return f"no files can be made in {directory}, as SQLite has to{_why(directory)}"
    return None


def _log_of_another(path: Path) -> str | None:
    log, index = _besides(path)
    if not log_owner.is_another(path, log):
        return None
    return (
        f"{log} belongs to another file, which was {path.name} before; put that back, or remove "
        f"{log.name} and {index.name}, which hold its latest writes"
    )


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)


def _why(path: Path) -> str:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return ": its file system is read-only"
    found = path.stat()
    mode = stat.filemode(found.st_mode)
    return f" by {_name(os.geteuid())}: it is {mode} and belongs to {_name(found.st_uid)}"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
