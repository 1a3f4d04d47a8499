"""A worker that has stood still."""

import asyncio
import time
from contextlib import suppress

from peermentor_server.rpc.stalls import TICK_S, StallWatch
from peermentor_server.timing import Timing
from support.moves import Moves


def test_a_stall_is_counted_and_calls_wait_a_moment_after_it() -> None:
    moves = Moves()

    async def scene() -> float:
        watch = StallWatch(Timing(stall_s=0.1 + TICK_S, doubt_s=0.05))
        ticking = asyncio.create_task(watch.watch())
        await asyncio.sleep(0)
        time.sleep(0.2 + TICK_S)
        came = time.monotonic()
        await watch.let_pass()
        waited = time.monotonic() - came
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        return waited

    assert asyncio.run(scene()) >= 0.05
    assert moves.of("peermentor_stalls_total") == 1
