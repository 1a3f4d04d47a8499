"""The page that Prometheus reads."""

from collections.abc import Iterable
from typing import Protocol

from prometheus_client import CollectorRegistry, Metric, start_http_server

from peermentor_server.failures import CommandFailed
from peermentor_server.settings import Address


class Collector(Protocol):
    """Where metrics come from."""

    def collect(self) -> Iterable[Metric]:
        """Return them."""


def start(address: Address, source: Collector) -> None:
    """Answer at this address from now on, in threads of its own."""
    registry = CollectorRegistry()
    registry.register(source)
    try:
        start_http_server(address.port, address.host, registry)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise CommandFailed(
            f"PEERMENTOR_METRICS_ADDRESS: cannot listen on {address}: {reason}"
        ) from None
