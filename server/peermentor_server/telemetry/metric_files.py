"""The files in which the processes of `serve` keep their metrics, to be read all together.

A process takes a slot, and goes on with the counts of whoever had it before. So there are no
more files than processes at a time, however many come and go. A lock, which ends with the
process, says that a slot is taken.
"""

import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from peermentor_server import file_locks
from peermentor_server.telemetry import metrics


def take_slot(directory: Path) -> None:
    """Keep the metrics of this process in a slot that is free, from now to its end."""
    for number in itertools.count(1):
        # The lock goes with the process: it stays open until then.
        descriptor = os.open(_lock_file(directory, str(number)), os.O_RDWR | os.O_CREAT, 0o600)
        if file_locks.take(descriptor):
            _forget(directory, str(number))
            metrics.keep_in(directory, str(number))
            metrics.current = metrics.Metrics()
            return
        os.close(descriptor)


class Files:
    """A collector of the metrics of all processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._all = MultiProcessCollector(CollectorRegistry(), path=str(directory))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        """Return the sums of counts of all, and what is true of those that live."""
        for name in self._free_slots():
            _forget(self._directory, name)
        found: Iterable[Metric] = self._all.collect()  # type: ignore[no-untyped-call]
        return found

    def _free_slots(self) -> Iterator[str]:
        for file in self._directory.glob("*.lock"):
            descriptor = os.open(file, os.O_RDWR)
            try:
                if file_locks.take(descriptor):
                    yield file.stem
            finally:
                os.close(descriptor)


def _lock_file(directory: Path, name: str) -> Path:
    return directory / f"{name}.lock"


def _forget(directory: Path, name: str) -> None:
    """Remove what was true of a process as long as it lived."""
    with suppress(FileNotFoundError):
        mark_process_dead(name, str(directory))  # type: ignore[no-untyped-call]
