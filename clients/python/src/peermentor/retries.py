"""When a call that failed is made again.

Only calls that are safe to repeat are: those that change nothing, those whose repetition
changes nothing more, and those that carry a request id by which the server knows them again.
"""

import random
import time
from dataclasses import dataclass, field

from peermentor.errors import PeermentorError, ResourceExhausted, Unavailable

DEFAULT_TIMEOUT = 10.0
DEFAULT_RETRIES = 4
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 2.0


@dataclass(slots=True)
class Schedule:
    """The attempts of one call, which share its deadline; `made` counts those that failed."""

    timeout: float
    retries: int
    made: int = 0
    _started: float = field(default_factory=time.monotonic)

    def remaining(self) -> float:
        """Return how many seconds are left for an attempt."""
        return max(0.001, self._started + self.timeout - time.monotonic())

    def pause_after(self, error: PeermentorError) -> float | None:
        """Return for how many seconds to wait before the next attempt; None to give up."""
        self.made += 1
        busy = isinstance(error, ResourceExhausted) and error.retry_after is not None
        if self.made > self.retries or not (busy or isinstance(error, Unavailable)):
            return None
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self.made - 1))
        # Jitter: callers that failed together do not come back together.
        pause = (error.retry_after or 0) + random.uniform(longest / 2, longest)  # noqa: S311
        return pause if pause < self.remaining() else None
