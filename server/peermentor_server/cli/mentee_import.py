"""Loads names of mentees from a file into the database: all of them, or none."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from peermentor_server.cli import mentee_csv
from peermentor_server.cli.mentee_csv import InvalidFile
from peermentor_server.storage.names import NameSpool

# Told what is being done, and how much of that: from 0 to 1.
Progress = Callable[[str, float], None]

# At once in memory.
_BATCH = 2_000
_MAX_PROBLEMS = 20
T = TypeVar("T")


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
    refused: list[tuple[int, str]] = []
    count = 0
    with _opened(file) as opened:
        size = opened.seek(0, 2)
        opened.seek(0)
        for rows in _batches(mentee_csv.read(opened, encoding, org_id)):
            spool.add(
                (row.line, row.org_id, row.mentee_id, row.mentee_name)
                for row in rows
                if not row.problem
            )
            problems = [(row.line, row.problem) for row in rows if row.problem]
            count += len(problems)
            refused = (refused + problems)[:_MAX_PROBLEMS]
            progress("reading", opened.tell() / size)
    repeated = spool.repeated()
    count += len(repeated)
    refused += [(line, "mentee_id: is on an earlier line too") for line in repeated]
    if count:
        raise InvalidFile(_shortened(sorted(refused), count))
    return spool.count()


@contextmanager
def _opened(file: Path | None) -> Iterator[BinaryIO]:
    """Open what can be read from its start again."""
    try:
        with open(0, "rb", closefd=False) if file is None else file.open("rb") as given:
            if file is not None and given.seekable():
                yield given
                return
            with tempfile.TemporaryFile() as copied:
                shutil.copyfileobj(given, copied)
                yield copied
    except OSError as error:
        what = "standard input" if file is None else file
        raise InvalidFile(f"{what}: {(error.strerror or 'cannot be read').lower()}") from None


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _shortened(problems: list[tuple[int, str]], count: int) -> str:
    told = [f"line {line}: {problem}" for line, problem in problems[:_MAX_PROBLEMS]]
    more = count - len(told)
    return "\n".join([*told, *([f"and {more} more"] if more else [])])
