"""What Kubernetes runs by deploy/kubernetes, run here: a node in a container, and the tier.

`make check-deploy` verifies the files themselves, by the programs that read them.
"""

import json
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import yaml

from peermentor import Client
from peermentor_server.timing import USUAL
from support.containers import ROOT, Contained, Image, contained
from support.factories import NEW_ASSIGNMENT
from support.ports import free_ports
from support.waiting import wait_until

KUBERNETES = ROOT / "deploy/kubernetes"
THREE = KUBERNETES / "overlays/three-nodes"
AUTHORITY = trustme.CA()


def objects(file: Path, kind: str) -> list[dict[str, Any]]:
    """Return all objects of a kind in a file."""
    return [each for each in yaml.safe_load_all(file.read_text()) if each["kind"] == kind]


def pod(file: Path, kind: str = "Deployment") -> dict[str, Any]:
    """Return how the pods of the only object of a kind are."""
    [found] = objects(file, kind)
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


NODE, MIGRATION = pod(KUBERNETES / "base/node.yaml"), pod(KUBERNETES / "base/migration.yaml", "Job")
TIER = pod(THREE / "tier.yaml")


@contextmanager
def running(
    spec: Mapping[str, Any], secrets: Mapping[str, Path], other: Mapping[str, str], log: Path
) -> Iterator[Contained]:
    """Run the only container of a pod, with the directories of secrets, and some other settings."""
    [container] = spec["containers"]
    named = {each["name"]: each.get("secret", {}).get("secretName") for each in spec["volumes"]}
    places = [
        f"{secrets[name]}:{each['mountPath']}"
        for each in container["volumeMounts"]
        if (name := named[each["name"]])
    ]
    environment: dict[str, str] = {each["name"]: each["value"] for each in container["env"]}
    assert other.keys() <= environment.keys()
    with contained(
        Image.of_project(), container["args"], {**environment, **other}, log, *places
    ) as started:
        yield started


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What docs/deployment.md lets an operator make."""
    made = AUTHORITY.issue_cert("peermentor", "localhost")
    contents = {
        "database-url": b"sqlite:////tmp/own.db\n",
        "tls.crt": b"".join(each.bytes() for each in made.cert_chain_pems),
        "tls.key": made.private_key_pem.bytes(),
        "ca.crt": AUTHORITY.cert_pem.bytes(),
    }
    document = (ROOT / "docs/deployment.md").read_text().replace("\\\n", "")
    directories = {}
    for name, files in re.findall(r"create secret generic (\S+) (.*)$", document, re.MULTILINE):
        directories[name] = tmp_path_factory.mktemp(name)
        for file in re.findall(r"--from-file=([\w.-]+)", files):
            (directories[name] / file).write_bytes(contents[file])
    return directories


def test_the_migration_is_run(secrets: dict[str, Path], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(MIGRATION, secrets, {}, log) as migration:
        assert migration.wait() == 0, log.read_text()


def test_calls_go_by_the_tier_to_a_node(secrets: dict[str, Path], tmp_path: Path) -> None:
    node_rest, node_grpc, calls, admin = free_ports(4)
    other = {
        "PEERMENTOR_REST_ADDRESS": f"127.0.0.1:{node_rest}",
        "PEERMENTOR_GRPC_ADDRESS": f"127.0.0.1:{node_grpc}",
        "PEERMENTOR_METRICS_ADDRESS": "off",
        "PEERMENTOR_WORKERS": "1",
    }
    tls = secrets["peermentor-tls"]
    authority = ssl.create_default_context(cafile=tls / "ca.crt")
    with (
        running(NODE, secrets, other, tmp_path / "log") as node,
        running_tier(tls, calls, admin, node_rest, tmp_path),
        httpx.Client(base_url=f"https://localhost:{calls}", verify=authority) as caller,
    ):
        wait_until(lambda: is_well("startupProbe", node_rest), USUAL.start_s)
        assert is_well("readinessProbe", node_rest)
        assert is_well("livenessProbe", node_rest)
        made = node.run([*documented_create(), "--permission", "write"])
        [key] = re.findall(r"pmk_\w+", made.stdout)
        wait_until(lambda: caller.get("/readyz").is_success, 10)
        assert caller.get("/api/v1/assignments").status_code == 401
        caller.headers["authorization"] = f"Bearer {key}"
        # A new key is not known at once.
        wait_until(lambda: caller.get("/api/v1/assignments").is_success, 10, every=0.2)
        assert caller.post("/api/v1/assignments", json=NEW_ASSIGNMENT).is_success
        own = (tls / "ca.crt").read_bytes()
        with Client(f"localhost:{calls}", tls=True, ca_certificate=own, token=key) as client:
            assert client.assignments.list().count() == 1
        run_pre_stop(admin)
        last = caller.get("/api/v1/assignments")
        assert (last.status_code, last.headers["connection"]) == (200, "close")
        node.send(signal.SIGTERM)
        assert node.wait() == 0


def documented_create() -> list[str]:
    """Return how docs/deployment.md makes a key in a node."""
    document = (ROOT / "docs/deployment.md").read_text()
    [command] = re.findall(r"`kubectl [^`]* exec deployment/peermentor -- ([^`]+)`", document)
    return str(command).split()


def is_well(name: str, port: int) -> bool:
    """Ask a node as Kubernetes does."""
    [container] = NODE["containers"]
    probe = container[name]["httpGet"]
    assert probe["port"] == "rest"
    address = f"{probe['scheme'].lower()}://127.0.0.1:{port}{probe['path']}"
    try:
        return httpx.get(address, verify=False).is_success  # noqa: S501 - nor does Kubernetes
    except httpx.TransportError:
        return False


@contextmanager
def running_tier(tls: Path, calls: int, admin: int, node: int, directory: Path) -> Iterator[None]:
    """Run the tier on other ports, before a node on this machine."""
    places = {"/etc/tier": str(directory), "/run/tls": str(tls)}
    for name in ("certificate.yaml", "authority.yaml"):
        (directory / name).write_text(with_others((THREE / name).read_text(), places))
    config = yaml.safe_load(with_others((THREE / "envoy.yaml").read_text(), places))
    resources = config["static_resources"]
    [endpoint] = resources["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    for each, port in (
        (config["admin"], admin),
        (resources["listeners"][0], calls),
        (endpoint["endpoint"], node),
    ):
        each["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    (directory / "envoy.yaml").write_text(json.dumps(config))
    [container] = TIER["containers"]
    given = [with_others(each, places) for each in (*container["command"], *container["args"])]
    command = [str(Path(sys.executable).with_name(given[0])), *given[1:]]
    with (directory / "tier.log").open("wb") as log:
        tier = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        tier.terminate()
        tier.wait(timeout=20)


def with_others(text: str, others: Mapping[str, str]) -> str:
    """Return it with other texts in the place of some."""
    for old, new in others.items():
        text = text.replace(old, new)
    return text


def run_pre_stop(admin: int) -> None:
    """Tell the tier to leave, as Kubernetes does, and do not wait until it has."""
    others = {"9901": str(admin), f"sleep({tier_leaves_for_s()})": "sleep(0)"}
    python, *rest = TIER["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert python == "python"
    command = [sys.executable, *(with_others(each, others) for each in rest)]
    subprocess.run(command, check=True, timeout=20)


def tier_leaves_for_s() -> int:
    """Return for how long it then serves on."""
    command = TIER["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    [seconds] = re.findall(r"sleep\((\d+)\)", command[-1])
    return int(seconds)


def test_kubernetes_waits_for_longer_than_it_takes() -> None:
    [node] = NODE["containers"]
    leaves = node["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert NODE["terminationGracePeriodSeconds"] > leaves + 2 * USUAL.stop_s
    start = node["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] > USUAL.start_s
    assert TIER["terminationGracePeriodSeconds"] > tier_leaves_for_s() > USUAL.grace_s
