"""Waiting for something to become true, within bounds."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.01) -> None:
    """Return when the condition, tried so often, holds; fail when it does not after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} seconds"
        time.sleep(every)
