"""Which file it is that a path leads to, as `serve` tells its workers."""

import os
from pathlib import Path
from typing import NamedTuple, Self


class FileIdentity(NamedTuple):
    """A file of this machine, whatever its name: the same until the file is gone."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path | str) -> Self | None:
        """Return that of the file at this path, or None where there is none."""
        try:
            found = os.stat(path)  # noqa: PTH116 - a Path takes several times as long as a text
        except OSError:
            return None
        return cls(found.st_dev, found.st_ino)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what str() returns; raise ValueError for anything else."""
        device, inode = map(int, text.split(":"))
        return cls(device, inode)

    def __str__(self) -> str:
        return f"{self.device}:{self.inode}"
