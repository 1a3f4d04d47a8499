"""Where log lines go: to a file descriptor that may break or fill up, and must stop nothing."""

import os
import select
import threading
from typing import TextIO

from peermentor_server.telemetry import metrics

# How long a line waits for a reader that has fallen behind, in milliseconds.
PATIENCE_MS = 100
# What a pipe that is ready takes without blocking; POSIX promises at least 512 bytes.
_CHUNK = select.PIPE_BUF


class LogOutput:
    """Writes whole lines; leaves out those that nobody takes, and counts them."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLOUT)
        self._patience_ms = PATIENCE_MS
        # One line at a time: what threads write at once would be mixed up.
        self._lock = threading.Lock()
        self.dropped = 0

    def write(self, line: str) -> None:
        """Write a line, unless its reader is gone or does not keep up."""
        data = line.encode("utf-8", "backslashreplace")
        with self._lock:
            self._write(data)

    def _write(self, data: bytes) -> None:
        try:
            for start in range(0, len(data), _CHUNK):
                # Only the first line that finds no room waits for it: calls must go on.
                if not self._ready.poll(self._patience_ms):
                    self._patience_ms = 0
                    self._drop()
                    return
                os.write(self._descriptor, data[start : start + _CHUNK])
            self._patience_ms = PATIENCE_MS
        except OSError:
            self._drop()

    def _drop(self) -> None:
        self.dropped += 1
        metrics.current.log_lines_dropped.inc()

    def flush(self) -> None:
        """Do nothing: what is written is written."""


def output_of(stream: TextIO | None) -> "LogOutput | TextIO | None":
    """Return how to write into this stream; None when there is none, or it is closed."""
    try:
        return None if stream is None else LogOutput(stream.fileno())
    except ValueError:  # io.UnsupportedOperation among them: it is in memory, or closed.
        return None if stream is None or stream.closed else stream
