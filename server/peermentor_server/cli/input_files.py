"""Files that commands read, however long: line by line, and with what is wrong told by line."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

_MAX_PROBLEMS = 20
T = TypeVar("T")


class InvalidFile(Exception):
    """What is wrong with the file, by line; never what stands there."""


@contextmanager
def opened(file: Path | None) -> Iterator[BinaryIO]:
    """Open what can be read from its start again: standard input for None."""
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


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield them in lists of this size, and a shorter one at the end."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class Problems:
    """What is wrong with lines: the first of them in words, and how many there are."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[tuple[int, str]] = []

    def add(self, problems: Sequence[tuple[int, str]]) -> None:
        """Note problems, each with the number of its line."""
        self.count += len(problems)
        self._first = sorted([*self._first, *problems])[:_MAX_PROBLEMS]

    def raise_any(self) -> None:
        """Raise InvalidFile if there are any."""
        if not self.count:
            return
        told = [f"line {line}: {problem}" for line, problem in self._first]
        more = self.count - len(told)
        raise InvalidFile("\n".join([*told, *([f"and {more} more"] if more else [])]))
