"""A worker that answers nothing of its own, and remembers with which headers it was called."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from peermentor.v1.assignments_pb2 import Assignment

Headers = dict[str, list[str]]


class ListeningWorker(grpc.GenericRpcHandler):
    """Takes every method of peermentor; `fail_first` lets the first attempt fail after so long."""

    def __init__(self) -> None:
        self.calls: list[Headers] = []
        self.fail_first: float | None = None
        self._lock = threading.Lock()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return what answers the call with an empty message."""
        if not str(handler_call_details.method).startswith("/peermentor."):
            return None
        headers: Headers = {}
        for name, value in handler_call_details.invocation_metadata or ():
            headers.setdefault(name, []).append(str(value))
        with self._lock:
            self.calls.append(headers)
            fail_after, self.fail_first = self.fail_first, None
        return grpc.unary_unary_rpc_method_handler(_answer(fail_after))


# Enough of one for the gateway.
_ASSIGNMENT = Assignment(etag='"1-1"').SerializeToString()


def _answer(fail_after: float | None) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
        if fail_after is not None:
            time.sleep(fail_after)
            context.abort(grpc.StatusCode.CANCELLED, "")
        return _ASSIGNMENT

    return answer


@contextmanager
def listening_worker(address: str) -> Iterator[ListeningWorker]:
    """Run one at this address."""
    worker = ListeningWorker()
    server = grpc.server(ThreadPoolExecutor(4), handlers=[worker])
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    server.add_insecure_port(address)
    server.start()
    try:
        yield worker
    finally:
        server.stop(0).wait()
