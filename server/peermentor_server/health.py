"""The standard health service, which says NOT_SERVING while the database does not answer."""

import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from peermentor_server.rules.errors import DomainError
from peermentor_server.storage.database import Database

PING_INTERVAL_S = 1.0
PING_TIMEOUT_S = 2.0

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_log = structlog.get_logger("peermentor_server")


class HealthMonitor:
    """Asks the database every second, and sets the health of every service accordingly.

    Health checks have threads of their own: they are answered while all others are busy.
    """

    def __init__(self, server: grpc.Server, database: Database, services: Iterable[str]) -> None:
        self._database = database
        self._services = ("", *services)
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="health")
        self._servicer = health.HealthServicer(
            experimental_non_blocking=True, experimental_thread_pool=self._pool
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        self._stopping = threading.Event()
        self._pinger = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ping")
        self._pending: Future[None] | None = None
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
            self._thread.join(timeout=PING_TIMEOUT_S + 1)
        self._pinger.shutdown(wait=False, cancel_futures=True)
        self._pool.shutdown(wait=False)

    def _watch(self) -> None:
        while not self._stopping.wait(PING_INTERVAL_S):
            self._update()

    def _update(self) -> None:
        serving = self._database_answers()
        if serving == self._serving or self._stopping.is_set():
            return
        if not serving or self._serving is False:
            _log.warning("database answers again" if serving else "database does not answer")
        self._serving = serving
        for service in self._services:
            self._servicer.set(service, _SERVING if serving else _NOT_SERVING)

    def _database_answers(self) -> bool:
        # A ping that hangs keeps its thread; no second one starts before it returns.
        if self._pending is None:
            self._pending = self._pinger.submit(self._database.ping)
        try:
            self._pending.result(timeout=PING_TIMEOUT_S)
        except FutureTimeoutError:
            return False
        except DomainError:
            self._pending = None
            return False
        self._pending = None
        return True
