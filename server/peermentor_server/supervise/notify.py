"""Tells who started `serve`, such as systemd, how it is, in the way of sd_notify(3)."""

import math
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Self

import structlog

# It reads at once, or it is of no use.
_PATIENCE_S = 1
_log = structlog.get_logger("peermentor_server")


class Manager:
    """The service manager that waits for news of this process, if there is one."""

    def __init__(self, address: str = "", watchdog_s: float = 0) -> None:
        """It listens at `address`, and means this process to be dead after such a silence.

        Without an address there is none, and a watchdog of 0 seconds minds no silence.
        """
        self._address, self._watchdog_s = address, watchdog_s
        # Never yet. The clock may have begun a moment ago, with the machine.
        self._beat_at = -math.inf

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> Self:
        """Take it out of an environment: children are not to speak for this process."""
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        # Whom the watchdog is for, where it is not for whoever reads this.
        pid = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        is_watched = microseconds.isdecimal() and pid == str(os.getpid())
        return cls(address, int(microseconds) / 1e6 if is_watched else 0)

    def is_ready(self) -> None:
        """Say that all serve: at first, and again after a reload."""
        self._tell("READY=1")

    def reloads(self) -> None:
        """Say that the workers are being replaced, until all are ready."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stops(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1")

    def is_well(self) -> None:
        """Say so, if it is time to: twice in the time that the watchdog waits."""
        now = time.monotonic()
        if self._watchdog_s and now - self._beat_at >= self._watchdog_s / 2:
            self._beat_at = now
            self._tell("WATCHDOG=1")

    def _tell(self, news: str) -> None:
        if not self._address:
            return
        # A name in the kernel instead of a file.
        name = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(_PATIENCE_S)
                channel.sendto(news.encode(), os.fsencode(name))
        except OSError as error:
            # That it serves is worth more than that somebody knows.
            _log.warning("service manager not told", reason=error.strerror or str(error))
