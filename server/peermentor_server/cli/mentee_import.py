"""Loads names of mentees from a file into the database: all of them, or none."""

from collections.abc import Callable
from pathlib import Path

from peermentor_server.cli import mentee_csv
from peermentor_server.cli.input_files import Problems, in_batches, opened
from peermentor_server.storage.names import NameSpool

# Told what is being done, and how much of that: from 0 to 1.
Progress = Callable[[str, float], None]

# At once in memory.
_BATCH = 2_000


def read(
    file: Path | None,
    encoding: str | None,
    org_id: str | None,
    spool: NameSpool,
    progress: Progress,
) -> int:
    """Bring the names of a file, or of standard input for None, into the spool; count them.

    Raises InvalidFile, which names every row that is refused, once.
    """
    problems = Problems()
    with opened(file) as lines:
        size = lines.seek(0, 2)
        lines.seek(0)
        for rows in in_batches(mentee_csv.read(lines, encoding, org_id), _BATCH):
            spool.add(
                (row.line, row.org_id, row.mentee_id, row.mentee_name)
                for row in rows
                if not row.problem
            )
            problems.add([(row.line, row.problem) for row in rows if row.problem])
            progress("reading", lines.tell() / size)
    problems.add([(line, "mentee_id: is on an earlier line too") for line in spool.repeated()])
    problems.raise_any()
    return spool.count()
