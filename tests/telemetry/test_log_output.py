"""Lines of the log, from whichever thread they come."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from peermentor_server.telemetry.log_output import LogOutput
from support.moves import Moves
from support.racing import at_once, errors

LINES, THREADS = 300, 4


@contextmanager
def _read_lines() -> Iterator[tuple[LogOutput, list[str]]]:
    """Give an output, and the lines that come out of it once the block has ended."""
    source, target = os.pipe()
    lines: list[str] = []

    def read() -> None:
        with os.fdopen(source, encoding="utf-8") as file:
            lines.extend(file)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield LogOutput(target), lines
    finally:
        os.close(target)
        reader.join()


def test_lines_that_threads_write_at_once_are_all_there_and_whole() -> None:
    """Longer ones than a pipe takes at once, too."""

    def write(number: int) -> None:
        for count in range(LINES):
            output.write(f"{number} {'x' * (5000 if count % 50 == 0 else 80)} end\n")

    with _read_lines() as (output, lines):
        done = at_once(*(lambda number=number: write(number) for number in range(THREADS)))
        assert errors(done) == []
    assert output.dropped == 0
    assert len(lines) == THREADS * LINES
    assert all(line.endswith(" end\n") and line.count(" ") == 2 for line in lines)


def test_lines_that_nobody_takes_are_counted() -> None:
    source, target = os.pipe()
    os.close(source)
    output, moves = LogOutput(target), Moves()
    for _ in range(3):
        output.write("a line\n")
    os.close(target)
    assert output.dropped == moves.of("peermentor_log_lines_dropped_total") == 3
