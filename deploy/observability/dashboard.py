#!/usr/bin/env python3
"""Writes dashboard.json, which Grafana imports: what the service and its Envoy tell Prometheus.

Usage: dashboard.py DASHBOARD_JSON
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The grid of Grafana, in which a panel takes a third of a row; a single number takes less.
WIDTH, PANEL, PANEL_HEIGHT, NUMBER, NUMBER_HEIGHT = 24, 8, 8, 4, 4
SOURCE = {"type": "prometheus", "uid": "${source}"}
# What stands for labels in the queries below. Another Envoy has metrics of the same names: ours is
# the scrape that is called so in prometheus.yaml.
LABELS = {
    "OWN": 'instance=~"$instance"',
    "CALLS": 'instance=~"$instance",grpc_service=~"peermentor[.].*"',
    "FAILED": 'grpc_code=~"Unknown|Internal|DataLoss|Unavailable|DeadlineExceeded"',
    "ENVOY": 'job="peermentor-envoy"',
    "REST": 'job="peermentor-envoy",envoy_http_conn_manager_prefix="rest"',
    "WORKERS": 'job="peermentor-envoy",envoy_cluster_name="peermentor"',
}
DAY_S = 86400

Steps = Sequence[tuple[str, float | None]]


@dataclass(frozen=True)
class Panel:
    """Lines over time, by their legends. The text says what to look for."""

    title: str
    text: str
    unit: str
    queries: Mapping[str, str]


@dataclass(frozen=True)
class Number(Panel):
    """What is true now, in one number, with colours from these values on."""

    steps: Steps = (("blue", None),)


def rate(metric: str, labels: str = "OWN", by: str = "") -> str:
    """Return how often something happens in a second."""
    return _sum(f"rate({metric}{{{labels}}}[$__rate_interval])", by)


def now(metric: str, labels: str = "OWN", by: str = "") -> str:
    """Return how much there is of something."""
    return _sum(f"{metric}{{{labels}}}", by)


def _sum(what: str, by: str) -> str:
    return f"sum by ({by}) ({what})" if by else f"sum({what})"


def quantile(share: float, metric: str, labels: str = "OWN", by: str = "") -> str:
    """Return in what time this share of all ends."""
    buckets = rate(f"{metric}_bucket", labels, f"{by}, le" if by else "le")
    return f"histogram_quantile({share}, {buckets})"


def quantiles(metric: str, labels: str = "OWN") -> dict[str, str]:
    """Return the times of half of all, of most and of nearly all."""
    return {f"p{share * 100:.0f}": quantile(share, metric, labels) for share in (0.5, 0.95, 0.99)}


def _of_organizations(state: str) -> str:
    # Services that share a database count the same rows.
    return f'max by (organization) (peermentor_assignments{{OWN,state="{state}"}})'


NOW = (
    Number(
        "Pages that answer",
        "1 if Prometheus reaches the service and Envoy.",
        "none",
        {"": 'min(up{job=~"peermentor|peermentor-envoy"})'},
        (("red", None), ("green", 1)),
    ),
    Number(
        "Database",
        "1 if it answers every worker, and takes writes.",
        "none",
        {"": "min(peermentor_database_up{OWN})"},
        (("red", None), ("green", 1)),
    ),
    Number(
        "Calls that fail",
        "Of all calls, by no fault of their callers.",
        "percentunit",
        {
            "": f"({rate('grpc_server_handled_total', 'CALLS,FAILED')} or vector(0))"
            f" / {rate('grpc_server_handled_total', 'CALLS')}"
        },
        (("green", None), ("red", 0.02)),
    ),
    Number(
        "Calls in flight",
        "They began and have not ended.",
        "none",
        {
            "": now("peermentor_calls_in_flight"),
        },
    ),
    Number(
        "Certificate ends in",
        "The one that Envoy serves.",
        "s",
        {"": "min(envoy_listener_ssl_certificate_expiration_unix_time_seconds{ENVOY}) - time()"},
        (("red", None), ("green", 14 * DAY_S)),
    ),
    Number(
        "Last backup",
        "So long ago, of a SQLite file.",
        "s",
        {
            "": "time() - min(peermentor_backup_timestamp_seconds{OWN}"
            ' and on (job, instance) peermentor_database_file_bytes{file="database"})'
        },
        (("green", None), ("red", 26 * 3600)),
    ),
)
CALLS = (
    Panel(
        "Calls",
        "Over gRPC and REST.",
        "reqps",
        {"{{grpc_method}}": rate("grpc_server_started_total", "CALLS", "grpc_method")},
    ),
    Panel(
        "Ends",
        "By the codes of gRPC.",
        "reqps",
        {"{{grpc_code}}": rate("grpc_server_handled_total", "CALLS", "grpc_code")},
    ),
    Panel(
        "REST",
        "By the classes of HTTP status, of those too that the gateway answers itself.",
        "reqps",
        {
            "{{envoy_response_code_class}}xx": rate(
                "envoy_http_downstream_rq_xx", "REST", "envoy_response_code_class"
            )
        },
    ),
    Panel(
        "Time of a call",
        "In a worker, its wait for a thread included.",
        "s",
        quantiles("grpc_server_handling_seconds", "CALLS"),
    ),
    Panel(
        "Time of nearly all calls",
        "Of a hundred, ninety-nine are quicker.",
        "s",
        {
            "{{grpc_method}}": quantile(
                0.99, "grpc_server_handling_seconds", "CALLS", by="grpc_method"
            )
        },
    ),
    Panel(
        "Callers",
        "By what they show of themselves.",
        "reqps",
        {"{{kind}}": rate("peermentor_credentials_total", by="kind")},
    ),
)
FULLNESS = (
    Panel(
        "Calls refused",
        "Because a lane was full, or because their turn came too late.",
        "reqps",
        {
            "full: {{lane}}": rate("peermentor_calls_shed_total", by="lane"),
            "late: {{lane}}": rate("peermentor_calls_late_total", by="lane"),
        },
    ),
    Panel(
        "Wait for a connection",
        "Of transactions, in the pool of their worker.",
        "s",
        quantiles("peermentor_database_connecting_seconds"),
    ),
    Panel(
        "Wait for the turn to write",
        "On SQLite.",
        "s",
        quantiles("peermentor_write_queue_seconds"),
    ),
    Panel(
        "Connections in use",
        "A worker has at most 12.",
        "none",
        {"{{instance}}": now("peermentor_database_connections_in_use", by="instance")},
    ),
    Panel(
        "Trouble that callers do not notice",
        "Transactions that were run again, workers that stood still, calls that Envoy repeated.",
        "ops",
        {
            "run again": rate("peermentor_retries_total"),
            "stood still": rate("peermentor_stalls_total"),
            "repeated": rate("envoy_cluster_upstream_rq_retry", "WORKERS"),
        },
    ),
    Panel(
        "Memory of the gateway",
        "Of what it may have. At 98 % it refuses calls.",
        "percent",
        {"{{instance}}": "envoy_overload_envoy_resource_monitors_fixed_heap_pressure{ENVOY}"},
    ),
)
DATABASE = (
    Panel(
        "Statements",
        "By their first words.",
        "ops",
        {"{{kind}}": rate("peermentor_database_statement_seconds_count", by="kind")},
    ),
    Panel(
        "Time of nearly all statements",
        "Of a hundred, ninety-nine are quicker.",
        "s",
        {"{{kind}}": quantile(0.99, "peermentor_database_statement_seconds", by="kind")},
    ),
    Panel(
        "Time of a commit",
        "The wait for the disk, and for a standby.",
        "s",
        quantiles("peermentor_database_commit_seconds"),
    ),
    Panel(
        "Standbys",
        "That are connected to PostgreSQL.",
        "none",
        {"{{instance}}": "peermentor_database_standbys{OWN}"},
    ),
    Panel(
        "SQLite file",
        "And the log beside it.",
        "bytes",
        {"{{instance}} {{file}}": "peermentor_database_file_bytes{OWN}"},
    ),
    Panel(
        "Keys of creates",
        "That may be repeated. Only where rows are counted.",
        "none",
        {"{{grpc_method}}": "max by (grpc_method) (peermentor_idempotency_keys{OWN})"},
    ),
)
PROCESSES = (
    Panel(
        "Processor",
        "Cores that each worker keeps busy.",
        "none",
        {"{{instance}} worker {{pid}}": rate("peermentor_worker_cpu_seconds", by="instance, pid")},
    ),
    Panel(
        "Memory",
        "Of each worker.",
        "bytes",
        {"{{instance}} worker {{pid}}": "peermentor_worker_memory_bytes{OWN}"},
    ),
    Panel(
        "Workers",
        "Those that Envoy calls, and those that there should be.",
        "none",
        {
            "healthy": now("envoy_cluster_membership_healthy", "WORKERS"),
            "all": now("envoy_cluster_membership_total", "WORKERS"),
        },
    ),
    Panel(
        "Deaths",
        "Of processes, by themselves, since `serve` began.",
        "none",
        {"{{part}}: {{end}}": now("peermentor_part_deaths_total", by="part, end")},
    ),
    Panel(
        "Starts",
        "Of processes, since `serve` began.",
        "none",
        {"{{part}}": now("peermentor_part_starts_total", by="part")},
    ),
    Panel(
        "Log lines lost",
        "In a minute, because nobody took them.",
        "none",
        {"{{instance}}": f"60 * {rate('peermentor_log_lines_dropped_total', by='instance')}"},
    ),
)
OTHERS = (
    Panel(
        "Open assignments",
        "Of each organisation. Only where rows are counted.",
        "none",
        {"{{organization}}": _of_organizations("open")},
    ),
    Panel(
        "Overdue assignments",
        "Of each organisation. Only where rows are counted.",
        "none",
        {"{{organization}}": _of_organizations("overdue")},
    ),
    Panel(
        "Keys of tokens",
        "Read so long ago, where tokens are taken.",
        "s",
        {"{{instance}}": "time() - (peermentor_key_set_read_timestamp_seconds{OWN} > 0)"},
    ),
    Panel(
        "Versions",
        "That serve.",
        "none",
        {"{{version}} on Python {{python}}": now("peermentor_build_info", by="version, python")},
    ),
)
ROWS = {
    "Now": NOW,
    "Calls": CALLS,
    "How full it is": FULLNESS,
    "Database": DATABASE,
    "Processes": PROCESSES,
    "Others": OTHERS,
}


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return {
        "title": "peermentor",
        "uid": "peermentor",
        "tags": ["peermentor"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_choice_of_source(), _choice_of_instances()]},
        "panels": list(_panels()),
    }


def _choice_of_source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _choice_of_instances() -> dict[str, Any]:
    query = "label_values(peermentor_build_info, instance)"
    everything = {"selected": True, "text": "All", "value": "$__all"}
    many = {"multi": True, "includeAll": True, "allValue": ".*", "current": everything}
    variable = {"name": "instance", "label": "Service", "type": "query", "datasource": SOURCE}
    return {**variable, **many, "query": query, "refresh": 2, "sort": 1}


def _panels() -> Iterator[dict[str, Any]]:
    top = 0
    for title, panels in ROWS.items():
        yield {"type": "row", "title": title, "gridPos": _place(0, top, WIDTH, 1)}
        top += 1
        left = 0
        for panel in panels:
            is_number = isinstance(panel, Number)
            width, height = (NUMBER, NUMBER_HEIGHT) if is_number else (PANEL, PANEL_HEIGHT)
            if left + width > WIDTH:
                left, top = 0, top + height
            yield _panel(panel, _place(left, top, width, height))
            left += width
        top += height


def _with_labels(query: str) -> str:
    return re.sub(r"\b[A-Z]+\b", lambda word: LABELS[word[0]], query)


def _place(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(panel: Panel, place: Mapping[str, int]) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + number),
            "expr": _with_labels(query),
            "legendFormat": legend or "__auto",
        }
        for number, (legend, query) in enumerate(panel.queries.items())
    ]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if isinstance(panel, Number):
        steps = [{"color": color, "value": value} for color, value in panel.steps]
        defaults = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    return {
        "type": "stat" if isinstance(panel, Number) else "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
    }


def main(file: str) -> None:
    """Write the file anew."""
    Path(file).write_text(json.dumps(dashboard(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
