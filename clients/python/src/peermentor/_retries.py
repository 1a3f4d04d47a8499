"""Decides when a failed call is repeated.

Only calls that are safe to repeat are repeated: those that change nothing, and those with a key by
which the server recognises them. Other calls are repeated only if their caller gives `retries`.
"""

import random
import time
from dataclasses import dataclass, field

from peermentor._errors import (
    PeermentorError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Untrusted,
)

DEFAULT_TIMEOUT = 10.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 2.0
LAST_ATTEMPT = 0.3
"""How many seconds the last attempt has at least."""


@dataclass(slots=True)
class Schedule:
    """The attempts of one call, which share its deadline; `made` counts the failed ones.

    They end after `retries` repetitions, if that is given, and at the deadline. If they have a key,
    they also end when the server may have forgotten it.
    """

    timeout: float
    retries: int | None
    key_lasts: float = 0
    renews: bool = False
    """Whether the credentials may be others the next time, after they were refused."""
    made: int = 0
    _started: float = field(default_factory=time.monotonic)

    def remaining(self) -> float:
        """Return how many seconds are left for an attempt."""
        return max(0.001, self._started + self.timeout - time.monotonic())

    def pause_after(self, error: PeermentorError) -> float | None:
        """Return for how many seconds to wait before the next attempt; None to give up."""
        self.made += 1
        self.timeout = min(self.timeout, self.key_lasts or self.timeout)
        if isinstance(error, Unauthenticated) and self.renews:
            # Nothing was done, whatever the call was to do.
            self.renews = False
            return 0
        busy = isinstance(error, ResourceExhausted) and error.retry_after is not None
        gone = isinstance(error, Unavailable) and not isinstance(error, Untrusted)
        if not (busy or gone) or (self.retries is not None and self.made > self.retries):
            return None
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.made - 1, 9))
        # Jitter: callers that failed together do not come back together.
        asked = error.retry_after or 0
        pause = asked + random.uniform(longest / 2, longest)  # noqa: S311
        latest = self.remaining() - LAST_ATTEMPT
        return min(pause, latest) if latest > asked else None
