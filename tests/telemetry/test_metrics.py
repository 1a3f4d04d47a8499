"""What Prometheus is told: by all processes of `serve`, while they come and go."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from peermentor import Client
from peermentor_server import database_url
from peermentor_server.storage import backup_times
from peermentor_server.telemetry import metric_files
from support.commands import run, start
from support.factories import NEW_ASSIGNMENT
from support.plain_http import NO_TLS
from support.ports import free_ports
from support.serving import Running, is_alive, serving, settings_for
from support.waiting import wait_until

# None of them is about a person, and none has more than a few dozen values.
LABELS = {
    *("grpc_type", "grpc_service", "grpc_method", "grpc_code", "kind", "lane", "file", "le"),
    *("part", "end", "pid", "version", "python", "organization", "state"),
}
Sample = tuple[str, frozenset[tuple[str, str]]]


def page(address: str) -> dict[Sample, float]:
    """Return the values that an address shows, by names and labels."""
    answer = httpx.get(f"http://{address}/metrics", verify=NO_TLS)
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def total(found: dict[Sample, float], name: str, **labels: str) -> float:
    """Return the sum of the values of a name that have these labels."""
    return sum(
        value for (each, its), value in found.items() if each == name and set(labels.items()) <= its
    )


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Settings of a service of the test's own, with metrics."""
    *ports, metrics_port = free_ports(4)
    return settings_for(f"sqlite:///{tmp_path}/own.db", ports) | {
        "PEERMENTOR_METRICS_ADDRESS": f"127.0.0.1:{metrics_port}",
        "PEERMENTOR_METRICS_COUNTS": "on",
        "PEERMENTOR_WORKERS": "2",
    }


@pytest.fixture
def running(settings: dict[str, str], tmp_path: Path) -> Iterator[Running]:
    """A service with two workers and a page of metrics."""
    with (tmp_path / "log").open("w") as log, serving(settings, log) as running:
        yield running


def test_all_workers_are_counted_together_while_they_come_and_go(running: Running) -> None:
    address = running.environment["PEERMENTOR_METRICS_ADDRESS"]

    def handled(method: str, code: str) -> float:
        found = page(address)
        return total(found, "grpc_server_handled_total", grpc_method=method, grpc_code=code)

    with httpx.Client(base_url=f"http://{running.rest}/api/v1", verify=NO_TLS) as client:
        for _ in range(10):
            assert client.get("/assignments/asgn_999").status_code == 404
        assert client.post("/assignments", json=NEW_ASSIGNMENT).status_code == 200
        assert client.post("/assignments", json={}).status_code == 400
        wait_until(lambda: handled("GetAssignment", "NotFound") == 10, 10)
        assert handled("CreateAssignment", "OK") == 1
        assert handled("CreateAssignment", "InvalidArgument") == 1
        # One dies, and both are replaced: nothing that was counted is lost.
        running.named("worker")[0].kill()
        wait_until(lambda: running.lines("died") != [], 20)
        wait_until(lambda: len(running.named("worker")) == 2, 20)
        running.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: running.lines("workers replaced") != [], 60)
        wait_until(lambda: client.get("/assignments/asgn_999").status_code == 404, 20)
    wait_until(lambda: handled("GetAssignment", "NotFound") == 11, 10)
    url = running.environment["PEERMENTOR_DATABASE_URL"]
    backup_times.note(Path(database_url.sqlite_file(url)))
    wait_until(lambda: total(page(address), "peermentor_backup_timestamp_seconds") > 0, 10)
    found = page(address)
    service = "peermentor.v1.AssignmentService"
    of_gets = {"grpc_type": "unary", "grpc_service": service, "grpc_method": "GetAssignment"}
    assert total(found, "grpc_server_started_total", **of_gets) == 11
    assert total(found, "grpc_server_handling_seconds_count", **of_gets) == 11
    assert total(found, "peermentor_part_starts_total", part="Envoy") == 1
    starts = sum(total(found, "peermentor_part_starts_total", part=f"worker {n}") for n in (1, 2))
    assert starts == 5
    assert total(found, "peermentor_part_deaths_total", end="signal SIGKILL") == 1
    assert total(found, "peermentor_database_up") == 1
    assert total(found, "peermentor_database_file_bytes", file="database") > 0
    assert total(found, "peermentor_database_file_bytes", file="wal") > 0
    assert total(found, "peermentor_database_statement_seconds_count", kind="select") > 10
    assert total(found, "peermentor_database_commit_seconds_count") > 0
    assert total(found, "peermentor_write_queue_seconds_count") > 0
    assert total(found, "peermentor_build_info") == 1
    # Counted when the first worker was replaced, and by no other.
    counted = {"organization": NEW_ASSIGNMENT["org_id"], "state": "open"}
    assert total(found, "peermentor_assignments", **counted) == 1
    # Each of those that live, and no other.
    assert len([name for name, _ in found if name == "peermentor_worker_cpu_seconds"]) == 2
    assert {label for _, labels in found for label, _ in labels} <= LABELS


def test_the_page_is_back_when_its_process_dies(running: Running) -> None:
    address = running.environment["PEERMENTOR_METRICS_ADDRESS"]
    child: psutil.Process = running.child("metrics --directory")
    child.kill()
    wait_until(lambda: not is_alive(child) and bool(running.named("metrics --directory")), 20)

    def answers() -> bool:
        try:
            return total(page(address), "peermentor_part_deaths_total", part="metrics") == 1
        except httpx.TransportError:
            return False

    wait_until(answers, 20)


TAKE_SLOTS = """
import os, signal, sys
from pathlib import Path
from peermentor_server.telemetry import metric_files, metrics

def live():
    metric_files.take_slot(Path(sys.argv[1]))
    metrics.current.retries.inc()
    metrics.current.memory.set(1)
    os.write(told, b".")
    signal.pause()

for _ in range(100):
    heard, told = os.pipe()
    children = [os.fork() or live() for _ in range(2)]
    for child in children:
        os.read(heard, 1)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(heard), os.close(told)
"""


def test_files_stay_few_and_small_however_many_processes_come_and_go(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", TAKE_SLOTS, str(tmp_path)], check=True, timeout=60)
    files = list(tmp_path.iterdir())
    # Of two processes at a time: a lock, and one for each kind of metric.
    assert len(files) <= 2 * 7
    assert sum(file.stat().st_size for file in files) <= 2 * 7 * 2**17
    counted = {
        sample.name: sample.value
        for family in metric_files.Files(tmp_path).collect()
        for sample in family.samples
    }
    assert counted["peermentor_retries_total"] == 200
    # True only of those that live.
    assert "peermentor_worker_memory_bytes" not in counted


def test_without_the_gateway_the_server_has_a_page_itself(settings: dict[str, str]) -> None:
    with start("serve", "--no-gateway", **settings) as process:
        with Client(settings["PEERMENTOR_GRPC_ADDRESS"]) as client:
            assert client.assignments.list().count() == 0
        found = page(settings["PEERMENTOR_METRICS_ADDRESS"])
        assert total(found, "grpc_server_handled_total", grpc_code="OK") == 1
        process.send_signal(signal.SIGINT)


def test_a_taken_port_is_named(settings: dict[str, str]) -> None:
    host, port = settings["PEERMENTOR_METRICS_ADDRESS"].split(":")
    with socket.create_server((host, int(port))):
        for command in (["serve"], ["serve", "--no-gateway"]):
            result = run(*command, **settings)
            assert result.returncode == 1
            told = f"PEERMENTOR_METRICS_ADDRESS: cannot listen on {host}:{port}: address already"
            assert told in result.stderr
