"""Writers of one SQLite file wait for each other in turn.

Left to SQLite, a writer that finds the file taken looks again more and more seldom the longer
it waits: of eight busy processes, one was kept out for seconds. Here it first locks a file
beside the database, and looks again more and more often.

That is for fairness alone. SQLite's own lock still keeps all writers apart, those of other
programs too; so where the lock file cannot be had, a writer goes on without a turn.
"""

import os
import threading
import time
from pathlib import Path
from typing import NoReturn

from peermentor_server import file_locks
from peermentor_server.rules.errors import DatabaseUnavailable
from peermentor_server.telemetry import metrics

# How long a writer sleeps before it looks again: at first, and once it has waited for long.
# The first lets a process that is awake write more than once, which is quicker for all.
_FIRST_PAUSE_S = 0.008
_LAST_PAUSE_S = 0.0005
_LONG_S = 0.2


def lock_file(database: Path) -> Path:
    """Return the file that its writers lock."""
    return database.with_name(f"{database.name}.lock")


class WriteQueue:
    """The writers of one database file: threads of this process, and other processes."""

    def __init__(self, database: Path) -> None:
        # Never the database file: SQLite loses its own locks when the process closes a
        # descriptor of that. What flock has locked is free again when its holder is killed.
        self._file = lock_file(database)
        # Of all threads only one looks at the file.
        self._threads = threading.Lock()
        self._descriptor: int | None = None

    def enter(self, patience_s: float) -> None:
        """Wait for the turn; DatabaseUnavailable when it does not come within `patience_s`."""
        started = time.monotonic()
        try:
            if not self._threads.acquire(timeout=patience_s):
                _give_up()
            try:
                self._descriptor = self._lock(started, patience_s)
            except BaseException:
                self._threads.release()
                raise
        finally:
            metrics.current.write_queue.observe(time.monotonic() - started)

    def leave(self) -> None:
        """End the turn."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        self._threads.release()

    def _lock(self, started: float, patience_s: float) -> int | None:
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            while not file_locks.take(descriptor):
                waited = time.monotonic() - started
                if waited > patience_s:
                    _give_up()
                time.sleep(_pause_s(waited))
        except OSError:
            # A file system without such locks.
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _pause_s(waited: float) -> float:
    return max(_LAST_PAUSE_S, _FIRST_PAUSE_S * (1 - waited / _LONG_S))


def _give_up() -> NoReturn:
    raise DatabaseUnavailable from TimeoutError("other writers of the file did not end in time")
