"""The real Envoy in front of a gRPC server, with the real envoy.yaml."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from peermentor_server.settings import Address, Settings
from peermentor_server.supervise import gateway
from peermentor_server.trace_export import TraceExport
from support.plain_http import NO_TLS
from support.ports import free_ports


@contextmanager
def running_gateway(
    settings: Settings,
    directory: Path,
    adjust: Callable[[dict[str, Any]], None] = lambda _config: None,
    before: Callable[[], None] | None = None,
    root: Path | None = None,
    traces: TraceExport | None = None,
) -> Iterator[httpx.Client]:
    """Run Envoy in front of the server of these settings; give a client of its REST routes.

    `adjust` may change the configuration, such as to shorten a timeout. `before` is called in
    Envoy's process, before it becomes that. `root` is where envoy.yaml and its files are.
    """
    # The server itself has the address of the settings.
    (port,) = free_ports(1)
    own = settings.model_copy(update={"grpc_address": Address("127.0.0.1", port)})
    config = gateway.configuration(own, [settings.grpc_address], traces, root)
    adjust(config)
    file = directory / f"envoy-{settings.rest_address.port}.json"
    file.write_text(json.dumps(config))
    with (
        subprocess.Popen(
            gateway.command(file),
            preexec_fn=before,  # noqa: PLW1509 - it only asks the kernel for something
        ) as process,
        httpx.Client(
            base_url=f"http://{settings.rest_address}", timeout=15, verify=NO_TLS
        ) as client,
    ):
        try:
            _wait_until_live(process, settings)
            yield client
            if process.poll() is None:
                # Envoy goes on with a call whose script has failed, unchecked.
                assert _lua_errors(settings) == {"0"}
        finally:
            process.terminate()


@contextmanager
def gateway_before(port: int, directory: Path) -> Iterator[tuple[Settings, httpx.Client]]:
    """Run Envoy in front of a server on this port; give its settings and a client of REST."""
    rest_port, admin_port = free_ports(2)
    settings = Settings(
        grpc_address=Address("127.0.0.1", port),
        rest_address=Address("127.0.0.1", rest_port),
        admin_address=Address("127.0.0.1", admin_port),
    )
    with running_gateway(settings, directory) as client:
        yield settings, client


def native_address(settings: Settings) -> str:
    """Return where the gateway of these settings takes native gRPC."""
    listeners = httpx.get(f"http://{settings.admin_address}/listeners", verify=NO_TLS).text
    [address] = [each[6:] for each in listeners.splitlines() if each.startswith("grpc::")]
    return address


def _lua_errors(settings: Settings) -> set[str]:
    """Return how often scripts of each filter have failed."""
    url = f"http://{settings.admin_address}/stats?filter=lua.*errors$"
    return {line.rpartition(" ")[2] for line in httpx.get(url, verify=NO_TLS).text.splitlines()}


def _wait_until_live(process: "subprocess.Popen[bytes]", settings: Settings) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "Envoy has ended"
        try:
            if httpx.get(f"http://{settings.admin_address}/ready", verify=NO_TLS).text == "LIVE\n":
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise AssertionError("Envoy is not ready")
