"""The service as it runs in production: a process of its own, with the real Envoy before it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from peermentor_server.settings import Address, Settings
from support.commands import start
from support.gateways import running_gateway
from support.ports import free_ports
from support.serving import settings_for

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING


@dataclass
class Stack:
    """A running service."""

    rest: str
    """The URL of the gateway."""
    channel: grpc.Channel
    process: psutil.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    """What it logged."""
    health: list[tuple[float, int]] = field(default_factory=list)
    """What its health was when."""

    def longest_hold(self) -> float:
        """Return for how long one call held its thread at most, in seconds."""
        return max((line.get("duration_ms", 0) / 1000 for line in list(self.lines)), default=0)

    def healthy_after(self, moment: float) -> float:
        """Return how long after this moment it said that it serves, in seconds."""
        later = [when for when, status in self.health if when > moment and status == SERVING]
        return min(later, default=float("inf")) - moment

    def was_unhealthy(self, since: float) -> bool:
        """Tell whether it has said that it does not serve."""
        return any(status == NOT_SERVING for when, status in list(self.health) if when > since)

    def is_healthy(self) -> bool:
        """Tell whether it says that it serves."""
        return bool(self.health) and self.health[-1][1] == SERVING


@contextmanager
def running_stack(database_url: str, directory: Path) -> Iterator[Stack]:
    """Run the service on this database until the end of the block."""
    ports = free_ports(3)
    settings = Settings(
        grpc_address=Address("127.0.0.1", ports[0]),
        rest_address=Address("127.0.0.1", ports[1]),
        admin_address=Address("127.0.0.1", ports[2]),
    )
    environment = settings_for(database_url, ports) | {"PEERMENTOR_LOG_FORMAT": "json"}
    with (
        start("serve", "--no-gateway", **environment) as process,
        grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel,
    ):
        stack = Stack(f"http://127.0.0.1:{ports[1]}", channel, psutil.Process(process.pid))
        ended = threading.Event()
        reading = threading.Thread(target=_read_log, args=[process, stack])
        watching = threading.Thread(target=_watch_health, args=[stack, ended])
        reading.start()
        try:
            grpc.channel_ready_future(channel).result(timeout=40)
            watching.start()
            with running_gateway(settings, directory):
                yield stack
        finally:
            ended.set()
            process.kill()
            reading.join(10)
            if watching.is_alive():
                watching.join(10)


def _read_log(process: Any, stack: Stack) -> None:
    for line in process.stderr:
        if line.startswith("{"):
            stack.lines.append(json.loads(line))


def _watch_health(stack: Stack, ended: threading.Event) -> None:
    check = HealthStub(stack.channel).Check
    while not ended.wait(0.05):
        try:
            status = check(HealthCheckRequest(), timeout=2).status
        except grpc.RpcError:
            status = NOT_SERVING
        stack.health.append((time.monotonic(), status))
