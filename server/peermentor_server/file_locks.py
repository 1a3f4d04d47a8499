"""Locks of files, which end with the process that has them open."""

import fcntl


def take(descriptor: int) -> bool:
    """Lock an open file; tell whether that was possible, without waiting for others.

    Raises OSError on a file system without such locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
