"""Free ports on the loopback address."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import cycle

# Below those that the kernel gives to connections (ip_local_port_range): one of these could be
# taken before the server listens on it. Each worker of pytest has a share of its own.
_FIRST, _SHARE, _WORKERS = 10_000, 2_800, 8


def _share() -> Iterator[int]:
    """Return what is for this process, again and again, from anywhere: others may run tests too."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    numbers = range(_FIRST + worker * _SHARE, _FIRST + (worker + 1) * _SHARE)
    start = secrets.randbelow(_SHARE)
    return cycle([*numbers[start:], *numbers[:start]])


_numbers = _share()


def free_ports(count: int) -> list[int]:
    """Return ports that were all free a moment ago."""
    with ExitStack() as stack:
        return [_bound(stack) for _ in range(count)]


def _bound(stack: ExitStack) -> int:
    for number in _numbers:
        with suppress(OSError):
            stack.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return number
    raise AssertionError("unreachable: the numbers have no end")
