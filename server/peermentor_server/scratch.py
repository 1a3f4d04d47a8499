"""A directory for files that are needed while a process runs, which clears up after others.

A process that is killed leaves its directory behind; the next one to need a directory removes
it. Whoever has one holds a lock on it, which ends with the process. (The lock also keeps
systemd-tmpfiles from removing what has lain there for days.)
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from peermentor_server.failures import CommandFailed

_PREFIX = "peermentor-run-"


@contextmanager
def directory() -> Iterator[Path]:
    """Make a directory of this process's own, for as long as the block lasts."""
    try:
        _remove_left_behind(Path(tempfile.gettempdir()))
        own, lock = _make()
    except OSError as error:
        raise CommandFailed(
            f"there is no directory for temporary files: {error.strerror}; "
            "TMPDIR may name one that can be written to"
        ) from None
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(lock)


def _make() -> tuple[Path, int]:
    """Return a new directory and the lock on it."""
    while True:
        own = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = os.open(own, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Before it was locked, another process may have taken it for left behind.
        if own.exists():
            return own, lock
        os.close(lock)


def _remove_left_behind(parent: Path) -> None:
    # As mkdtemp names them.
    for each in parent.glob(f"{_PREFIX}????????"):
        # Such as another user's, or one that is in use.
        with suppress(OSError):
            _remove_unlocked(each)


def _remove_unlocked(left: Path) -> None:
    lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
    finally:
        os.close(lock)
