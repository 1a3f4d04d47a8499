"""What Kubernetes runs by deploy/kubernetes, run here: a node in a container, and the front.

`make check-deploy` verifies the files themselves, by the programs that read them.
"""

import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
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
FRONT = KUBERNETES / "overlays/three-nodes"
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


def test_calls_go_by_the_front_to_a_node(secrets: dict[str, Path], tmp_path: Path) -> None:
    node_rest, node_grpc, rest, grpc, admin = free_ports(5)
    other = {
        "PEERMENTOR_REST_ADDRESS": f"127.0.0.1:{node_rest}",
        "PEERMENTOR_GRPC_ADDRESS": f"127.0.0.1:{node_grpc}",
        "PEERMENTOR_METRICS_ADDRESS": "off",
        "PEERMENTOR_WORKERS": "1",
    }
    at = f"https://localhost:{rest}"
    authority = secrets["peermentor-tls"] / "ca.crt"
    ports = {8443: rest, 50051: grpc, 9901: admin}
    log = tmp_path / "log"
    with (
        running(NODE, secrets, other, log) as node,
        running_front(secrets, ports, node_rest, tmp_path),
        httpx.Client(base_url=at, verify=ssl.create_default_context(cafile=authority)) as caller,
    ):
        wait_until(lambda: is_well("startupProbe", NODE, node_rest), USUAL.start_s)
        for name in ("readinessProbe", "livenessProbe"):
            assert is_well(name, NODE, node_rest)
        create = ["keys", "create", "--all-orgs", "--permission", "write"]
        made = node.run(["peermentor-server", *create])
        [key] = re.findall(r"pmk_\w+", made.stdout)
        wait_until(lambda: caller.get("/readyz").status_code == 200, 10)
        assert caller.get("/api/v1/assignments").status_code == 401
        caller.headers["authorization"] = f"Bearer {key}"
        # A new key is not known at once.
        wait_until(lambda: caller.get("/api/v1/assignments").is_success, 10, every=0.2)
        assert caller.post("/api/v1/assignments", json=NEW_ASSIGNMENT).is_success
        with Client(
            f"localhost:{grpc}", tls=True, ca_certificate=authority.read_bytes(), token=key
        ) as client:
            assert client.assignments.list().count() == 1
        # The front leaves first.
        assert is_well("readinessProbe", pod(FRONT / "front.yaml"), rest)
        run_pre_stop(admin)
        assert not is_well("readinessProbe", pod(FRONT / "front.yaml"), rest)
        last = caller.get("/api/v1/assignments")
        assert (last.status_code, last.headers["connection"]) == (200, "close")
        # And then the node.
        node.send(signal.SIGTERM)
        assert node.wait() == 0
        lost = caller.get("/api/v1/assignments")
        assert (lost.status_code, lost.json()["code"]) == (503, 14)


def is_well(name: str, spec: Mapping[str, Any], port: int) -> bool:
    """Ask as Kubernetes does."""
    [container] = spec["containers"]
    probe = container[name]["httpGet"]
    assert probe["port"] == "rest"
    address = f"{probe['scheme'].lower()}://127.0.0.1:{port}{probe['path']}"
    try:
        return httpx.get(address, verify=False).is_success  # noqa: S501 - nor does Kubernetes
    except httpx.TransportError:
        return False


@contextmanager
def running_front(
    secrets: Mapping[str, Path], ports: Mapping[int, int], node: int, directory: Path
) -> Iterator[None]:
    """Run the front on other ports, before a node on this machine."""
    changed = {
        "/etc/front": str(directory),
        "/run/tls": str(secrets["peermentor-tls"]),
        "address: peermentor-nodes, port_value: 8443": f"address: 127.0.0.1, port_value: {node}",
        **{
            f" 0.0.0.0, port_value: {old}": f" 127.0.0.1, port_value: {new}"
            for old, new in ports.items()
        },
        "port_value: 9901": f"port_value: {ports[9901]}",
    }
    for name in ("envoy.yaml", "certificate.yaml", "authority.yaml"):
        (directory / name).write_text(with_changes((FRONT / name).read_text(), changed))
    [container] = pod(FRONT / "front.yaml")["containers"]
    given = [with_changes(each, changed) for each in (*container["command"], *container["args"])]
    command = [str(Path(sys.executable).with_name(given[0])), *given[1:]]
    with (directory / "front.log").open("wb") as log:
        front = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        front.terminate()
        front.wait(timeout=20)


def with_changes(text: str, changed: Mapping[str, str]) -> str:
    """Return it with other texts in the place of some."""
    for old, new in changed.items():
        text = text.replace(old, new)
    return text


def run_pre_stop(admin: int) -> None:
    """Tell the front to leave, as Kubernetes does, and do not wait until it has."""
    [container] = pod(FRONT / "front.yaml")["containers"]
    python, *rest = container["lifecycle"]["preStop"]["exec"]["command"]
    assert python == "python"
    changed = {"9901": str(admin), f"sleep({front_leaves_for_s()})": "sleep(0)"}
    command = [sys.executable, *(with_changes(each, changed) for each in rest)]
    subprocess.run(command, check=True, timeout=20)


def test_kubernetes_waits_for_longer_than_it_takes() -> None:
    [node], front = NODE["containers"], pod(FRONT / "front.yaml")
    leaves = node["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert NODE["terminationGracePeriodSeconds"] > leaves + 2 * USUAL.stop_s
    start = node["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] > USUAL.start_s
    assert front["terminationGracePeriodSeconds"] > front_leaves_for_s() > USUAL.grace_s


def front_leaves_for_s() -> int:
    """Return for how long it then serves on."""
    [container] = pod(FRONT / "front.yaml")["containers"]
    [seconds] = re.findall(
        r"sleep\((\d+)\)", container["lifecycle"]["preStop"]["exec"]["command"][-1]
    )
    return int(seconds)


def test_the_front_sees_that_a_node_leaves_before_it_does() -> None:
    [nodes] = front_configuration()["static_resources"]["clusters"]
    [check] = nodes["health_checks"]
    assert check["unhealthy_threshold"] == 1
    for interval in ("interval", "no_traffic_interval"):
        # The gateway of the node looks as often after its workers.
        assert 2 * float(check[interval].removesuffix("s")) < USUAL.drain_s


def front_configuration() -> dict[str, Any]:
    """Return what Envoy is told."""
    configuration: dict[str, Any] = yaml.safe_load((FRONT / "envoy.yaml").read_text())
    return configuration


def test_the_front_repeats_what_the_gateway_of_a_node_would() -> None:
    contract = (ROOT / "gateway/contract.lua").read_text()
    known = dict(re.findall(r'^ +\["(/.+/\w+)"\] = "(always|with key)"', contract, re.MULTILINE))
    assert len(known) > 10
    for path, when in known.items():
        assert is_repeated("POST", path) == (when == "always"), path
        assert is_repeated("POST", path, "idempotency-key"), path
    for path in ("AssignmentService/DeleteAssignment", "TemplateService/DeleteTemplate"):
        assert not is_repeated("POST", f"/peermentor.v1.{path}", "idempotency-key")


@pytest.mark.parametrize(
    ("method", "headers", "is_safe"),
    [
        ("GET", [], True),
        ("HEAD", [], True),
        ("PUT", [], True),
        ("POST", [], False),
        ("POST", ["idempotency-key"], True),
        ("DELETE", [], False),
        ("DELETE", ["idempotency-key"], False),
    ],
)
def test_the_front_repeats_calls_over_rest(method: str, headers: list[str], is_safe: bool) -> None:
    assert is_repeated(method, "/api/v1/assignments/asgn_001", *headers) == is_safe


def is_repeated(method: str, path: str, *headers: str) -> bool:
    """Tell whether the front makes such a call again, once a node may have got it."""
    [listener] = front_configuration()["static_resources"]["listeners"]
    [manager] = listener["filter_chains"][0]["filters"]
    [host] = manager["typed_config"]["route_config"]["virtual_hosts"]
    route = next(each for each in host["routes"] if matches(each["match"], method, path, headers))
    policy = route["route"].get("retry_policy", host["retry_policy"])
    return "reset" in policy["retry_on"].split(",")


def matches(match: Mapping[str, Any], method: str, path: str, headers: Sequence[str]) -> bool:
    """Tell it as Envoy would."""
    if "prefix" in match and not path.startswith(match["prefix"]):
        return False
    if "safe_regex" in match and not re.fullmatch(match["safe_regex"]["regex"], path):
        return False
    for each in match.get("headers", []):
        if each["name"] != ":method":
            is_met = each["present_match"] and each["name"] in headers
        elif "safe_regex" in each["string_match"]:
            is_met = re.fullmatch(each["string_match"]["safe_regex"]["regex"], method) is not None
        else:
            is_met = method == each["string_match"]["exact"]
        if not is_met:
            return False
    return True
