"""Notices when this process has stood still, such as one that was stopped or had no processor.

The calls that waited at its door meanwhile were given up by the gateway and asked of another
worker. To run them now could undo what has been stored since. That they are given up is known a
moment after they have been read, so they have to wait for that moment.
"""

import asyncio
import time

from peermentor_server.telemetry import metrics
from peermentor_server.timing import USUAL, Timing

TICK_S = 0.25


class StallWatch:
    """Looks at the clock again and again, in the event loop that reads the calls."""

    def __init__(self, timing: Timing = USUAL) -> None:
        self._stall_s, self._doubt_s = timing.stall_s, timing.doubt_s
        self._ticked_at: float | None = None
        self._doubtful_until = 0.0

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            self._tick()
            await asyncio.sleep(TICK_S)

    async def let_pass(self) -> None:
        """Return at once, or, when this process has just stood still, half a second later."""
        if self._is_doubtful():
            await asyncio.sleep(self._doubt_s)

    def _tick(self) -> None:
        if self._is_late():
            metrics.current.stalls.inc()
            self._doubtful_until = time.monotonic() + self._doubt_s
        self._ticked_at = time.monotonic()

    def _is_late(self) -> bool:
        return self._ticked_at is not None and time.monotonic() - self._ticked_at > self._stall_s

    def _is_doubtful(self) -> bool:
        # The call may come before the next tick, or after it.
        return self._is_late() or time.monotonic() < self._doubtful_until
