"""What is looked at every second for the metrics, because nothing tells when it changes."""

import asyncio
import os
import resource
from pathlib import Path

from peermentor_server.storage import backup_times
from peermentor_server.storage.engine.database import Database
from peermentor_server.telemetry import metrics
from peermentor_server.timing import USUAL, Timing

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Samples:
    """Samples of this process and its database."""

    def __init__(self, database: Database, timing: Timing = USUAL) -> None:
        self._database, self._every_s = database, timing.sample_every_s

    async def watch(self) -> None:
        """Take them until cancelled."""
        while True:
            self.take()
            await asyncio.sleep(self._every_s)

    def take(self) -> None:
        """Take each once."""
        current = metrics.current
        current.in_flight.set(current.running)
        current.connections.set(self._database.connections_in_use())
        used = resource.getrusage(resource.RUSAGE_SELF)
        current.cpu.set(used.ru_utime + used.ru_stime)
        current.memory.set(_memory_bytes())
        if (file := self._database.file) is not None:
            current.backup.set(backup_times.last(file))
            current.file_bytes.labels("database").set(_size(file))
            current.file_bytes.labels("wal").set(_size(file.with_name(f"{file.name}-wal")))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _memory_bytes() -> int:
    """Return how much memory this process has now; only Linux tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
