"""Watches what workers say of their health while something happens to them."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

_PERIOD_S = 0.05


class HealthWatch:
    """The health of one or more workers over time."""

    def __init__(self) -> None:
        self._said: list[tuple[float, bool]] = []
        """When it was seen whether all of them serve."""

    def look(self, stubs: Iterable[HealthStub]) -> None:
        """Ask all of them once."""
        serving = all(_serves(stub) for stub in stubs)
        self._said.append((time.monotonic(), serving))

    def healthy_after(self, moment: float) -> float:
        """Return how long after this moment all said that they serve, in seconds."""
        later = [when for when, serving in self._said if serving and when > moment]
        return min(later, default=float("inf")) - moment

    def was_unhealthy(self, since: float) -> bool:
        """Tell whether one has said since then that it does not serve."""
        return any(not serving for when, serving in self._said if when > since)

    def is_healthy(self) -> bool:
        """Tell whether all say that they serve."""
        return bool(self._said) and self._said[-1][1]


def _serves(stub: HealthStub) -> bool:
    try:
        status = stub.Check(HealthCheckRequest(), timeout=2).status
    except grpc.RpcError:
        return False
    return bool(status == HealthCheckResponse.SERVING)


@contextmanager
def watching(addresses: Iterable[str]) -> Iterator[HealthWatch]:
    """Watch the workers at these addresses until the end of the block."""
    watch, ended = HealthWatch(), threading.Event()
    channels = [grpc.insecure_channel(address) for address in addresses]
    stubs = [HealthStub(channel) for channel in channels]

    def look_again_and_again() -> None:
        while not ended.wait(_PERIOD_S):
            watch.look(stubs)

    thread = threading.Thread(target=look_again_and_again)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join(10)
        for channel in channels:
            channel.close()
