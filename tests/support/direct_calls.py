"""The service's RPCs with all that surrounds them, called in the thread of the test.

There is no network, no event loop and no queue, so that a call does the same each time, and one
can watch what it does.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from peermentor.v1.assignments_pb2 import DESCRIPTOR as ASSIGNMENTS
from peermentor.v1.assignments_pb2_grpc import add_AssignmentServiceServicer_to_server
from peermentor.v1.templates_pb2 import DESCRIPTOR as TEMPLATES
from peermentor.v1.templates_pb2_grpc import add_TemplateServiceServicer_to_server
from peermentor_server.access import permissions
from peermentor_server.access.gate import Gate, Open
from peermentor_server.rpc.calls import Calls
from peermentor_server.rpc.lanes import Work
from peermentor_server.rpc.stalls import StallWatch
from peermentor_server.rules.clock import Clock
from peermentor_server.services.assignments import AssignmentService
from peermentor_server.services.templates import TemplateService
from peermentor_server.settings import Settings
from peermentor_server.storage.engine.database import Database

Metadata = tuple[tuple[str, str], ...]


class DirectCalls:
    """All RPCs, by their names: none is in both services."""

    def __init__(self, database: Database, clock: Clock, gate: Gate | None = None) -> None:
        lane: Any = _ThisThread()
        required = permissions.requirements((ASSIGNMENTS, TEMPLATES))
        self._calls = Calls(gate or Open(), required, lambda *_: lane, StallWatch())
        self._handlers: dict[str, Any] = {}
        days = Settings().overdue_after_days
        registrar: Any = self
        add_AssignmentServiceServicer_to_server(AssignmentService(database, clock, days), registrar)
        add_TemplateServiceServicer_to_server(TemplateService(database, clock), registrar)

    def add_generic_rpc_handlers(self, _handlers: object) -> None:
        """Do nothing, as a part of what generated code takes for a server."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Take the handlers of a service."""
        for name, handler in handlers.items():
            self._handlers[name] = self._calls.surrounded(f"/{service}/{name}", handler)

    @property
    def names(self) -> set[str]:
        """The names of all RPCs."""
        return set(self._handlers)

    def call(self, rpc: str, request: Message, metadata: Metadata = ()) -> Any:
        """Return the answer to a request."""
        return self.prepared(rpc, request, metadata)()

    def prepared(
        self, rpc: str, request: Message, metadata: Metadata = ()
    ) -> Callable[[], Message]:
        """Return what makes a call: it reads the request from bytes, and writes the answer."""
        handler, data, context = (
            self._handlers[rpc],
            request.SerializeToString(),
            _Context(metadata),
        )

        def make() -> Message:
            answering = handler.unary_unary(handler.request_deserializer(data), context)
            try:
                answering.send(None)
            except StopIteration as end:
                answer: Message = end.value
                handler.response_serializer(answer)
                return answer
            raise AssertionError(f"{rpc} waits for something")

        return make


class _ThisThread:
    """A lane without threads."""

    async def run(self, work: Work) -> Any:
        return work.run()


class _Context:
    """What gRPC tells of a call."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    def peer(self) -> str:
        return "ipv4:127.0.0.1:50000"

    def time_remaining(self) -> None:
        return None

    async def send_initial_metadata(self, _metadata: object) -> None:
        pass

    def set_trailing_metadata(self, _metadata: object) -> None:
        pass

    async def abort(self, code: object, message: str, _trailers: object) -> None:
        raise AssertionError(f"refused: {code} {message}")
