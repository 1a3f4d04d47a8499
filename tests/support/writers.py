"""Processes that write to one database at the same time; see `busy_writer`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.waiting import wait_until

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Report:
    """What one process did."""

    written: int
    refused: int
    slowest: float
    """How long its slowest write took, in seconds."""


class Writer:
    """One process."""

    def __init__(self, task: str, url: str, file: Path, seconds: float) -> None:
        self._file, self._seconds = file, seconds
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.busy_writer", task, url, str(file), str(seconds)],
            cwd=TESTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        """Return when it can begin."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def begin(self) -> None:
        """Let it write."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def report(self) -> Report:
        """Wait for its end."""
        output, _ = self.process.communicate(timeout=self._seconds + 60)
        assert self.process.returncode == 0
        return Report(**json.loads(output))

    def kill(self) -> None:
        """End it at once; nothing is tidied up."""
        self.process.kill()
        self.process.communicate()

    def acknowledged(self) -> set[str]:
        """Return the mentees that it has been told are stored."""
        if not self._file.exists():
            return set()
        # A last line without its end was being written when it was killed.
        return set(self._file.read_text().rpartition("\n")[0].split())

    def wait_for_more(self) -> None:
        """Return when it has been told of more writes, begun after this call."""
        before = len(self.acknowledged())
        wait_until(lambda: len(self.acknowledged()) > before + 1, 20)


@contextmanager
def writing(task: str, url: str, files: list[Path], seconds: float) -> Iterator[list[Writer]]:
    """Let a process for each file write from now on; all of them end with the block."""
    writers = [Writer(task, url, file, seconds) for file in files]
    try:
        for writer in writers:
            writer.wait_until_ready()
        for writer in writers:
            writer.begin()
        yield writers
    finally:
        for writer in writers:
            if writer.process.poll() is None:
                writer.kill()
            for pipe in (writer.process.stdin, writer.process.stdout):
                assert pipe is not None
                pipe.close()
