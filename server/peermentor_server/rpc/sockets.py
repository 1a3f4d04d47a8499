"""The Unix socket of a worker, in a directory that is open to this user alone.

A worker listens at a path of its own. Once it serves, it lets the path that the gateway knows
lead there, so that there is no moment without one who listens while it takes another's place.
"""

import os
from pathlib import Path


def own(known: Path) -> Path:
    """Return where this process listens, who is to be found at the path that is known."""
    return known.with_name(f"{known.name}.{os.getpid()}")


def take_over(known: Path) -> None:
    """Let whoever connects to the path that is known come to this process."""
    former, socket = known.resolve(), own(known)
    link = socket.with_name(f"{socket.name}.new")
    link.symlink_to(socket.name)
    link.rename(known)
    # Connections that there are stay with the predecessor. One that was killed leaves its socket.
    if former not in (known, socket):
        former.unlink(missing_ok=True)
