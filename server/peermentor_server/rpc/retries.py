"""Runs an RPC again when the database broke it off: a failover, a restart, a deadlock.

Each RPC is a check, one transaction and one message; to run it again is to run it for the
first time. What may have been stored all the same is run again only if that is safe.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from peermentor_server.rules.errors import DatabaseUnavailable
from peermentor_server.storage.engine import deadlines
from peermentor_server.telemetry import metrics

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 0.5

T = TypeVar("T")


def run(work: Callable[[], T], is_repeatable: Callable[[], bool]) -> T:
    """Return what `work` returns, run again until the deadline while that may help."""
    longest = FIRST_PAUSE_S
    while True:
        try:
            return work()
        except DatabaseUnavailable as error:
            # Jitter: calls that failed together do not come back together.
            pause = random.uniform(longest / 2, longest)  # noqa: S311
            if not _may_repeat(error, is_repeatable) or pause >= deadlines.remaining():
                raise
            time.sleep(pause)
            # It is over sooner than was planned when nobody waits for the answer any more.
            if deadlines.remaining() <= 0:
                raise
            metrics.current.retries.inc()
        longest = min(LONGEST_PAUSE_S, longest * 2)


def _may_repeat(error: DatabaseUnavailable, is_repeatable: Callable[[], bool]) -> bool:
    return error.passing and (not error.unknown_outcome or is_repeatable())
