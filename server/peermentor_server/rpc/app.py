"""The composition root: settings, database and clock in, a gRPC server out.

Tests call it too, so that what they test is what runs. An event loop reads and answers the
calls, in a thread of its own; what a call does, it does in a thread of its lane. Which lanes
there are is decided in this module and nowhere else.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from peermentor.v1 import assignments_pb2_grpc, templates_pb2_grpc
from peermentor.v1.assignments_pb2 import DESCRIPTOR as ASSIGNMENTS
from peermentor.v1.templates_pb2 import DESCRIPTOR as TEMPLATES
from peermentor_server.access import permissions
from peermentor_server.access.gate import Gate, Open, Required
from peermentor_server.access.subjects import Subjects
from peermentor_server.certificates import Pair, Watch
from peermentor_server.rpc import tracing
from peermentor_server.rpc.calls import Calls, Handler
from peermentor_server.rpc.counts import Counts
from peermentor_server.rpc.group_commit import group_commit
from peermentor_server.rpc.health import HealthMonitor
from peermentor_server.rpc.lanes import Lanes, Threads
from peermentor_server.rpc.samples import Samples
from peermentor_server.rpc.stalls import StallWatch
from peermentor_server.rpc.streams import Streams
from peermentor_server.rules.clock import Clock, system_clock
from peermentor_server.services.assignments import AssignmentService
from peermentor_server.services.templates import TemplateService
from peermentor_server.settings import Settings
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.engine.deadlines import Deadline
from peermentor_server.timing import USUAL, Timing
from peermentor_server.trace_export import TraceExport

if TYPE_CHECKING:
    from peermentor_server.access.tokens import Tokens
    from peermentor_server.telemetry.traces import Traces

# Who reads SQLite waits for nothing but Python's lock, so that threads only make it slower; and
# it takes one writer at a time. Those of PostgreSQL wait for the server.
THREADS = {
    "sqlite": Threads(reads=2, scans=1, writes=1, at_once=True),
    "postgresql": Threads(reads=4, scans=1, writes=6),
}
SERVICES = (
    ASSIGNMENTS.services_by_name["AssignmentService"].full_name,
    TEMPLATES.services_by_name["TemplateService"].full_name,
)

OPTIONS: tuple[tuple[str, Any], ...] = (
    # A port that is taken is an error, not something to share.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 1024 * 1024),
    ("grpc.max_metadata_size", 16 * 1024),
    # What one connection may have open at a time, requests that never end included.
    ("grpc.max_concurrent_streams", 1000),
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
        socket: Path | None = None,
        counts_for_all: bool = False,
        timing: Timing = USUAL,
        traces: TraceExport | None = None,
    ) -> None:
        """Make a server. One with a socket listens there alone, where only the gateway calls.

        One of all workers counts what all have in common.
        """
        self.address = f"unix:{socket}" if socket else str(settings.grpc_address)
        self._behind_gateway = socket is not None
        self.port = settings.grpc_address.port
        # It is the gateway who speaks TLS.
        self._certificate = None if socket else Watch.of(settings.tls_certificate, settings.tls_key)
        self._timing = timing
        self._stalls = StallWatch(timing)
        self._samples = Samples(database, timing)
        self._counts = Counts(database, settings, clock, timing) if counts_for_all else None
        self._health = HealthMonitor(database, SERVICES, timing)
        together = group_commit(database) if database.dialect == "sqlite" else None
        certificates = settings.tls_client_subjects if socket else None
        subjects = Subjects(certificates) if certificates else None
        self._gate = _gate(settings, database, clock, timing, subjects)
        # Apart, so that those who may watch the health take nothing from those with credentials.
        self._watches, self._reflections = Streams(self._gate), Streams(self._gate)
        self._lanes = Lanes(THREADS[database.dialect], together, timing)
        self._assignments = AssignmentService(database, clock, settings.overdue_after_days)
        self._templates = TemplateService(database, clock)
        self._traces = _traces(traces, database) if traces else None
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="calls", daemon=True)
        self._started: Future[None] = Future()
        self._stopping = asyncio.Event()
        self._grace: float | None = None

    def start(self) -> None:
        """Listen and serve."""
        self._thread.start()
        self._started.result()

    def learn_keys(self) -> None:
        """Know the keys of now at once."""
        asyncio.run_coroutine_threadsafe(self._gate.update(), self._loop).result()

    def drain(self) -> None:
        """Say that this server is about to leave, and go on serving."""
        asyncio.run_coroutine_threadsafe(self._health.drain(), self._loop).result()

    def stop(self, grace: float | None = None) -> None:
        """Refuse new calls, and wait up to `grace` seconds for those that run.

        The threads of calls that still run then are left to themselves.
        """
        if self._loop.is_closed():
            return
        self._grace = grace
        self._loop.call_soon_threadsafe(self._stopping.set)
        end = Deadline((grace or 0) + self._timing.end_s)
        self._thread.join(end.remaining())
        self._lanes.close(max(0, end.remaining()))
        self._health.close(max(0, end.remaining()))
        self._gate.close(max(0, end.remaining()))
        if self._counts is not None:
            self._counts.close(max(0, end.remaining()))
        if self._traces is not None:
            self._traces.close(min(self._timing.spans_s, max(0, end.remaining())))

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = self._server()
        try:
            self.port = self._add_port(server)
        except RuntimeError:
            self._started.set_exception(PortTaken(f"cannot listen on {self.address}"))
            return
        await self._health.update()
        await self._gate.update()
        watches = [
            asyncio.create_task(each.watch())
            for each in (self._health, self._stalls, self._gate, self._samples, self._counts)
            if each is not None
        ]
        await server.start()
        self._started.set_result(None)
        await self._stopping.wait()
        for watch in watches:
            watch.cancel()
        await self._health.drain()
        # Those who watch the health learn of it before their streams end.
        await asyncio.sleep(0)
        self._watches.end()
        self._reflections.end()
        stopped = asyncio.ensure_future(server.stop(self._grace))
        while not stopped.done():
            await asyncio.wait({stopped}, timeout=self._timing.last_words_s)
            # Whatever stream still holds on, no call does.
            if self._lanes.are_idle():
                await server.stop(0)

    def _add_port(self, server: "grpc.aio.Server") -> int:
        if self._certificate is None:
            return server.add_insecure_port(self.address)
        return server.add_secure_port(self.address, _credentials(self._certificate))

    def _server(self) -> "grpc.aio.Server":
        server = grpc.aio.server(options=OPTIONS)
        requirements = permissions.requirements((ASSIGNMENTS, TEMPLATES))
        calls = Calls(
            self._gate,
            requirements,
            self._lanes.of,
            self._stalls,
            self._timing,
            behind_gateway=self._behind_gateway,
        )
        traces, surround = self._traces, calls.surrounded
        own: Any = _Registrar(server, tracing.traced(surround, traces) if traces else surround)
        assignments_pb2_grpc.add_AssignmentServiceServicer_to_server(self._assignments, own)
        templates_pb2_grpc.add_TemplateServiceServicer_to_server(self._templates, own)
        watches: Any = _Registrar(server, self._watches.surrounded)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, watches)
        names = (*SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME)
        reflections: Any = _Registrar(server, self._reflections.surrounded)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            reflection.aio.ReflectionServicer(names), reflections
        )
        return server


def _traces(export: TraceExport, database: Database) -> "Traces":
    # What it needs is not installed where no traces are sent.
    from peermentor_server.telemetry.traces import Traces

    traces = Traces(export, database.dialect)
    database.tell_statements(traces.statement)
    return traces


def _credentials(certificate: Watch) -> grpc.ServerCredentials:
    """Return what looks with each new connection whether the certificate was renewed."""

    def configuration(pair: Pair) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)])

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        pair = certificate.renewed()
        return configuration(pair) if pair else None

    first = configuration(certificate.pair)
    # None says that it is as before, which the stubs do not know.
    return grpc.dynamic_ssl_server_credentials(first, renewed)  # type: ignore[arg-type]


def _gate(
    settings: Settings,
    database: Database,
    clock: Clock,
    timing: Timing,
    subjects: Subjects | None,
) -> Gate:
    if settings.access != "required":
        return Open()
    return Required(database, clock, timing, _tokens(settings, clock, timing), subjects)


def _tokens(settings: Settings, clock: Clock, timing: Timing) -> "Tokens | None":
    if not settings.jwt_keys:
        return None
    # Only here: cryptography is a tenth of what a worker loads.
    from peermentor_server.access.key_sets import KeySet
    from peermentor_server.access.tokens import Claims, Tokens

    claims = Claims(
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        organizations=settings.jwt_organizations_claim,
        permission=settings.jwt_permission_claim,
    )
    return Tokens(KeySet(settings.jwt_keys, settings.jwt_algorithms, timing), claims, clock)


class _Registrar:
    """Stands for the server where generated code adds its handlers, and surrounds each of them."""

    def __init__(
        self, server: "grpc.aio.Server", surround: Callable[[str, Handler], Handler]
    ) -> None:
        self._server, self._surround = server, surround

    def add_generic_rpc_handlers(self, _handlers: object) -> None:
        """Do nothing: the same handlers come a second time, by their names."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Handler]) -> None:
        """Add the handlers of a service."""
        surrounded = {
            name: self._surround(f"/{service}/{name}", handler)
            for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, surrounded),)
        )
