"""Files with names of people in them: their owner's alone, and whole or not there."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(file: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a file to write that gets its name at the end of the block, when it is on the disk.

    Raises FileExistsError unless one of this name is to be replaced, or OSError where none can be
    written. What is broken off leaves nothing behind, unless it is killed.
    """
    if file.exists() and not replace:
        raise FileExistsError
    # Its owner's alone. In the same directory, since it is to be renamed.
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
    part = Path(name)
    try:
        yield part
        os.fsync(descriptor)
        _rename(part, file, replace=replace)
    finally:
        os.close(descriptor)
        part.unlink(missing_ok=True)


def _rename(part: Path, file: Path, *, replace: bool) -> None:
    if not replace:
        # The name is taken first: a rename alone would replace a file that is there by now.
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    part.replace(file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
