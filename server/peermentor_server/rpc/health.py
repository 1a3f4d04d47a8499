"""The standard health service, which says NOT_SERVING while the database does not answer."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import structlog
from grpc_health.v1 import health, health_pb2

from peermentor_server.rules.errors import DomainError, diagnosis
from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.database import Database
from peermentor_server.telemetry import metrics
from peermentor_server.timing import USUAL, Timing

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_log = structlog.get_logger("peermentor_server")


class HealthMonitor:
    """Asks the database every second, and sets the health of every service accordingly."""

    def __init__(self, database: Database, services: Iterable[str], timing: Timing = USUAL) -> None:
        self.servicer = health.aio.HealthServicer()
        self._database = database
        self._every_s, self._patience_s = timing.ping_every_s, timing.ping_s
        self._services = ("", *services)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._ping: Future[str | None] | None = None
        self._serving: bool | None = None

    async def watch(self) -> None:
        """Go on asking until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.update()

    async def update(self) -> None:
        """Ask once."""
        problem = await self._problem_of_database()
        serving = problem is None
        metrics.current.database_up.set(serving)
        if serving == self._serving:
            return
        if not serving:
            _log.warning("database does not answer", reason=problem)
        elif self._serving is False:
            _log.warning("database answers again")
        self._serving = serving
        for service in self._services:
            await self.servicer.set(service, _SERVING if serving else _NOT_SERVING)

    async def drain(self) -> None:
        """Say NOT_SERVING from now on."""
        await self.servicer.enter_graceful_shutdown()

    def close(self, patience_s: float) -> None:
        """Ask no more; wait a little for what runs. A thread that hangs is left to itself."""
        self._pool.shutdown(wait=False)
        wait([self._ping] if self._ping else [], patience_s)

    async def _problem_of_database(self) -> str | None:
        # A ping that hangs keeps its thread; no second one starts before it returns.
        if self._ping is None:
            self._ping = self._pool.submit(self._ask)
        await asyncio.wait({asyncio.wrap_future(self._ping)}, timeout=self._patience_s)
        if not self._ping.done():
            return "it takes too long"
        ping, self._ping = self._ping, None
        return ping.result()

    def _ask(self) -> str | None:
        """Say why the database does not answer; None if it does."""
        try:
            with deadlines.within(self._patience_s):
                self._database.ping()
        except DomainError as error:
            return diagnosis(error)
        return None
