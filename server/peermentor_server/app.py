"""The composition root: settings, database and clock in, a gRPC server out.

Tests call it too, so that what they test is what runs. How a call is run, here by a small
pool of threads, is decided in this module and nowhere else.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection

from peermentor.v1 import assignments_pb2_grpc, templates_pb2_grpc
from peermentor.v1.assignments_pb2 import DESCRIPTOR as ASSIGNMENTS
from peermentor.v1.templates_pb2 import DESCRIPTOR as TEMPLATES
from peermentor_server.health import HealthMonitor
from peermentor_server.interceptors import CallInterceptor, SideInterceptor
from peermentor_server.rules.days import Clock, system_clock
from peermentor_server.services.assignments import AssignmentService
from peermentor_server.services.templates import TemplateService
from peermentor_server.settings import Settings
from peermentor_server.stalls import StallWatch
from peermentor_server.storage.database import Database

# More threads than this only wait for each other: for Python's lock, or for the disk.
WORKER_THREADS = 8
# For health checks, and for open streams of reflection.
HEALTH_THREADS = 2
REFLECTION_THREADS = 4
SERVICES = (
    ASSIGNMENTS.services_by_name["AssignmentService"].full_name,
    TEMPLATES.services_by_name["TemplateService"].full_name,
)

# How long the end of calls that were cut off may take; one that hangs in a database has none.
END_S = 2.0

_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", 1024 * 1024),
    ("grpc.max_metadata_size", 16 * 1024),
    # Lets clients and the gateway keep connections alive without being sent away.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


class PortTaken(Exception):
    """The gRPC server cannot listen where it should."""


class App:
    """A gRPC server with its services, health and reflection."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock = system_clock,
        *,
        share_port: bool = False,
    ) -> None:
        """Make a server; one that may `share_port` can start before its predecessor has gone."""
        self.address = str(settings.grpc_address)
        self.port = settings.grpc_address.port
        self._calls = ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="call")
        self._health_calls = ThreadPoolExecutor(HEALTH_THREADS, thread_name_prefix="health")
        self._reflection_calls = ThreadPoolExecutor(
            REFLECTION_THREADS, thread_name_prefix="reflection"
        )
        self._side_services = (
            SideInterceptor(HEALTH_SERVICE, self._health_calls),
            SideInterceptor(reflection.SERVICE_NAME, self._reflection_calls),
        )
        self._stalls = StallWatch()
        self._server = grpc.server(
            self._calls,
            interceptors=[*self._side_services, CallInterceptor(self._stalls)],
            # A port that is taken is an error otherwise, not something to share.
            options=[*_OPTIONS, ("grpc.so_reuseport", int(share_port))],
        )
        assignments_pb2_grpc.add_AssignmentServiceServicer_to_server(
            AssignmentService(database, clock, settings.overdue_after_days), self._server
        )
        templates_pb2_grpc.add_TemplateServiceServicer_to_server(
            TemplateService(database, clock), self._server
        )
        self._health = HealthMonitor(self._server, database, SERVICES)
        reflection.enable_server_reflection(
            (*SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME), self._server
        )

    def start(self) -> None:
        """Listen and serve."""
        try:
            self.port = self._server.add_insecure_port(self.address)
        except RuntimeError:
            raise PortTaken(f"cannot listen on {self.address}") from None
        self._health.start()
        self._stalls.start()
        self._server.start()

    def drain(self) -> None:
        """Say that this server is about to leave, and go on serving."""
        self._health.drain()

    def stop(self, grace: float | None = None) -> None:
        """Refuse new calls, and wait up to `grace` seconds for those that run.

        The threads of calls that still run then are left to themselves.
        """
        self.drain()
        stopped = self._server.stop(grace)
        for side_service in self._side_services:
            side_service.end_streams()
        stopped.wait((grace or 0) + END_S)
        self._health.stop()
        self._stalls.stop()
        for pool in (self._calls, self._health_calls, self._reflection_calls):
            pool.shutdown(wait=False)
