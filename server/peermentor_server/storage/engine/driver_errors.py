"""What a driver raises, as an error of the domain: without SQL, and without values.

The codes are SQLSTATEs, from the appendix "PostgreSQL Error Codes" of its manual.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import exc

from peermentor_server.rules.errors import DatabaseUnavailable, InternalFault

READ_ONLY_SERVER = "25006"
UNCONFIRMED_COMMIT = "40003"  # statement_completion_unknown
_PASSING = {
    READ_ONLY_SERVER,
    UNCONFIRMED_COMMIT,
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "53300",  # too_many_connections
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
}
# A commit that fails with these is certain to have stored nothing.
_UNDONE = {"40001", "40P01"}


@dataclass(slots=True)
class Progress:
    """How far a connection and its transaction are."""

    connected: bool = False
    committing: bool = False


@contextmanager
def translated(*, connected: bool = False) -> Iterator[Progress]:
    """Raise DatabaseUnavailable or InternalFault for what a driver raises in the block."""
    progress = Progress(connected)
    try:
        yield progress
    except Exception as error:
        raise_translated(error, progress)
        raise


def raise_translated(error: BaseException | None, progress: Progress) -> None:
    """Raise what stands for an error of the driver's; return for any other."""
    if isinstance(error, ValueError):
        # Of a value that cannot be encoded or read, which its text shows. Where it happened is
        # safe to tell.
        cause = DriverError(type(error).__name__).with_traceback(error.__traceback__)
        raise InternalFault(str(cause)) from cause
    if isinstance(error, exc.DBAPIError | exc.TimeoutError):
        cause = _without_values(error, progress)
        if _is_outage(error):
            raise _unavailable(error, progress) from cause
        raise InternalFault(str(cause)) from cause


def _unavailable(
    error: exc.DBAPIError | exc.TimeoutError, progress: Progress
) -> DatabaseUnavailable:
    code = getattr(getattr(error, "orig", None), "sqlstate", None)
    return DatabaseUnavailable(
        passing=_is_passing(error, code),
        # Until COMMIT has been sent, nothing is stored that the server has not been told to.
        unknown_outcome=progress.committing and code not in _UNDONE,
    )


def _is_passing(error: exc.DBAPIError | exc.TimeoutError, code: str | None) -> bool:
    """Tell whether the same transaction may well succeed a moment later.

    Only PostgreSQL's may: SQLite has waited for its lock already, and the pool for a connection.
    """
    if isinstance(error, exc.TimeoutError) or hasattr(error.orig, "sqlite_errorname"):
        return False
    if code is None:
        # Of the connection, not of a statement: refused, broken, or too slow to come about.
        return isinstance(error, exc.OperationalError)
    return code in _PASSING or code.startswith("08")


def _is_outage(error: exc.DBAPIError | exc.TimeoutError) -> bool:
    if isinstance(error, exc.TimeoutError) or error.connection_invalidated:
        return True
    # SQLite's word for a statement that is wrong, which PostgreSQL calls a ProgrammingError.
    if getattr(error.orig, "sqlite_errorname", None) == "SQLITE_ERROR":
        return False
    return isinstance(error, exc.OperationalError | exc.InterfaceError)


class UnusableDatabase(Exception):
    """What the service needs of a database and does not find, or may not do there."""


def unusable(what: str) -> DatabaseUnavailable:
    """Return the error for a database that the service cannot work with, for this reason."""
    error = DatabaseUnavailable()
    error.__cause__ = UnusableDatabase(what)
    return error


class DriverError(Exception):
    """What is safe to log of a driver's error: its type, its code and no values."""


def _without_values(error: exc.SQLAlchemyError, progress: Progress) -> DriverError:
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    name = f"{type(original).__name__} {code or ''}".strip()
    # Only then does the text tell of the connection alone, where it failed and why. Later on it
    # may hold what was written, or read: rows that are fetched belong to no statement either.
    connecting = not progress.connected and getattr(error, "statement", "") is None
    return DriverError(f"{name}: {str(original).splitlines()[0]}" if connecting else name)
