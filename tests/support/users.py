"""Being somebody without rights, also where the tests run as root."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up root's rights, of which files know none, until the end of the block."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def open_directory() -> Iterator[Path]:
    """Give a directory that everybody may come to; pytest's own are for root alone."""
    with tempfile.TemporaryDirectory(prefix="peermentor-") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)
