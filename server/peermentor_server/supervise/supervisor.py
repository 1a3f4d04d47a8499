"""`serve`: runs the workers and the gateway as child processes.

This process imports no gRPC. A child that dies is started again; when this process ends,
however suddenly, so do its children. SIGUSR1 replaces the workers one after the other.
"""

import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from types import FrameType

import structlog

from peermentor_server import database_url
from peermentor_server.certificates import Watch
from peermentor_server.failures import CommandFailed
from peermentor_server.file_identity import FileIdentity
from peermentor_server.settings import Settings
from peermentor_server.supervise import gateway, ports, probe, scratch
from peermentor_server.supervise.children import Child, stop_all
from peermentor_server.supervise.notify import Manager
from peermentor_server.supervise.part import Part
from peermentor_server.telemetry import metrics
from peermentor_server.timing import USUAL, Timing
from peermentor_server.trace_export import TraceExport

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
REPLACE_SIGNAL = signal.SIGUSR1
_POLL_S = 0.05
_log = structlog.get_logger("peermentor_server")


class ServeFailed(CommandFailed):
    """What could not be started, and why."""


class _Stop(Exception):
    """A signal of STOP_SIGNALS came."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def serve(
    settings: Settings,
    on_ready: Callable[[], None],
    manager: Manager,
    timing: Timing = USUAL,
    traces: TraceExport | None = None,
) -> None:
    """Run until a signal of STOP_SIGNALS; raise ServeFailed when the start fails.

    `on_ready` is called once the gateway answers for workers that serve. The service manager is
    told then, and of all that follows.
    """
    with ExitStack() as stack:
        signals = stack.enter_context(_signals())
        _check_ports(settings)
        directory = stack.enter_context(scratch.directory())
        sockets = [
            scratch.socket(directory, f"worker-{number}")
            for number in range(1, settings.worker_count + 1)
        ]
        config = gateway.write_configuration(directory, settings, sockets, traces)
        certificate = Watch.of(settings.tls_certificate, settings.tls_key)
        kept_in = directory / "metrics"
        kept_in.mkdir()
        metrics.keep_in(kept_in, "serve")
        page = _page(kept_in) if settings.metrics_address else []
        supervisor = Supervisor(signals, sockets, config, certificate, page, manager, timing)
        try:
            supervisor.start(settings)
            manager.is_ready()
            on_ready()
            supervisor.run()
        except _Stop as stop:
            supervisor.stop(stop.number)
        except BaseException:
            supervisor.stop(signal.SIGINT)
            raise


class Supervisor:
    """The parts of a running service: the workers, and Envoy in front of them."""

    def __init__(
        self,
        signals: "queue.SimpleQueue[int]",
        sockets: Sequence[Path],
        config: Path,
        certificate: Watch | None,
        page: Sequence[Part],
        manager: Manager,
        timing: Timing,
    ) -> None:
        """Run Envoy with a configuration, before workers at these sockets, and a page perhaps."""
        self._signals, self._manager, self._timing = signals, manager, timing
        self._directory, self._certificate, self._look_at = config.parent, certificate, 0.0
        self._workers = [
            Part(f"worker {number}", _worker_command(number, socket), has_pulse=True, timing=timing)
            for number, socket in enumerate(sockets, 1)
        ]
        self._page = page
        # It needs nothing of the environment, which may hold the password of the database. (A
        # program in Python starts it.)
        environment = {"PYTHONSAFEPATH": "1"}
        envoy = gateway.command(config, len(sockets))
        self._envoy = Part("Envoy", envoy, environment, has_pulse=False, timing=timing)
        # Predecessors that finish their calls, and successors that are not ready yet.
        self._others: list[Child] = []
        # Whether that was asked for, be it while all start or while others are being replaced.
        self._is_to_replace = False

    def start(self, settings: Settings) -> None:
        """Start all parts; return when the gateway answers, and says so, or raise ServeFailed."""
        for part in self._parts():
            part.start()
        url = f"{settings.rest_url}/api/v1/assignments?limit=1"
        deadline = time.monotonic() + self._timing.start_s
        # The gateway may answer a call before it has asked after the health of the workers, and
        # who balances calls goes by that.
        while not (
            all(map(_is_ready, self._workers)) and probe.is_ready(settings) and _serves(url)
        ):
            for part in self._parts():
                if part.child and (end := part.child.end()):
                    ended = f"{part.name} ended with {end}; stopping everything"
                    raise ServeFailed(f"{part.child.last_words()}\n{ended}".lstrip())
            if time.monotonic() > deadline:
                raise ServeFailed(
                    f"no answer from {settings.rest_address} in {self._timing.start_s:.0f} seconds"
                )
            self._check_signals()
        self._keep_to_database_file(settings)

    def _keep_to_database_file(self, settings: Settings) -> None:
        """See to it that workers of later use no other file of SQLite's, nor make one."""
        if database_url.is_sqlite(settings.database_url):
            file = database_url.sqlite_file(settings.database_url)
            # Should it be gone already, none is right.
            identity = FileIdentity.of(file) or FileIdentity(0, 0)
            for worker in self._workers:
                worker.command += ["--database-file", str(identity)]

    def run(self) -> None:
        """Tend the parts until _Stop is raised."""
        while True:
            self._tend()
            if self._is_to_replace:
                self._is_to_replace = False
                self._manager.reloads()
                self._replace_workers()
                self._manager.is_ready()

    def stop(self, number: int) -> None:
        """End all parts. The workers first: the gateway passes on what they still answer."""
        _log.info("stopping")
        self._manager.stops()
        running = [part.child for part in self._workers if part.child]
        stop_all([*running, *self._others], number, self._timing.stop_s)
        others = [part.child for part in (self._envoy, *self._page) if part.child]
        stop_all(others, signal.SIGTERM, self._timing.stop_s)

    def _parts(self) -> Sequence[Part]:
        return [*self._workers, self._envoy, *self._page]

    def _tend(self) -> None:
        """Look after all parts once."""
        for part in self._parts():
            part.tend()
        self._others = [child for child in self._others if child.end() is None]
        self._renew_certificate()
        self._manager.is_well()
        self._check_signals()

    def _renew_certificate(self) -> None:
        """Give Envoy the certificate of now, if that is another one."""
        if self._certificate is None or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + self._timing.certificate_every_s
        if pair := self._certificate.renewed():
            gateway.write_certificate(self._directory, pair)

    def _check_signals(self) -> None:
        """Wait a moment for a signal."""
        try:
            number = self._signals.get(timeout=_POLL_S)
        except queue.Empty:
            return
        if number in STOP_SIGNALS:
            raise _Stop(number)
        self._is_to_replace = True

    def _replace_workers(self) -> None:
        replaced = [self._replace(worker) for worker in self._workers]
        if all(replaced):
            _log.info("workers replaced")
        else:
            _log.error("workers not replaced", replaced=sum(replaced), workers=len(replaced))

    def _replace(self, worker: Part) -> bool:
        """Let a new process take the place, and the socket, of a worker; then let that one go."""
        try:
            successor = worker.launch()
        except OSError as error:
            _log.error("not replaced", part=worker.name, reason=error.strerror)
            return False
        self._others.append(successor)
        self._wait(
            lambda: successor.end() is not None or successor.is_ready(), self._timing.start_s
        )
        if successor.end() or not successor.is_ready():
            reason = successor.last_words()
            _log.error("not replaced", part=worker.name, end=successor.end(), reason=reason)
            successor.send(signal.SIGTERM)
            return False
        self._others.remove(successor)
        predecessor, worker.child = worker.child, successor
        if predecessor is not None:
            _log.info("draining", part=worker.name, pid=predecessor.pid)
            self._others.append(predecessor)
            predecessor.send(signal.SIGTERM)
            self._wait(lambda: predecessor.end() is not None, self._timing.start_s)
            _log.info("drained", part=worker.name, pid=predecessor.pid)
        self._wait(lambda: False, self._timing.settle_s)
        return True

    def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        """Go on tending until the condition holds, or for as long."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            self._tend()


@contextmanager
def _signals() -> Iterator["queue.SimpleQueue[int]"]:
    """Collect the signals that this process understands, instead of ending by them."""
    came: queue.SimpleQueue[int] = queue.SimpleQueue()

    # On a terminal it says that the terminal is closed. Elsewhere nothing can say that, and
    # it is sent to whatever serves to have it begin anew.
    hang_up = signal.SIGTERM if _has_terminal() else REPLACE_SIGNAL

    def collect(number: int, _frame: FrameType | None) -> None:
        came.put(hang_up if number == signal.SIGHUP else number)

    numbers = [*STOP_SIGNALS, REPLACE_SIGNAL]
    # Under nohup it is ignored, and stays so.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, collect) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _check_ports(settings: Settings) -> None:
    addresses = {
        "PEERMENTOR_GRPC_ADDRESS": settings.grpc_address,
        "PEERMENTOR_REST_ADDRESS": settings.rest_address,
        "PEERMENTOR_ADMIN_ADDRESS": settings.admin_address,
        "PEERMENTOR_METRICS_ADDRESS": settings.metrics_address,
    }
    problems = [
        f"{variable}: cannot listen on {address}: {problem}"
        for variable, address in addresses.items()
        if address and (problem := ports.why_not_free(address))
    ]
    if problems:
        raise ServeFailed("\n".join(problems))


def _worker_command(number: int, socket: Path) -> list[str]:
    program = [sys.executable, "-m", "peermentor_server", "worker", "--number", str(number)]
    return [*program, "--socket", str(socket), "--metrics", str(socket.with_name("metrics"))]


def _page(kept_in: Path) -> Sequence[Part]:
    """Return what answers Prometheus. It is a process, for this one has a single thread."""
    program = [sys.executable, "-m", "peermentor_server", "metrics", "--directory", str(kept_in)]
    return [Part("metrics", program, has_pulse=False)]


def _is_ready(part: Part) -> bool:
    return part.child is not None and part.child.is_ready()


def _serves(url: str) -> bool:
    """Tell whether a call is answered; raise ServeFailed when it ends in a fault of the service."""
    status = probe.status(url)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ServeFailed(
            "the first call ended in an internal error; the log says why, and so may: "
            "peermentor-server check"
        )
    # A worker has answered, even if it wants to know who calls.
    return status in {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED}


def _has_terminal() -> bool:
    """Tell whether this process was started on a terminal, of which it hears when that closes."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
