"""A real Prometheus, with the configuration of deploy/observability."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from support.plain_http import NO_TLS
from support.ports import free_ports
from support.waiting import wait_until

_ROOT = Path(__file__).parents[2]
FILES = _ROOT / "deploy/observability"
# Where `make test` puts it when the machine has none.
_OWN = _ROOT / ".venv/prometheus/usr/bin"
_PLACES = os.pathsep.join([os.environ["PATH"], str(_OWN)])


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    api: httpx.Client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression gives now."""
        answer = self.api.get("/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules, and how they fared when they were last evaluated."""
        groups = self.api.get("/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        return {rule["name"] for rule in self.rules() if rule["state"] == "firing"}


@contextmanager
def running_prometheus(directory: Path, targets: dict[str, str]) -> Iterator[Prometheus]:
    """Run it until the end of the block, with a target for each job.

    It looks every second. Alerts fire at once.
    """
    configuration = yaml.safe_load((FILES / "prometheus.yaml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job in configuration["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    rules = yaml.safe_load((FILES / "alerts.yaml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule.pop("for", None)
    (directory / "alerts.yaml").write_text(yaml.safe_dump(rules))
    [port] = free_ports(1)
    command = [
        tool("prometheus"),
        f"--config.file={directory}/prometheus.yaml",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        # Its own paths begin as those of the service, whose answers are checked.
        f"--web.external-url=http://127.0.0.1:{port}/prometheus",
    ]
    with (directory / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}/prometheus/api/v1", verify=NO_TLS
        ) as api:
            wait_until(lambda: _is_ready(api), 20)
            yield Prometheus(api)
    finally:
        process.terminate()
        process.wait(timeout=20)


def tool(name: str) -> str:
    """Return where a program of Prometheus is."""
    program = shutil.which(name, path=_PLACES)
    if program is None:
        pytest.fail("this test needs Prometheus: run `make test`, or apt-get install prometheus")
    return program


def _is_ready(api: httpx.Client) -> bool:
    try:
        return api.get("/query", params={"query": "1"}).status_code == 200
    except httpx.TransportError:
        return False
