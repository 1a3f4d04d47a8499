"""When a SQLite file was last backed up: the time of an empty file beside it."""

from contextlib import suppress
from pathlib import Path


def note(database: Path) -> None:
    """Note that a backup of this file was made now."""
    # The copy is good all the same. Who watches will think that it is late, and look.
    with suppress(OSError):
        _noted(database).touch()


def last(database: Path) -> float:
    """Return when one was made, as a Unix time; 0 if none ever was."""
    try:
        return _noted(database).stat().st_mtime
    except OSError:
        return 0


def _noted(database: Path) -> Path:
    return database.with_name(f"{database.name}.backed-up")
