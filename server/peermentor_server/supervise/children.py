"""Child processes: none outlives its parent, and none hangs for ever when it is to stop."""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

_PR_SET_PDEATHSIG = 1

Process = subprocess.Popen[bytes]


class Child:
    """A running child process, which may have a pulse: a pipe it writes to while it is well.

    A beat is a dot. When the process fails, it says why by the same pipe.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        has_pulse: bool = False,
    ) -> None:
        """Start it, in the environment of this process unless another is given.

        One that `has_pulse` is given a file descriptor to write to: a first time when it is
        ready, and then again and again.
        """
        self._has_pulse = has_pulse
        self._pulse: int | None = None
        self._beat_at: float | None = None
        self._last_words = b""
        passed: list[int] = []
        if has_pulse:
            self._pulse, child_end = os.pipe()
            passed = [child_end]
            command = [*command, "--pulse-fd", str(child_end)]
        self.started = time.monotonic()
        # In a session of its own, so that Ctrl-C reaches this process alone, which then stops
        # the children in order. preexec_fn is safe here: this process has a single thread.
        try:
            self._process: Process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                pass_fds=passed,
                preexec_fn=partial(_die_with, os.getpid()),  # noqa: PLW1509
            )
        except OSError:
            self._close_pulse()
            raise
        finally:
            for end in passed:
                os.close(end)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def end(self) -> str | None:
        """Say how the process ended; None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        self._feel_pulse()
        self._close_pulse()
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"

    def last_words(self) -> str:
        """Return why the process has failed, as far as it said so."""
        self._feel_pulse()
        return self._last_words.decode("utf-8", "replace")

    def is_ready(self) -> bool:
        """Tell whether there has been a pulse."""
        self._feel_pulse()
        return self._beat_at is not None

    def silence(self) -> float:
        """Return for how long there has been no pulse, since the last or since the start.

        In seconds; 0 of a process that has none at all.
        """
        if not self._has_pulse:
            return 0
        self._feel_pulse()
        return time.monotonic() - (self._beat_at or self.started)

    def _feel_pulse(self) -> None:
        while self._pulse is not None and select.select([self._pulse], [], [], 0)[0]:
            said = os.read(self._pulse, 4096)
            if not said:
                self._close_pulse()
            elif said.startswith(b".") and not self._last_words:
                self._beat_at = time.monotonic()
            self._last_words += said.lstrip(b".")

    def _close_pulse(self) -> None:
        if self._pulse is not None:
            os.close(self._pulse)
            self._pulse = None

    def send(self, number: int) -> None:
        """Send the process a signal, if it still runs."""
        self._process.send_signal(number)

    def await_end(self, patience_s: float) -> None:
        """Wait until the process has ended; make it, when that takes too long."""
        try:
            self._process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.end()


def stop_all(children: Iterable[Child], number: int, patience_s: float) -> None:
    """End these children by a signal, all at the same time."""
    children = list(children)
    for child in children:
        child.send(number)
    for child in children:
        child.await_end(patience_s)


def _die_with(parent: int) -> None:
    """Ask the kernel to end this process with its parent; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            # It has been killed since, of which nobody would tell.
            os._exit(1)
