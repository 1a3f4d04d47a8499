"""Everything that is measured: the service, its peers, and what this machine allows at best."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import grpc
import psutil

from bench.databases import Databases
from bench.peers import envoy
from bench.peers.fastapi_tables import fill_peer
from bench.processes import free_ports, running, wait_for
from bench.workloads import Workload

TREE = Path(__file__).parents[1]
SERVICE_BIN = TREE / ".venv/bin"

# In the order of the tables.
SERVICE_GRPC = "peermentor, gRPC, one process"
SERVICE_GRPC_GATEWAY = "peermentor, gRPC through its gateway"
SERVICE_REST = "peermentor, REST"
FASTAPI = "FastAPI"
FASTAPI_ENVOY = "FastAPI behind Envoy"
CANNED_GRPC = "canned answers, gRPC, one process"
CANNED_REST = "canned answers, REST by Envoy alone"
NAMES = (
    SERVICE_GRPC,
    SERVICE_GRPC_GATEWAY,
    SERVICE_REST,
    FASTAPI,
    FASTAPI_ENVOY,
    CANNED_GRPC,
    CANNED_REST,
)


@dataclass(frozen=True)
class Contestant:
    """Something that answers calls."""

    name: str
    protocol: Literal["grpc", "rest"]
    port: int
    processes: tuple[psutil.Process, ...]
    database: tuple[psutil.Process, ...] = ()
    holds_rows: bool = True

    def ask(self, workload: Workload, key: int, body: dict[str, Any] | None) -> bytes:
        """Make one call; return what came back."""
        if self.protocol == "grpc":
            with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
                call: Callable[..., bytes] = channel.unary_unary(workload.method)
                return call(workload.message(key, body), timeout=20, wait_for_ready=True)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            content = None if body is None else json.dumps(body)
            headers = {"Content-Type": "application/json"}
            connection.request(workload.verb, workload.rest_path(key), content, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ConnectionError(f"{self.name} answered {response.status}: {text[:300]!r}")
        return text


class Starter:
    """Starts contestants over databases of one kind, which run until the stack is closed."""

    def __init__(self, stack: ExitStack, directory: Path, databases: Databases) -> None:
        self._stack = stack
        self._directory = directory
        self._databases = databases

    def service(self, rows: int) -> list[Contestant]:
        """Start the service, alone and behind its gateway, with as many workers as by default."""
        alone, grpc_port, rest_port, admin_port = free_ports(4)
        server = SERVICE_BIN / "peermentor-server"
        by_itself = self._run(
            [server, "serve", "--no-gateway"], self._service_environment(rows, alone), [alone]
        )
        environment = self._service_environment(rows, grpc_port, rest_port, admin_port)
        ports = [grpc_port, rest_port]
        gateway = self._run([server, "serve"], environment, ports)
        database = self._databases.processes
        return [
            Contestant(SERVICE_GRPC, "grpc", alone, (by_itself,), database),
            Contestant(SERVICE_GRPC_GATEWAY, "grpc", grpc_port, (gateway,), database),
            Contestant(SERVICE_REST, "rest", rest_port, (gateway,), database),
        ]

    def fastapi(self, rows: int, workers: int) -> list[Contestant]:
        """Start the peer, whose workers share a port; behind Envoy each is called by its own."""
        url = self._databases.new()
        fill_peer(url, rows)
        shared, edge, *own = free_ports(2 + workers)
        processes = []
        for port in own:
            ports = [str(shared), str(port)]
            processes.append(self._run_module("fastapi_service", [url, *ports], port))
        proxy = self._envoy(edge, envoy.plain_proxy(edge, own))
        all_of_them = (*processes, proxy)
        database = self._databases.processes
        return [
            Contestant(FASTAPI, "rest", shared, tuple(processes), database),
            Contestant(FASTAPI_ENVOY, "rest", edge, all_of_them, database),
        ]

    def canned(self) -> list[Contestant]:
        """Start what finds its answers for nothing."""
        port, edge = free_ports(2)
        server = self._run_module("canned", [str(port)], port)
        descriptor_set = TREE / "protos/peermentor.binpb"
        gateway = self._envoy(edge, envoy.transcoder(edge, port, descriptor_set))
        return [
            Contestant(CANNED_GRPC, "grpc", port, (server,), holds_rows=False),
            Contestant(CANNED_REST, "rest", edge, (server, gateway), holds_rows=False),
        ]

    def _service_environment(self, rows: int, *ports: int) -> dict[str, str]:
        """Fill a database of the service's own; return the settings to serve it with."""
        url = self._databases.new()
        filling = [str(SERVICE_BIN / "python"), "-m", "bench.fill_service", url, str(rows)]
        subprocess.run(filling, cwd=TREE, check=True)
        names = ("GRPC", "REST", "ADMIN")
        addresses = {
            f"PEERMENTOR_{name}_ADDRESS": f"127.0.0.1:{port}"
            for name, port in zip(names, ports, strict=False)
        }
        # Without the settings of whoever runs this.
        rest = {
            name: text for name, text in os.environ.items() if not name.startswith("PEERMENTOR_")
        }
        return {**rest, "PEERMENTOR_DATABASE_URL": url, **addresses}

    def _run_module(self, name: str, arguments: list[str], port: int) -> psutil.Process:
        command = [sys.executable, "-m", f"bench.peers.{name}", *arguments]
        return self._run(command, os.environ, [port])

    def _envoy(self, port: int, configuration: dict[str, Any]) -> psutil.Process:
        file = self._directory / f"envoy-{port}.json"
        file.write_text(json.dumps(configuration))
        # The Envoy that the service itself runs.
        command: list[str | Path] = [SERVICE_BIN / "envoy", "--config-path", file]
        command += ["--disable-hot-restart", "--log-level", "error"]
        return self._run(command, os.environ, [port])

    def _run(
        self, command: Sequence[str | Path], environment: Mapping[str, str], ports: list[int]
    ) -> psutil.Process:
        log = self._directory / f"{ports[0]}.log"
        process = self._stack.enter_context(running(command, log, environment))
        wait_for(ports, [process], log)
        return process
