"""Until when a thread may wait for the database.

Who answers a call says so once, and every statement under it keeps to it. Work without a
deadline, such as a migration, takes as long as it takes.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let the database take this long, from now, for all that happens in the block."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining() -> float:
    """Return how many seconds are left: below zero when late, infinite without a deadline."""
    return _deadline.get() - time.monotonic()
