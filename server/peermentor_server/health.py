"""The standard health service, which says NOT_SERVING while the database does not answer."""

import threading
from collections.abc import Iterable

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from peermentor_server.rules.errors import DomainError, reason
from peermentor_server.storage import deadlines
from peermentor_server.storage.database import Database

PING_INTERVAL_S = 1.0
PING_TIMEOUT_S = 2.0

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_log = structlog.get_logger("peermentor_server")


class HealthMonitor:
    """Asks the database every second, and sets the health of every service accordingly."""

    def __init__(self, server: grpc.Server, database: Database, services: Iterable[str]) -> None:
        self._database = database
        self._services = ("", *services)
        self._servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        self._stopping = threading.Event()
        self._ping: _Ping | None = None
        self._serving: bool | None = None
        self._thread = threading.Thread(target=self._watch, name="health", daemon=True)

    def start(self) -> None:
        """Ask for the first time, then go on in the background."""
        self._update()
        self._thread.start()

    def drain(self) -> None:
        """Say NOT_SERVING from now on."""
        self._stopping.set()
        self._servicer.enter_graceful_shutdown()

    def stop(self) -> None:
        """End the background work."""
        self.drain()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(PING_INTERVAL_S):
            self._update()

    def _update(self) -> None:
        problem = self._problem_of_database()
        serving = problem is None
        if serving == self._serving or self._stopping.is_set():
            return
        if not serving:
            _log.warning("database does not answer", reason=problem)
        elif self._serving is False:
            _log.warning("database answers again")
        self._serving = serving
        for service in self._services:
            self._servicer.set(service, _SERVING if serving else _NOT_SERVING)

    def _problem_of_database(self) -> str | None:
        # A ping that hangs keeps its thread; no second one starts before it returns.
        if self._ping is None or not self._ping.is_alive():
            self._ping = _Ping(self._database)
            self._ping.start()
        self._ping.join(PING_TIMEOUT_S)
        return self._ping.problem


class _Ping(threading.Thread):
    """Asks the database once. A daemon: one that hangs does not keep the program alive."""

    def __init__(self, database: Database) -> None:
        super().__init__(name="ping", daemon=True)
        self._database = database
        self.problem: str | None = "it takes too long"
        """Why the database does not answer; None once it has."""

    def run(self) -> None:
        try:
            with deadlines.within(PING_TIMEOUT_S):
                self._database.ping()
        except DomainError as error:
            self.problem = reason(error)
        else:
            self.problem = None
