"""`serve`: one command that runs everything, says what it needs, and leaves nothing behind."""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from structlog.testing import capture_logs

from peermentor_server import demo, supervisor
from peermentor_server.storage.database import Database
from support.commands import PROGRAM, run
from support.databases import migrated, url_of
from support.flood import flood
from support.ports import free_ports
from support.serving import (
    Running,
    assert_all_end,
    is_alive,
    read_welcome,
    served,
    serving,
    settings_for,
)
from support.waiting import wait_until


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A SQLite file of the test's own."""
    return f"sqlite:///{tmp_path}/own.db"


@pytest.fixture
def environment(url: str) -> dict[str, str]:
    """Settings with that file, and with free ports."""
    return settings_for(url, free_ports(3))


@pytest.fixture
def each_environment(own: Database) -> dict[str, str]:
    """The same for either kind of database, with the newest schema."""
    return settings_for(url_of(own), free_ports(3))


WORKERS = 3


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that several tests call, with more than one worker."""
    url = f"sqlite:///{tmp_path_factory.mktemp('shared')}/own.db"
    more = {
        "PEERMENTOR_WORKERS": str(WORKERS),
        "PEERMENTOR_LOG_LEVEL": "warning",
        # A proxy in the environment is for others: the service starts all the same.
        "http_proxy": "http://127.0.0.1:1",
    }
    with serving(settings_for(url, free_ports(3)) | more) as running:
        yield running


def test_it_says_where_it_listens_and_two_lines_to_try(each_environment: dict[str, str]) -> None:
    with serving(each_environment) as running:
        assert each_environment["PEERMENTOR_GRPC_ADDRESS"] in running.welcome
        assert f"http://{each_environment['PEERMENTOR_REST_ADDRESS']}" in running.welcome
        post, get = re.findall(r"^ *(curl .*)$", running.welcome, re.MULTILINE)
        created = paste(post)
        assert '"assignment_id":"asgn_001"' in created
        assert '"mentee_name":"Bjørn Solberg"' in created
        assert created in paste(get)


def paste(command: str) -> str:
    pasted = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=20, check=True
    )
    return pasted.stdout


def test_no_web_page_can_stop_the_gateway(shared: Running) -> None:
    admin = f"http://{shared.environment['PEERMENTOR_ADMIN_ADDRESS']}"
    assert httpx.get(f"{admin}/ready").status_code == 200
    for path in ("/quitquitquit", "/healthcheck/fail", "/drain_listeners", "/config_dump"):
        assert httpx.post(f"{admin}{path}").status_code == 403


def test_the_gateway_is_told_no_secrets(shared: Running) -> None:
    environment = shared.child("envoy").environ()
    assert not [name for name in environment if name.startswith("PEERMENTOR_")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_order(
    number: signal.Signals, environment: dict[str, str]
) -> None:
    with serving(environment) as running:
        running.process.send_signal(number)
        status, errors = running.wait()
        assert status == 0
        assert "Traceback" not in errors
        assert not any(map(is_alive, running.children))
        assert len(running.children) == 2


def test_a_closed_terminal_stops_everything(environment: dict[str, str]) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(PROGRAM, [PROGRAM, "serve"], os.environ | environment)  # noqa: S606
    output = b""
    while b"curl http" not in output:
        output += os.read(terminal, 4096)
    children = psutil.Process(pid).children(recursive=True)
    assert len(children) == 2
    os.close(terminal)
    wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 20)
    assert_all_end(children)


@pytest.mark.parametrize("end", [psutil.Process.kill, psutil.Process.terminate])
def test_a_part_that_dies_is_started_again(
    end: Callable[[psutil.Process], None], environment: dict[str, str]
) -> None:
    rest = f"http://{environment['PEERMENTOR_REST_ADDRESS']}/api/v1/assignments"
    with serving(environment) as running:
        dead = []
        for part in ("worker", "envoy"):
            child = running.child(part)
            end(child)
            wait_until(lambda: not is_alive(child) and bool(running.named(part)), 20)  # noqa: B023
            wait_until(lambda: answers(rest), 20)
            dead.append(child.pid)
        running.process.send_signal(signal.SIGINT)
        status, errors = running.wait()
    assert status == 0
    died = [line for line in map(json.loads, errors.splitlines()) if line["event"] == "died"]
    told = [(line["part"], line["pid"]) for line in died]
    assert told == list(zip(("worker 1", "Envoy"), dead, strict=True))


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def kill_again_and_again(running: Running, *, once_it_serves: bool) -> list[float]:
    """Kill the only worker four times; return how long `serve` waited before each new start."""
    rest = f"http://{running.rest}/api/v1/assignments"
    for _ in range(4):
        wait_until(lambda: bool(running.named("worker")), 20)
        if once_it_serves:
            wait_until(lambda: answers(rest), 20)
        dead = running.child("worker")
        dead.kill()
        wait_until(lambda: not psutil.pid_exists(dead.pid), 20)  # noqa: B023 - seen as dead
    return [line["restart_in_s"] for line in running.lines("died")]


def test_a_worker_that_does_not_even_start_has_to_wait(url: str, tmp_path: Path) -> None:
    with served(url, tmp_path, workers=1) as running:
        pauses = kill_again_and_again(running, once_it_serves=False)
    assert pauses == [0, 0.25, 0.5, 1.0]


def test_a_worker_that_served_is_soon_back_however_often_it_dies(url: str, tmp_path: Path) -> None:
    with served(url, tmp_path, workers=1) as running:
        pauses = kill_again_and_again(running, once_it_serves=True)
    assert pauses == [0, 0.25, 0.25, 0.25]


def test_a_worker_that_hangs_for_long_is_killed_and_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "SILENT_S", 0.2)
    monkeypatch.setattr(supervisor, "HUNG_S", 5)
    one_beat = "import os, sys, time; os.write(int(sys.argv[-1]), b'.'); time.sleep(60)"
    part = supervisor.Part("worker 1", [sys.executable, "-c", one_beat], has_pulse=True)
    part.start()
    assert part.child is not None
    hanging = part.child
    with capture_logs() as lines:
        while part.child is hanging:
            part.tend()
            time.sleep(0.02)
    events = list(dict.fromkeys(line["event"] for line in lines))
    assert events[:3] == ["does not answer", "hangs", "died"]
    if part.child is not None:
        part.child.send(signal.SIGKILL)
        part.child.await_end()


def test_a_damaged_database_is_said_to_be_the_cause(url: str, tmp_path: Path) -> None:
    with migrated(url) as database:
        demo.load(database)
    with (tmp_path / "own.db").open("r+b") as damaged:
        for page in range(2, 12):
            damaged.seek(page * 4096 + 8)
            damaged.write(b"\xff" * 600)
    result = run("serve", **settings_for(url, free_ports(3)))
    assert result.returncode == 1
    assert "the first call ended in an internal error" in result.stderr


def test_sighup_replaces_every_worker_and_nothing_else(url: str, tmp_path: Path) -> None:
    with served(url, tmp_path, workers=2) as running:
        before = {process.pid for process in running.named("worker")}
        envoy = running.child("envoy")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: running.lines("workers replaced") != [], 60)
        after = {process.pid for process in running.named("worker")}
        assert len(after) == 2
        assert not before & after
        assert is_alive(envoy)
        running.process.send_signal(signal.SIGTERM)
        assert running.wait()[0] == 0
    draining, drained = (
        {line["part"]: line["timestamp"] for line in running.lines(event) if "part" in line}
        for event in ("draining", "drained")
    )
    assert draining.keys() == drained.keys() == {"worker 1", "worker 2"}
    assert all(draining[part] < drained[part] for part in drained)
    assert running.lines("died") == []


def test_a_worker_stays_when_its_successor_cannot_start(url: str, tmp_path: Path) -> None:
    with served(url, tmp_path, workers=1) as running:
        before = running.child("worker")
        # A schema that only a newer program knows.
        with closing(sqlite3.connect(tmp_path / "own.db")) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: running.lines("workers not replaced") != [], 60)
        assert running.lines("workers replaced") == []
        assert is_alive(before)
        assert running.child("worker") == before


# Between workers that have equally little to do, chance decides: it takes many calls until the
# busiest of three has no more than five of a hundred above the others by chance alone.
MANY = 10_000
# Calls at the same time. When more wait, a worker that the machine slows down gets fewer of them.
FEW = 5


@pytest.mark.parametrize("through", ["rest", "grpc"])
def test_calls_are_spread_evenly_over_the_workers(through: str, shared: Running) -> None:
    call = {"rest": lambda: call_rest(shared.rest), "grpc": lambda: call_grpc(shared.grpc)}
    before = shared.calls_by_worker()
    # What chance, and other programs on the machine, give one of them evens out with more calls.
    for _ in range(3):
        call[through]()
        after = shared.calls_by_worker()
        counts = [after[address] - before[address] for address in after]
        if max(counts) <= 1.05 * sum(counts) / WORKERS:
            break
    assert len(counts) == WORKERS
    assert sum(counts) >= MANY
    assert max(counts) <= 1.05 * sum(counts) / WORKERS


def call_rest(address: str) -> None:
    # The quickest that a worker answers.
    request = f"GET /api/v1/assignments/none HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    made = 0
    while made < MANY:
        answers = flood(address, [request] * FEW, seconds=1)
        assert set(answers.counts) == {404}
        made += answers.counts[404]


def call_grpc(address: str) -> None:
    """Call over a single connection."""
    with grpc.insecure_channel(address) as channel:
        check = HealthStub(channel).Check
        for _ in range(MANY // FEW):
            calls = [check.future(HealthCheckRequest()) for _ in range(FEW)]
            assert {call.result().status for call in calls} == {HealthCheckResponse.SERVING}


def test_no_child_outlives_a_killed_parent(environment: dict[str, str]) -> None:
    with serving(environment) as running:
        running.process.kill()
        assert_all_end(running.children)


@pytest.mark.parametrize(
    "variable",
    ["PEERMENTOR_GRPC_ADDRESS", "PEERMENTOR_REST_ADDRESS", "PEERMENTOR_ADMIN_ADDRESS"],
)
def test_a_taken_port_is_named_with_its_variable(
    variable: str, environment: dict[str, str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment[variable].split(":")[1])))
        taken.listen()
        result = run("serve", **environment)
    assert result.returncode == 1
    assert f"{variable}: cannot listen on {environment[variable]}: address already in use" in (
        result.stderr
    )


def test_the_grpc_server_alone_names_a_taken_port(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment["PEERMENTOR_GRPC_ADDRESS"].split(":")[1])))
        taken.listen()
        result = run("serve", "--no-gateway", **environment)
    assert result.returncode == 1
    assert "PEERMENTOR_GRPC_ADDRESS: cannot listen on 127.0.0.1:" in result.stderr


def test_a_database_out_of_reach_is_named(environment: dict[str, str]) -> None:
    broken = environment | {"PEERMENTOR_DATABASE_URL": "sqlite:////no/such/directory/own.db"}
    result = run("serve", **broken)
    assert result.returncode == 1
    assert "PEERMENTOR_DATABASE_URL: cannot use" in result.stderr
    assert "worker 1 ended with status 1" in result.stderr


def test_acknowledged_data_is_there_after_a_kill_and_a_new_start(
    each_environment: dict[str, str],
) -> None:
    environment = each_environment
    body = dict.fromkeys(("mentee_id", "peer_mentor_id", "coordinator_id", "org_id"), "x")
    rest = f"http://{environment['PEERMENTOR_REST_ADDRESS']}/api/v1/assignments"
    with serving(environment) as running:
        created = httpx.post(rest, json=body).json()
        os.kill(running.named("worker")[0].pid, signal.SIGKILL)
    with serving(environment):
        assert httpx.get(f"{rest}/{created['assignment_id']}").json() == created


# --- Standard error in trouble ---


def create_one(environment: dict[str, str]) -> int:
    rest = f"http://{environment['PEERMENTOR_REST_ADDRESS']}/api/v1/assignments"
    body = dict.fromkeys(("mentee_id", "peer_mentor_id", "coordinator_id", "org_id"), "x")
    return httpx.post(rest, json=body).status_code


def test_a_log_that_nobody_reads_any_more_fails_no_call(environment: dict[str, str]) -> None:
    with serving(environment) as running:
        assert running.process.stderr is not None
        running.process.stderr.close()
        assert [create_one(environment) for _ in range(3)] == [200] * 3
        before = running.child("worker").pid
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: before not in {each.pid for each in running.named("worker")}, 30)
        assert create_one(environment) == 200
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0


def test_a_log_that_is_full_holds_no_call_up(environment: dict[str, str]) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with serving(environment, writing) as running:
        os.close(writing)
        assert [create_one(environment) for _ in range(60)] == [200] * 60
        # Room again: the next line says what is missing.
        log = os.read(reading, 65536)
        assert create_one(environment) == 200
        log += os.read(reading, 65536)
        assert b'"lines_dropped": ' in log
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
    os.close(reading)


def test_without_standard_error_it_serves_too(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        ["bash", "-c", f"exec {PROGRAM} serve 2>&-"],
        env=dict(os.environ) | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        read_welcome(process)
        assert create_one(environment) == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
