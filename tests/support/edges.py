"""A gateway and a server in processes of their own, whose memory can be told from the tests'."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from peermentor_server.settings import Settings
from support.commands import start
from support.databases import migrated
from support.gateways import running_gateway
from support.plain_http import NO_TLS
from support.ports import free_ports
from support.serving import settings_for
from support.waiting import wait_until

MIB = 1024 * 1024
# How often Envoy looks how much memory it has in use.
FLUSH_S = 0.2
PATH = "/api/v1/assignments"


@dataclass(frozen=True)
class Edge:
    """A gateway in front of a server, and the two processes."""

    rest: httpx.Client
    settings: Settings
    processes: dict[str, psutil.Process]

    def connect(self, receive_bytes: int = 65536) -> socket.socket:
        """Connect, with this much room for what comes."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(20)
        connection.connect((self.settings.rest_address.host, self.settings.rest_address.port))
        return connection

    def stat(self, name: str) -> int:
        """Return one of the numbers that Envoy keeps."""
        answer = httpx.get(
            f"http://{self.settings.admin_address}/stats?filter=^{name}$", verify=NO_TLS
        )
        return int(answer.text.partition(": ")[2])

    def in_use(self) -> int:
        """Return how many bytes Envoy has in use."""
        time.sleep(2 * FLUSH_S)
        return self.stat("server.memory_allocated")

    def answers(self) -> bool:
        """Tell whether a good request on a new connection is answered."""
        return (
            httpx.get(f"{self.rest.base_url}{PATH}", timeout=10, verify=NO_TLS).status_code == 200
        )

    def memory(self) -> dict[str, int]:
        """Return how many MiB of memory each holds, with its child processes."""
        return {
            name: sum(each.memory_info().rss for each in (top, *top.children(True))) // MIB
            for name, top in self.processes.items()
        }


@contextmanager
def edge_with(
    directory: Path, adjust: Callable[[dict[str, Any]], None] = lambda _config: None
) -> Iterator[Edge]:
    """Run both; `adjust` may change the gateway's configuration."""

    def adjust_all(config: dict[str, Any]) -> None:
        adjust(config)
        config["stats_flush_interval"] = f"{FLUSH_S}s"

    environment = settings_for(f"sqlite:///{directory}/edge.db", free_ports(3))
    # Nobody reads the log.
    environment["PEERMENTOR_LOG_LEVEL"] = "error"
    settings = Settings.model_validate(
        {name.removeprefix("PEERMENTOR_").lower(): value for name, value in environment.items()}
    )
    with migrated(settings.database_url):
        pass
    with start("serve", "--no-gateway", **environment) as server:
        try:
            with running_gateway(settings, directory, adjust_all) as rest:
                wait_until(lambda: rest.get(PATH).status_code != 503, 20)
                (envoy,) = [
                    each
                    for each in psutil.Process().children(recursive=True)
                    if any(str(directory) in word for word in each.cmdline())
                ]
                yield Edge(rest, settings, {"envoy": envoy, "server": psutil.Process(server.pid)})
        finally:
            server.kill()


def manager_of(config: dict[str, Any]) -> dict[str, Any]:
    (listener,) = [x for x in config["static_resources"]["listeners"] if x["name"] == "rest"]
    manager: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def monitors_of(config: dict[str, Any], name: str) -> list[dict[str, Any]]:
    monitors = config["overload_manager"]["resource_monitors"]
    return [x["typed_config"] for x in monitors if x["name"] == f"envoy.resource_monitors.{name}"]
