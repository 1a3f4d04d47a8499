"""The tier in front of several machines: Envoy, with the file of docs/several-machines.md."""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import trustme
import yaml

from peermentor_server.supervise import gateway
from support.plain_http import NO_TLS
from support.ports import free_ports
from support.waiting import wait_until

FILE = Path(__file__).parents[2] / "deploy/several-machines/envoy.yaml"
# Where the file expects the certificates.
_PLACE = "/etc/peermentor/"
# What the file takes for the name of the machines.
MACHINES = "machines.peermentor.internal"


class Tier:
    """A running tier."""

    def __init__(self, address: str, admin: str) -> None:
        self.address, self._admin = address, admin

    def healthy_machines(self) -> int:
        """Return how many machines it takes for well."""
        text = httpx.get(f"http://{self._admin}/clusters", verify=NO_TLS).text
        return re.findall(r"^machines::[^:]+:\d+::health_flags::(.+)$", text, re.MULTILINE).count(
            "healthy"
        )

    def repeated(self) -> int:
        """Return how often it has repeated a call."""
        text = httpx.get(
            f"http://{self._admin}/stats?filter=^cluster.machines.upstream_rq_retry$", verify=NO_TLS
        )
        return int(text.text.rpartition(":")[2])


def write_certificate(issued: trustme.LeafCert, directory: Path, name: str) -> None:
    """Write a certificate and its key."""
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
    (directory / f"{name}-cert.pem").write_bytes(chain)
    (directory / f"{name}-key.pem").write_bytes(issued.private_key_pem.bytes())


@contextmanager
def running_tier(machines: Sequence[str], authority: trustme.CA, directory: Path) -> Iterator[Tier]:
    """Run the tier in front of machines at these addresses, until the end of the block.

    The certificates of both sides are of the authority.
    """
    write_certificate(authority.issue_cert("127.0.0.1"), directory, "callers")
    authority.cert_pem.write_to_path(str(directory / "machines-ca.pem"))
    port, admin_port = free_ports(2)
    text = FILE.read_text().replace(_PLACE, f"{directory}/")
    config = yaml.safe_load(text)
    _set_address(config["admin"], f"127.0.0.1:{admin_port}")
    (listener,) = config["static_resources"]["listeners"]
    _set_address(listener, f"127.0.0.1:{port}")
    (cluster,) = config["static_resources"]["clusters"]
    endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    for each, address in zip(endpoints, machines, strict=True):
        _set_address(each["endpoint"], address)
    file = directory / "tier.json"
    file.write_text(json.dumps(config))
    with subprocess.Popen(gateway.command(file)) as process:
        try:
            tier = Tier(f"127.0.0.1:{port}", f"127.0.0.1:{admin_port}")
            wait_until(lambda: _is_live(process, admin_port), 20, every=0.1)
            wait_until(lambda: tier.healthy_machines() == len(machines), 20, every=0.05)
            yield tier
        finally:
            process.terminate()


def _set_address(part: dict[str, Any], address: str) -> None:
    host, _, port = address.rpartition(":")
    part["address"]["socket_address"] = {"address": host, "port_value": int(port)}


def _is_live(process: "subprocess.Popen[bytes]", admin_port: int) -> bool:
    assert process.poll() is None, "Envoy has ended"
    try:
        return httpx.get(f"http://127.0.0.1:{admin_port}/ready", verify=NO_TLS).text == "LIVE\n"
    except httpx.TransportError:
        return False
