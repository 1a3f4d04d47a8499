"""Renders the overlays as `kubectl apply -k` would, and verifies what comes out.

Usage: check.py, with the Python of .venv-deploy. Each object must have the form that every version
of Kubernetes from OLDEST on knows, with no other fields, and what one object names another must
have. The tier must be one that Envoy takes.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

HERE = Path(__file__).parent
KUBECTL = Path(sys.executable).with_name("kubectl")
ENVOY = HERE.parents[1] / ".venv/bin/envoy"
# The oldest that lets a container sleep before its end.
OLDEST = 30
# What docs/deployment.md lets an operator make.
DATABASE = "peermentor-database"
SECRETS = {DATABASE, "peermentor-tls"}
DNS, POSTGRESQL = 53, 5432
Object = dict[str, Any]


def render(overlay: Path) -> list[Object]:
    """Return all objects of an overlay."""
    done = subprocess.run([KUBECTL, "kustomize", overlay], stdout=subprocess.PIPE, check=True)
    return list(yaml.safe_load_all(done.stdout))


def wrong_forms(objects: list[Object]) -> Iterator[str]:
    """Say which objects some version of Kubernetes would not take."""
    newest = int(kubernetes_validate.latest_version().split(".")[1])
    for each in objects:
        for minor in range(OLDEST, newest + 1):
            try:
                kubernetes_validate.validate(each, f"1.{minor}", strict=True)
            except kubernetes_validate.ValidationError as error:
                where = ".".join(map(str, error.path))
                yield f"{name_of(each)}: Kubernetes 1.{minor}: {where}: {error.message}"


def broken_selectors(objects: list[Object]) -> Iterator[str]:
    """Say which objects are for pods that are not there, or for ports that those do not have."""
    for each in objects:
        for selector, ports in selectors(each):
            chosen = [
                pod for pod in pods_of(objects) if selects(selector, pod["metadata"]["labels"])
            ]
            if not chosen:
                yield f"{name_of(each)}: no pod is meant by {selector}"
            for pod in chosen:
                for port in ports - ports_of(pod):
                    yield f"{name_of(each)}: there is no port {port} at {pod['metadata']['labels']}"


def broken_pods(objects: list[Object]) -> Iterator[str]:
    """Say what pods name that is not there."""
    maps = {each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"}
    for pod in pods_of(objects):
        who, container = pod["metadata"]["labels"], container_of(pod)
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        if volumes.keys() != {each["name"] for each in container["volumeMounts"]}:
            yield f"{who}: volumes and their mounts differ"
        for secret in secrets_of(pod) - SECRETS:
            yield f"{who}: nobody makes the secret {secret}"
        for volume in volumes.values():
            if volume.get("configMap", {}).get("name") not in {None, *maps}:
                yield f"{who}: there is no map for {volume['name']}"
        for action in probes_of(container):
            if action["port"] not in ports_of(pod):
                yield f"{who}: there is no port {action['port']} to probe"


def open_doors(objects: list[Object]) -> Iterator[str]:
    """Say what a pod may do that none needs, or what it lacks that each needs."""
    for each in objects:
        if each["kind"] not in {"Deployment", "Job"}:
            continue
        pod = each["spec"]["template"]
        spec, container = pod["spec"], container_of(pod)
        own = spec.get("securityContext", {})
        shut = {
            "no token": spec.get("automountServiceAccountToken") is False,
            "no variables of Services": spec.get("enableServiceLinks") is False,
            "not root": own.get("runAsNonRoot") is True,
            "a profile": own.get("seccompProfile") == {"type": "RuntimeDefault"},
            "restricted": container.get("securityContext")
            == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "a limit of memory": "memory" in container["resources"]["limits"],
            "the project's image": container["image"] == "peermentor",
        }
        yield from (f"{name_of(each)}: lacks: {what}" for what, is_so in shut.items() if not is_so)


def closed_ways(objects: list[Object]) -> Iterator[str]:
    """Say which pods cannot ask for names, or cannot reach the database whose secret they have."""
    policies = [each["spec"] for each in objects if each["kind"] == "NetworkPolicy"]
    for pod in pods_of(objects):
        labels = pod["metadata"]["labels"]
        let_out = {
            (port["protocol"], port["port"])
            for policy in policies
            if selects(policy["podSelector"], labels)
            for rule in policy.get("egress", [])
            for port in rule["ports"]
        }
        needed = {("UDP", DNS), ("TCP", DNS)}
        if DATABASE in secrets_of(pod):
            needed.add(("TCP", POSTGRESQL))
        for protocol, port in sorted(needed - let_out):
            yield f"{labels}: is not let out to {protocol} {port}"


def wrong_tier(objects: list[Object]) -> Iterator[str]:
    """Say what Envoy itself finds wrong."""
    for each in objects:
        if each["kind"] != "ConfigMap":
            continue
        with tempfile.TemporaryDirectory() as directory:
            for name, text in each["data"].items():
                (Path(directory) / name).write_text(text.replace("/etc/tier", directory))
            options = ["--mode", "validate", "--log-level", "warning"]
            done = subprocess.run(
                [ENVOY, *options, "--config-path", Path(directory) / "envoy.yaml"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        # It warns of what is going to be wrong.
        if done.returncode or "warning" in done.stdout:
            yield f"{name_of(each)}: {done.stdout}"


def name_of(each: Object) -> str:
    """Return how a person calls an object."""
    return f"{each['kind']} {each['metadata']['name']}"


def pods_of(objects: list[Object]) -> list[Object]:
    """Return how the pods of all objects are."""
    return [each["spec"]["template"] for each in objects if "template" in each.get("spec", {})]


def probes_of(container: Object) -> Iterator[Object]:
    """Return what Kubernetes asks a container."""
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        for kind in ("httpGet", "tcpSocket"):
            if kind in container.get(name, {}):
                yield container[name][kind]


def container_of(pod: Object) -> Object:
    """Return the only container of a pod."""
    [container] = pod["spec"]["containers"]
    return dict(container)


def secrets_of(pod: Object) -> set[str]:
    """Return the names of the secrets that it has as files."""
    return {each["secret"]["secretName"] for each in pod["spec"]["volumes"] if "secret" in each}


def ports_of(pod: Object) -> set[str]:
    """Return the names of its ports."""
    return {port["name"] for port in container_of(pod).get("ports", [])}


def selectors(each: Object) -> Iterator[tuple[Object, set[str]]]:
    """Return what an object says of pods that it is for, or that it lets in, and of their ports."""
    spec = each.get("spec", {})
    if each["kind"] == "Service":
        yield {"matchLabels": spec["selector"]}, {port["targetPort"] for port in spec["ports"]}
    elif each["kind"] == "NetworkPolicy":
        rules = spec.get("ingress", [])
        yield spec["podSelector"], {port for rule in rules for port in named_ports(rule)}
        yield from ((peer, set()) for rule in rules for peer in peers(rule, "from"))
        for rule in spec.get("egress", []):
            yield from ((peer, named_ports(rule)) for peer in peers(rule, "to"))
    elif "selector" in spec:
        yield spec["selector"], set()


def peers(rule: Object, side: str) -> list[Object]:
    """Return the selectors of the pods on the other side."""
    return [peer["podSelector"] for peer in rule.get(side, []) if "podSelector" in peer]


def named_ports(rule: Object) -> set[str]:
    """Return the ports that a rule names."""
    return {port["port"] for port in rule["ports"] if isinstance(port["port"], str)}


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Tell whether a selector means a pod with these labels."""
    wanted = selector.get("matchLabels", {})
    return wanted.items() <= labels.items() and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", [])
    )


def main() -> int:
    """Check all overlays, and say what is wrong."""
    is_well = True
    for overlay in sorted((HERE / "overlays").iterdir()):
        objects = render(overlay)
        for problems in (
            wrong_forms,
            broken_selectors,
            broken_pods,
            open_doors,
            closed_ways,
            wrong_tier,
        ):
            for problem in problems(objects):
                print(f"{overlay.name}: {problem}", file=sys.stderr)
                is_well = False
        print(f"{overlay.name}: {len(objects)} objects")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
