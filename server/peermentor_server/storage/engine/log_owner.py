"""Whose log it is that lies beside a database file of SQLite's.

A log does not say so itself. SQLite would write it into whatever file it finds beside it, such as
a backup that took the place of another file, and ruin that. So the inodes of both are noted in the
file that writers lock. (Not the devices: after a restart of the machine they may be others.)
"""

import contextlib
import os
import re
from pathlib import Path

from peermentor_server.file_identity import FileIdentity
from peermentor_server.storage.engine.write_queue import lock_file

_NOTE = re.compile(rb"(\d{20}) (\d{20})\n")


def note(database: Path, log: Path) -> None:
    """Remember that this is its log."""
    owner, own = FileIdentity.of(database), FileIdentity.of(log)
    if owner is None or own is None:
        return
    # Without the note a start is as safe as with SQLite alone.
    with contextlib.suppress(OSError):
        descriptor = os.open(lock_file(database), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, b"%020d %020d\n" % (owner.inode, own.inode), 0)
        finally:
            os.close(descriptor)


def is_another(database: Path, log: Path) -> bool:
    """Tell whether the log is that of a file which was at this path before.

    When both are others than was noted, they came together, such as by copying a directory.
    """
    try:
        noted = _NOTE.fullmatch(lock_file(database).read_bytes())
    except OSError:
        return False
    own = FileIdentity.of(log)
    if noted is None or own is None or own.inode != int(noted[2]) or log.stat().st_size == 0:
        return False
    owner = FileIdentity.of(database)
    return owner is None or owner.inode != int(noted[1])
