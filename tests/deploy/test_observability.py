"""Dashboard and alerts: every query runs in the real Prometheus, on what the service tells it."""

import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import yaml
from sqlalchemy import insert

from peermentor_server.cli import sample_data
from peermentor_server.storage.tables import idempotency_keys
from peermentor_server.telemetry.metrics import Metrics, Parts
from support.clock import CONTRACT_DAY
from support.databases import Postgres, migrated
from support.factories import NEW_ASSIGNMENT
from support.ports import free_ports
from support.prometheus import FILES, running_prometheus, tool
from support.serving import Running, serving, settings_for
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = [
    rule
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
# On PostgreSQL, when all goes well and nobody needs a key.
EMPTY = {"Last backup", "SQLite file", "Callers", "Calls refused", "Deaths", "Keys of tokens"}
AWAY = "PeermentorDatabaseAway"


def test_alerts_fire_when_they_should() -> None:
    for command in (
        ["test", "rules", "alerts_test.yaml"],
        ["check", "config", "prometheus.yaml"],
    ):
        result = subprocess.run(
            [tool("promtool"), *command], cwd=FILES, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
    cases = yaml.safe_load((FILES / "alerts_test.yaml").read_text())["tests"]
    expected = [each for case in cases for each in case["alert_rule_test"]]
    fired = {each["alertname"] for each in expected if each.get("exp_alerts")}
    assert fired == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_each_alert_leads_to_a_paragraph_that_says_what_to_do(alert: dict[str, Any]) -> None:
    file, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    text = (ROOT / file).read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert anchor == alert["alert"].lower()
    assert alert["alert"] in headings


def test_dashboard_and_manual_show_every_metric_of_ours() -> None:
    families = [*Metrics().registry.collect(), *Parts().registry.collect()]
    for text in (json.dumps(DASHBOARD), (ROOT / "docs/operations.md").read_text()):
        assert [each.name for each in families if each.name not in text] == []


@pytest.fixture
def authority() -> trustme.CA:
    """Who signs the certificate of the service."""
    return trustme.CA()


@pytest.fixture
def running(postgres: Postgres, authority: trustme.CA, tmp_path: Path) -> Iterator[Running]:
    """A service on PostgreSQL that speaks TLS, and counts for the metrics."""
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    url = postgres.new_migrated_database()
    # To be there when rows are counted first.
    with migrated(url) as database:
        sample_data.load(database)
        key = {"owner": "", "rpc": "CreateAssignment", "request_id": "one", "digest": ""}
        with database.write() as connection:
            connection.execute(insert(idempotency_keys).values(key | {"created_at": CONTRACT_DAY}))
    *ports, metrics_port = free_ports(4)
    settings = settings_for(url, ports) | {
        "PEERMENTOR_TLS_CERTIFICATE": str(tmp_path / "own.pem"),
        "PEERMENTOR_TLS_KEY": str(tmp_path / "own.pem"),
        "PEERMENTOR_METRICS_ADDRESS": f"127.0.0.1:{metrics_port}",
        "PEERMENTOR_METRICS_COUNTS": "on",
        "PEERMENTOR_WORKERS": "1",
    }
    with (tmp_path / "log").open("w") as log, serving(settings, log) as running:
        yield running


def test_every_query_runs_and_an_alert_fires_while_the_database_is_down(
    running: Running, postgres: Postgres, authority: trustme.CA, tmp_path: Path
) -> None:
    targets = {
        "peermentor": running.environment["PEERMENTOR_METRICS_ADDRESS"],
        "peermentor-envoy": running.environment["PEERMENTOR_ADMIN_ADDRESS"],
    }
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    url = f"https://{running.rest}/api/v1/assignments"
    with httpx.Client(verify=context) as client, running_prometheus(tmp_path, targets) as own:

        def empty() -> set[str]:
            assert client.post(url, json=NEW_ASSIGNMENT).status_code == 200
            queries = {
                (panel["title"], _filled_in(target["expr"]))
                for panel in PANELS
                for target in panel["targets"]
            }
            return {title for title, query in queries if not own.query(query)}

        wait_until(lambda: empty() == EMPTY, 30, every=0.5)
        wait_until(lambda: all(rule["health"] == "ok" for rule in own.rules()), 20)
        assert AWAY not in own.firing()
        with postgres.down():
            wait_until(lambda: AWAY in own.firing(), 30, every=0.5)
        wait_until(lambda: AWAY not in own.firing(), 30, every=0.5)


def _filled_in(query: str) -> str:
    """Return a query as Grafana asks it, which fills in what is chosen above the panels."""
    return query.replace("$__rate_interval", "5s").replace("$instance", ".*")
