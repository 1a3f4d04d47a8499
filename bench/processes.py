"""Programs that run while something is measured, and the CPU that they take."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

# What a program may take to stop.
_STOPPING_S = 15


class NotStarted(Exception):
    """A program did not begin to serve."""


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """Run a program until the end of the block; what it prints goes into a file."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOPPING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(ports: Iterable[int], processes: Iterable[psutil.Process], log: Path) -> None:
    """Return when all ports take connections; NotStarted when a process ends, or in a minute."""
    deadline = time.monotonic() + 60
    for port in ports:
        while not _is_open(port):
            if time.monotonic() > deadline or not all(map(_is_alive, processes)):
                printed = log.read_text(errors="replace")[-2000:]
                raise NotStarted(f"nothing listens on port {port}\n{printed}")
            time.sleep(0.05)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU time of these processes and of all below them, those that ended included."""
    total = 0.0
    for process in processes:
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(each.cpu_times()[:4])
    return total


def own_cpu_seconds() -> float:
    """Return the CPU time of this program and of what it ran to the end."""
    return sum(psutil.Process().cpu_times()[:4])


def busy_cpu_seconds() -> float:
    """Return the CPU time that all of this machine's programs took, and others from it."""
    times = psutil.cpu_times()
    if sys.platform != "linux":
        return sum(times) - times.idle
    # Guests are counted as user already.
    guests = times.guest + times.guest_nice
    return sum(times) - times.idle - times.iowait - guests
