"""The page that Prometheus reads."""

import sys
from collections.abc import Iterable
from importlib.metadata import version
from typing import Protocol

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import GaugeMetricFamily

from peermentor_server.failures import CommandFailed
from peermentor_server.settings import Address


class Collector(Protocol):
    """Where metrics come from."""

    def collect(self) -> Iterable[Metric]:
        """Return them."""


def start(address: Address, source: Collector) -> None:
    """Answer at this address from now on, in threads of its own."""
    registry = CollectorRegistry()
    registry.register(_BuildInfo())
    registry.register(source)
    try:
        start_http_server(address.port, address.host, registry)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise CommandFailed(
            f"PEERMENTOR_METRICS_ADDRESS: cannot listen on {address}: {reason}"
        ) from None


class _BuildInfo:
    def collect(self) -> Iterable[Metric]:
        info = GaugeMetricFamily(
            "peermentor_build_info", "Versions, as labels.", labels=("version", "python")
        )
        python = ".".join(map(str, sys.version_info[:3]))
        info.add_metric((version("peermentor-server"), python), 1)
        return [info]
