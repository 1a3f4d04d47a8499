"""Until when the database may be worked with.

Who answers a call says so once, and every statement under it keeps to it. Work without a
deadline, such as a migration, takes as long as it takes.

In an event loop nothing is waited for at all: every other call would wait along.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from peermentor_server.rules.errors import DatabaseUnavailable


class Deadline:
    """A moment that may come sooner than was planned."""

    def __init__(self, seconds: float) -> None:
        """Plan it for as many seconds from now."""
        self._at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return how many seconds are left: below zero when it has passed."""
        return self._at - time.monotonic()

    def end(self) -> None:
        """Let it be over, such as when nobody waits for the answer any more."""
        self._at = -math.inf


class Soonest(Deadline):
    """The soonest of several, whichever that is by then: any of them may be ended."""

    def __init__(self, several: Sequence[Deadline]) -> None:
        self._several = several

    def remaining(self) -> float:
        """See Deadline."""
        return min(each.remaining() for each in self._several)


class WouldWait(Exception):
    """Work in an event loop that would have to wait: it is to be done in a thread."""


_deadline: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def keep_to(deadline: Deadline) -> None:
    """Keep to this deadline in all that happens in this context from now on."""
    _deadline.set(deadline)


@contextmanager
def until(deadline: Deadline) -> Iterator[None]:
    """Keep to this deadline in all that happens in the block."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let the database take this long, from now, for all that happens in the block."""
    with until(Deadline(seconds)):
        yield


def remaining() -> float:
    """Return how many seconds are left: below zero when late, infinite without a deadline."""
    deadline = _deadline.get()
    return math.inf if deadline is None else deadline.remaining()


def refuse_late() -> None:
    """Raise DatabaseUnavailable when the deadline has passed.

    Such as when this process has stood still: the caller has asked another one meanwhile, and
    gone on, and what is stored now could undo that.
    """
    if remaining() <= 0:
        raise DatabaseUnavailable from TimeoutError("the deadline has passed")


def may_wait() -> bool:
    """Tell whether this thread may wait: it runs no event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False
