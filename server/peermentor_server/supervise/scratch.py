"""A directory for files that are needed while a process runs, which clears up after others.

A process that is killed leaves its directory behind; the next one to need a directory removes
it. Whoever has one holds a lock on it, which ends with the process. (The lock also keeps
systemd-tmpfiles from removing what has lain there for days.)
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from peermentor_server import file_locks
from peermentor_server.failures import CommandFailed

_PREFIX = "peermentor-run-"
# 107 bytes are what Linux takes; a worker adds its process id.
_LONGEST_SOCKET = 107 - len(".4194304")


class Unwritable(CommandFailed):
    """There is no place for temporary files."""

    @classmethod
    def of(cls, path: Path, error: OSError) -> Self:
        """Say what cannot be written, and what can be done."""
        return cls(f"cannot write {path}: {error.strerror}; TMPDIR may name another directory")


@contextmanager
def directory() -> Iterator[Path]:
    """Make a directory of this process's own, for as long as the block lasts."""
    try:
        parent = Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise Unwritable(
            "no directory for temporary files can be written to; name one in TMPDIR"
        ) from None
    try:
        _remove_left_behind(parent)
        own, lock = _make()
    except OSError as error:
        raise Unwritable.of(parent, error) from None
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(lock)


def socket(parent: Path, name: str) -> Path:
    """Return the path of a socket in such a directory; raise Unwritable if it is too long."""
    path = parent / name
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        too_long = OSError(errno.ENAMETOOLONG, "its path is too long for a socket")
        raise Unwritable.of(path, too_long)
    return path


def _make() -> tuple[Path, int]:
    """Return a new directory and the lock on it."""
    while True:
        own = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Before it is locked, another process may take it for left behind.
        with suppress(FileNotFoundError):
            lock = os.open(own, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
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
        if os.fstat(lock).st_uid == os.geteuid() and file_locks.take(lock):
            shutil.rmtree(left)
    finally:
        os.close(lock)
