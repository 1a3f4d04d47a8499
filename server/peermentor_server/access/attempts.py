"""Whoever keeps calling without valid credentials is put off: told to wait, and logged no more.

A secret of 256 bits is not found by trying; this is for the log, and for those who would have to
read it. Valid credentials count wherever they come from, as many callers may share an address.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

from peermentor_server.timing import USUAL, Timing

MAX_ATTEMPTS = 30
# The addresses that are remembered: the last of so many.
MAX_ADDRESSES = 4096
# Who has one IPv6 address has all of its network, as a rule.
_IPV6_NETWORK_BITS = 64


class Attempts:
    """Counts the calls of each address that were refused, in periods."""

    def __init__(self, timing: Timing = USUAL, now: Callable[[], float] = time.monotonic) -> None:
        self._period_s, self._now = timing.attempts_s, now
        # When the period of an address began, and how many of its calls were refused since then.
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def count(self, address: str) -> int:
        """Note one; return by how many it exceeds what is usual, or 0."""
        now, address = self._now(), _of_one_caller(address)
        begin, count = self._counts.pop(address, (now, 0))
        if now - begin >= self._period_s:
            begin, count = now, 0
        self._counts[address] = begin, count + 1
        if len(self._counts) > MAX_ADDRESSES:
            self._counts.popitem(last=False)
        return max(0, count + 1 - MAX_ATTEMPTS)


def _of_one_caller(address: str) -> str:
    try:
        found = ipaddress.IPv6Address(address.strip("[]"))
    except ValueError:
        return address
    return str(ipaddress.IPv6Network((found, _IPV6_NETWORK_BITS), strict=False))
