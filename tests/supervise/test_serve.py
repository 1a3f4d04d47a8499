"""`serve`: one command that runs everything, says what it needs, and leaves nothing behind."""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from structlog.testing import capture_logs

from peermentor_server.cli import sample_data
from peermentor_server.settings import Address
from peermentor_server.storage.engine.database import Database
from peermentor_server.supervise import ports
from peermentor_server.supervise.children import Child
from peermentor_server.supervise.part import Part
from peermentor_server.timing import Timing
from support.commands import PROGRAM, run, start
from support.databases import migrated, url_of
from support.factories import NEW_ASSIGNMENT
from support.flood import flood
from support.moves import Moves
from support.plain_http import NO_TLS
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
from support.torture import either
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
        assert f"http://{each_environment['PEERMENTOR_REST_ADDRESS']}/docs" in running.welcome
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
    assert httpx.get(f"{admin}/ready", verify=NO_TLS).status_code == 200
    for path in ("/quitquitquit", "/healthcheck/fail", "/drain_listeners", "/config_dump"):
        assert httpx.post(f"{admin}{path}", verify=NO_TLS).status_code == 403


def test_ready_tells_by_its_exit_status(shared: Running) -> None:
    environment = shared.environment
    # A busy machine may be late for a look at the workers.
    wait_until(lambda: run("ready", **environment).returncode == 0, 20)
    # There, nobody answers like that.
    environment = environment | {"PEERMENTOR_REST_ADDRESS": shared.grpc}
    environment["PEERMENTOR_GRPC_ADDRESS"] = shared.rest
    refused = run("ready", **environment)
    assert refused.returncode == 1
    assert f"http://{shared.grpc}" in refused.stderr


def test_nobody_else_on_this_machine_reaches_a_worker_but_by_the_gateway(shared: Running) -> None:
    directory = shared.sockets()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    workers = shared.named("worker")
    assert len(workers) == WORKERS
    for worker in workers:
        assert not [each for each in worker.net_connections("inet") if each.status == "LISTEN"]
        [path] = {str(each.laddr) for each in worker.net_connections("unix")} - {""}
        assert Path(path).parent == directory


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


# --- SIGHUP ---


def on_a_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, int]:
    """Start `serve` on a terminal of its own; return its pid and the terminal once it serves."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, os.environ | environment)  # noqa: S606
    rest = f"http://{environment['PEERMENTOR_REST_ADDRESS']}/api/v1/assignments"
    wait_until(lambda: answers(rest), 40)
    return pid, terminal


def has_ended(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def test_a_closed_terminal_stops_everything(environment: dict[str, str]) -> None:
    pid, terminal = on_a_terminal([PROGRAM, "serve"], environment)
    children = psutil.Process(pid).children(recursive=True)
    assert len(children) == 2
    os.close(terminal)
    wait_until(lambda: has_ended(pid), 20)
    assert_all_end(children)


def test_under_nohup_it_outlives_its_terminal(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # There nohup keeps the output.
    rest = f"http://{environment['PEERMENTOR_REST_ADDRESS']}/api/v1/assignments"
    pid, terminal = on_a_terminal(["/usr/bin/nohup", PROGRAM, "serve"], environment)
    try:
        workers = psutil.Process(pid).children()
        os.close(terminal)
        os.kill(pid, signal.SIGHUP)
        os.kill(pid, signal.SIGUSR1)
        log = tmp_path / "nohup.out"
        wait_until(lambda: "workers replaced" in log.read_text(), 60)
        assert not has_ended(pid)
        assert answers(rest)
        assert sum(map(is_alive, workers)) == 1  # Envoy
    finally:
        os.kill(pid, signal.SIGINT)
        wait_until(lambda: has_ended(pid), 30)


@contextmanager
def starting(url: str, log: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start `serve` without a terminal, logging into a file; end it in the end."""
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [PROGRAM, "serve"],
            env=os.environ | settings_for(url, free_ports(3)) | {"PEERMENTOR_WORKERS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1], ids=["SIGHUP", "SIGUSR1"])
def test_a_worker_that_is_older_than_the_signal_is_replaced_whenever_that_comes(
    number: signal.Signals, url: str, tmp_path: Path
) -> None:
    """While it starts, and while one is being replaced. SIGHUP too, without a terminal."""
    log = tmp_path / "log"
    with starting(url, log) as process:
        wait_until(lambda: '"started"' in log.read_text(), 40)
        process.send_signal(number)
        wait_until(lambda: '"draining"' in log.read_text(), 60)
        process.send_signal(number)
        wait_until(lambda: log.read_text().count('"workers replaced"') == 2, 60)


def test_workers_do_not_mind_what_is_meant_for_serve(url: str, tmp_path: Path) -> None:
    with served(url, tmp_path, workers=1) as running:
        worker = running.child("worker")
        for number in (signal.SIGHUP, signal.SIGUSR1):
            worker.send_signal(number)
        assert answers(f"http://{running.rest}/api/v1/assignments")
        assert running.child("worker") == worker
        assert running.lines("died") == []


# --- Parts that end ---


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
        return httpx.get(url, verify=NO_TLS).status_code == 200
    except httpx.TransportError:
        return False


ONE_BEAT = "import os, sys, time; os.write(int(sys.argv[-1]), b'.'); time.sleep(600)"


def tended(part: Part) -> Child:
    """Tend it until there is a child."""

    def runs() -> bool:
        if part.child is None:
            part.tend()
        return part.child is not None

    wait_until(runs, 20)
    assert part.child is not None
    return part.child


def pauses_of(program: str) -> list[float]:
    """Let a part die four times, of which none counts as an accident; return its pauses.

    One that beats dies once it has been seen to serve.
    """
    # However long a busy machine takes for its start.
    never_steady = Timing(steady_s=3600)
    part = Part("worker 1", [sys.executable, "-c", program], has_pulse=True, timing=never_steady)
    pauses = []
    for _ in range(4):
        child = tended(part)
        wait_until(lambda: child.is_ready() or child.end() is not None, 60)  # noqa: B023
        child.send(signal.SIGKILL)
        child.await_end(60)
        with capture_logs() as lines:
            part.tend()
        (died,) = [line for line in lines if line["event"] == "died"]
        pauses.append(died["restart_in_s"])
    if part.child is not None:
        part.child.send(signal.SIGKILL)
        part.child.await_end(60)
    return pauses


def test_a_worker_that_does_not_even_start_has_to_wait(tmp_path: Path) -> None:
    # Any but the first.
    program = f"import os; os.mkdir({str(tmp_path / 'has served')!r}); {ONE_BEAT}"
    assert pauses_of(program) == [0, 0.25, 0.5, 1.0]


def test_a_worker_that_served_is_soon_back_however_often_it_dies() -> None:
    assert pauses_of(ONE_BEAT) == [0, 0.25, 0.25, 0.25]


def test_a_worker_that_hangs_for_long_is_killed_and_started_again() -> None:
    timing = Timing(silent_s=0.2, hung_s=1)
    part = Part("worker 1", [sys.executable, "-c", ONE_BEAT], has_pulse=True, timing=timing)
    part.start()
    assert part.child is not None
    hanging = part.child
    # However long a busy machine takes for its start.
    wait_until(hanging.is_ready, 60)
    moves = Moves()
    with capture_logs() as lines:
        while part.child is hanging:
            part.tend()
            time.sleep(0.02)
    events = list(dict.fromkeys(line["event"] for line in lines))
    assert events[:3] == ["does not answer", "hangs", "died"]
    # The kernel kills by the same signal.
    assert moves.of("peermentor_part_deaths_total", part="worker 1", end="hang") == 1
    if part.child is not None:
        part.child.send(signal.SIGKILL)
        part.child.await_end(60)


def test_a_damaged_database_is_said_to_be_the_cause(url: str, tmp_path: Path) -> None:
    with migrated(url) as database:
        sample_data.load(database)
    with (tmp_path / "own.db").open("r+b") as damaged:
        for page in range(2, 12):
            damaged.seek(page * 4096 + 8)
            damaged.write(b"\xff" * 600)
    result = run("serve", **settings_for(url, free_ports(3)))
    assert result.returncode == 1
    assert "the first call ended in an internal error" in result.stderr


def test_sigusr1_replaces_every_worker_and_nothing_else(url: str, tmp_path: Path) -> None:
    with served(url, tmp_path, workers=2) as running:
        before = {process.pid for process in running.named("worker")}
        envoy = running.child("envoy")
        running.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: running.lines("workers replaced") != [], 60)
        after = {process.pid for process in running.named("worker")}
        assert len(after) == 2
        assert not before & after
        assert is_alive(envoy)
        running.process.send_signal(signal.SIGINT)
        assert running.wait()[0] == 0
    draining, drained = (
        {line["part"]: line["timestamp"] for line in running.lines(event) if "part" in line}
        for event in ("draining", "drained")
    )
    assert draining.keys() == drained.keys() == {"worker 1", "worker 2"}
    assert all(draining[part] < drained[part] for part in drained)
    assert running.lines("died") == []


def test_nothing_of_a_replaced_worker_stays_open(url: str, tmp_path: Path) -> None:
    with served(url, tmp_path, workers=2) as running:
        process = psutil.Process(running.process.pid)
        before = process.num_fds()
        running.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: running.lines("workers replaced") != [], 90)
        running.child("worker --number 2").kill()
        wait_until(lambda: running.lines("died") != [], 20)
        wait_until(lambda: len(running.named("worker")) == 2, 20)
        wait_until(lambda: process.num_fds() == before, 10)
        # One path that the gateway knows, and one where it leads, for each.
        wait_until(lambda: len(list(running.sockets().glob("worker-*"))) == 4, 10)


@pytest.mark.parametrize(
    "ends", ["pass", "import os, sys; os.close(int(sys.argv[-1])); import time; time.sleep(600)"]
)
def test_a_child_leaves_nothing_open_however_it_ends(ends: str) -> None:
    descriptors = psutil.Process().num_fds
    before = descriptors()
    for end in (
        lambda child: child.await_end(60),
        lambda child: wait_until(lambda: child.end() is not None, 20),
    ):
        child = Child([sys.executable, "-c", ends], has_pulse=True)
        if ends != "pass":
            child.send(signal.SIGTERM)
        end(child)
        assert descriptors() == before
    with pytest.raises(OSError, match="No such file"):
        Child(["/no/such/program"], has_pulse=True)
    assert descriptors() == before


def test_a_program_that_is_gone_for_a_while_ends_nothing(tmp_path: Path) -> None:
    """As while another version of it is being installed."""
    program = tmp_path / "program"
    part = Part("Envoy", [str(program)], has_pulse=False, timing=Timing(last_restart_s=0.1))
    with capture_logs() as lines:
        part.tend()
        assert [line["event"] for line in lines] == ["not started"]
        program.write_text("#!/bin/sh\nexec sleep 600\n")
        program.chmod(0o700)
        child = tended(part)
    child.send(signal.SIGKILL)
    child.await_end(60)


def test_a_worker_stays_when_its_successor_cannot_start(url: str, tmp_path: Path) -> None:
    with served(url, tmp_path, workers=1) as running:
        before = running.child("worker")
        # A schema that only a newer program knows.
        with closing(sqlite3.connect(tmp_path / "own.db")) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        running.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: running.lines("workers not replaced") != [], 60)
        assert running.lines("workers replaced") == []
        (refused,) = running.lines("not replaced")
        assert "is newer than this program" in refused["reason"]
        assert is_alive(before)
        assert running.child("worker") == before


# Between workers that have equally little to do, chance decides: it takes many calls until the
# busiest of three has hardly more than the others by chance alone.
MANY = int(either(2_500, 10_000))
AT_MOST = either(1.1, 1.05)
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
        if max(counts) <= AT_MOST * sum(counts) / WORKERS:
            break
    assert len(counts) == WORKERS
    assert sum(counts) >= MANY
    assert max(counts) <= AT_MOST * sum(counts) / WORKERS


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


def ports_on_all_addresses(environment: dict[str, str]) -> dict[str, str]:
    """Return the settings with all that listens on `[::]`."""
    return {
        name: value.replace("127.0.0.1", "[::]") if name.endswith("ADDRESS") else value
        for name, value in environment.items()
    } | {"PEERMENTOR_ACCESS": "open-everywhere"}


@pytest.mark.parametrize("loopback", ["127.0.0.1", "[::1]"])
def test_all_addresses_are_those_of_both_families(
    loopback: str, environment: dict[str, str]
) -> None:
    with serving(ports_on_all_addresses(environment)):
        at = {name: value.replace("127.0.0.1", loopback) for name, value in environment.items()}
        assert answers(f"http://{at['PEERMENTOR_REST_ADDRESS']}/api/v1/assignments")
        assert answers(f"http://{at['PEERMENTOR_ADMIN_ADDRESS']}/ready")
        with grpc.insecure_channel(at["PEERMENTOR_GRPC_ADDRESS"]) as channel:
            answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=10)
        assert answer.status == HealthCheckResponse.SERVING


def test_so_are_those_of_the_grpc_server_alone(environment: dict[str, str]) -> None:
    with start("serve", "--no-gateway", **ports_on_all_addresses(environment)) as process:
        try:
            port = environment["PEERMENTOR_GRPC_ADDRESS"].split(":")[1]
            for loopback in ("127.0.0.1", "[::1]"):
                with grpc.insecure_channel(f"{loopback}:{port}") as channel:
                    check = HealthStub(channel).Check
                    answer = check(HealthCheckRequest(), timeout=20, wait_for_ready=True)
                assert answer.status == HealthCheckResponse.SERVING
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("by", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104
@pytest.mark.parametrize("wanted", ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"])  # noqa: S104
def test_a_port_is_free_if_it_can_be_listened_on(wanted: str, by: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in by else socket.AF_INET) as taken:
        taken.bind((by, 0))
        taken.listen()
        problem = ports.why_not_free(Address.parse(f"{wanted}:{taken.getsockname()[1]}"))
    ipv4 = {"127.0.0.1", "0.0.0.0"}  # noqa: S104
    apart = (wanted in ipv4 and by == "::1") or (wanted == "[::1]" and by in ipv4)
    assert problem == (None if apart else "address already in use")


def test_the_grpc_server_alone_names_a_taken_port(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment["PEERMENTOR_GRPC_ADDRESS"].split(":")[1])))
        taken.listen()
        result = run("serve", "--no-gateway", **environment)
    assert result.returncode == 1
    assert "PEERMENTOR_GRPC_ADDRESS: cannot listen on 127.0.0.1:" in result.stderr


def test_a_database_out_of_reach_is_named_once(environment: dict[str, str]) -> None:
    broken = environment | {
        "PEERMENTOR_DATABASE_URL": "sqlite:////no/such/directory/own.db",
        "PEERMENTOR_WORKERS": "3",
    }
    result = run("serve", **broken)
    assert result.returncode == 1
    assert result.stderr.count("PEERMENTOR_DATABASE_URL: cannot use") == 1
    assert re.search("worker [123] ended with status 1", result.stderr)


def test_what_is_wrong_is_said_in_the_format_of_the_log(environment: dict[str, str]) -> None:
    wrong = environment | {
        "PEERMENTOR_WORKERS": "none",
        "PEERMENTOR_CORS_ORIGINS": "x",
        "PEERMENTOR_ADRESS": "x",
    }
    for broken in (wrong, environment | {"PEERMENTOR_DATABASE_URL": "sqlite:////none/own.db"}):
        result = run("serve", **broken)
        assert result.returncode == 1
        lines = [json.loads(line) for line in result.stderr.splitlines()]
        told = [line["event"] for line in lines if line["level"] == "error"]
        assert len(told) == 2
        unknown = [line["event"] for line in lines if line["level"] == "warning"]
        assert unknown == ["there is no setting PEERMENTOR_ADRESS; ignored"] * (broken is wrong)
    result = run("serve", **environment, PEERMENTOR_WORKERS="none", PEERMENTOR_LOG_FORMAT="Console")
    assert result.stderr == (
        "peermentor-server: PEERMENTOR_WORKERS: must be a whole number from 1 to 64\n"
    )


def test_an_unknown_setting_is_named_once_and_those_of_clients_are_known(
    url: str, tmp_path: Path
) -> None:
    environment = settings_for(url, free_ports(3)) | {
        "PEERMENTOR_WORKERS": "2",
        "PEERMENTOR_ADDRESS": "127.0.0.1:1",
        "PEERMENTOR_ADRESS": "x",
        "PEERMENTOR_LOG_LEVEL": "",
    }
    with (tmp_path / "log").open("w") as log, serving(environment, log) as running:
        assert answers(f"http://{running.rest}/api/v1/assignments")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in lines if line["level"] == "warning"] == [
        "there is no setting PEERMENTOR_ADRESS; ignored"
    ]


def test_acknowledged_data_is_there_after_a_kill_and_a_new_start(
    each_environment: dict[str, str],
) -> None:
    environment = each_environment
    rest = f"http://{environment['PEERMENTOR_REST_ADDRESS']}/api/v1/assignments"
    with serving(environment) as running:
        created = httpx.post(rest, json=NEW_ASSIGNMENT, verify=NO_TLS).json()
        os.kill(running.named("worker")[0].pid, signal.SIGKILL)
    with serving(environment):
        assert httpx.get(f"{rest}/{created['assignment_id']}", verify=NO_TLS).json() == created


# --- Standard error in trouble ---


def create_one(environment: dict[str, str]) -> int:
    rest = f"http://{environment['PEERMENTOR_REST_ADDRESS']}/api/v1/assignments"
    return httpx.post(rest, json=NEW_ASSIGNMENT, verify=NO_TLS).status_code


def test_a_log_that_nobody_reads_any_more_fails_no_call(environment: dict[str, str]) -> None:
    with serving(environment) as running:
        assert running.process.stderr is not None
        running.process.stderr.close()
        assert [create_one(environment) for _ in range(3)] == [200] * 3
        before = running.child("worker").pid
        running.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: before not in {each.pid for each in running.named("worker")}, 30)
        assert create_one(environment) == 200
        running.process.send_signal(signal.SIGINT)
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
        running.process.send_signal(signal.SIGINT)
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
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
