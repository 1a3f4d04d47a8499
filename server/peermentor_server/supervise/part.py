"""A part of `serve`: a child process that is watched over."""

import signal
import time
from collections.abc import Mapping, Sequence

import structlog

from peermentor_server.supervise.children import Child
from peermentor_server.telemetry import metrics
from peermentor_server.timing import USUAL, Timing

_log = structlog.get_logger("peermentor_server")


class Part:
    """A child process that is started again when it dies."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        has_pulse: bool,
        timing: Timing = USUAL,
    ) -> None:
        self.name, self._timing = name, timing
        self._counts = metrics.Parts.of_this_process()
        self.command = list(command)
        self._environment, self._has_pulse = environment, has_pulse
        self._is_silent = self._is_hung = False
        self._early_deaths = self._failed_starts = 0
        self._resume_at = 0.0
        self.child: Child | None = None

    def start(self) -> None:
        """Start the process."""
        self.child = self.launch()

    def launch(self) -> Child:
        """Start a process of this part, beside the one that there is."""
        child = Child(self.command, self._environment, has_pulse=self._has_pulse)
        _log.info("started", part=self.name, pid=child.pid)
        self._counts.starts.labels(self.name).inc()
        return child

    def tend(self) -> None:
        """Start the process again when it has died, unless it does so again and again.

        One that hangs is killed: it would never come back by itself.
        """
        if self.child is not None:
            self._watch_pulse(self.child)
        if self.child is not None and (end := self.child.end()):
            pause = self._pause_after(self.child)
            why = {"reason": words} if (words := self.child.last_words()) else {}
            _log.error(
                "died", part=self.name, pid=self.child.pid, end=end, restart_in_s=pause, **why
            )
            self._counts.deaths.labels(self.name, "hang" if self._is_hung else end).inc()
            self.child, self._resume_at = None, time.monotonic() + pause
            self._is_silent = self._is_hung = False
        if self.child is None and time.monotonic() >= self._resume_at:
            self._start_again()

    def _start_again(self) -> None:
        try:
            self.start()
        except OSError as error:
            # Such as when the program is being replaced, or the machine has no room.
            self._resume_at = time.monotonic() + self._timing.last_restart_s
            _log.error("not started", part=self.name, reason=error.strerror)

    def _watch_pulse(self, child: Child) -> None:
        silence = child.silence()
        was_silent, self._is_silent = (
            self._is_silent,
            child.is_ready() and silence > self._timing.silent_s,
        )
        if self._is_silent and not was_silent:
            _log.warning("does not answer", part=self.name, pid=child.pid)
        elif was_silent and not self._is_silent:
            _log.warning("answers again", part=self.name, pid=child.pid)
        if silence > self._timing.hung_s:
            _log.error("hangs", part=self.name, pid=child.pid)
            child.send(signal.SIGKILL)
            self._is_hung = True

    def _pause_after(self, dead: Child) -> float:
        steady = time.monotonic() - dead.started > self._timing.steady_s
        self._early_deaths = 0 if steady else self._early_deaths + 1
        # One that has served before it died will do so again: callers wait for it.
        served = dead.is_ready()
        self._failed_starts = 0 if served else self._failed_starts + 1
        if self._early_deaths <= 1:
            return 0
        return min(
            self._timing.last_restart_s,
            self._timing.first_restart_s * 2.0 ** max(0, self._failed_starts - 1),
        )
