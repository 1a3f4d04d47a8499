"""`serve`: one command that runs everything, says what it needs, and leaves nothing behind."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from support.commands import run
from support.ports import free_ports
from support.serving import assert_all_end, is_alive, serving, settings_for


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Settings with free ports and a SQLite file of the test's own."""
    return settings_for(f"sqlite:///{tmp_path}/own.db", free_ports(3))


@pytest.fixture
def each_environment(empty_url: str) -> dict[str, str]:
    """The same for either kind of database, with the newest schema."""
    run("migrate", PEERMENTOR_DATABASE_URL=empty_url)
    return settings_for(empty_url, free_ports(3))


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


def test_a_proxy_in_the_environment_is_for_others(environment: dict[str, str]) -> None:
    with serving(environment | {"http_proxy": "http://127.0.0.1:1"}) as running:
        assert running.children


def test_no_web_page_can_stop_the_gateway(environment: dict[str, str]) -> None:
    with serving(environment):
        admin = f"http://{environment['PEERMENTOR_ADMIN_ADDRESS']}"
        assert httpx.get(f"{admin}/ready").status_code == 200
        for path in ("/quitquitquit", "/healthcheck/fail", "/drain_listeners", "/config_dump"):
            assert httpx.post(f"{admin}{path}").status_code == 403


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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


def kill(process: psutil.Process) -> None:
    process.kill()


def terminate(process: psutil.Process) -> None:
    process.terminate()


@pytest.mark.parametrize("end", [kill, terminate])
@pytest.mark.parametrize(
    ("part", "name"), [("--no-gateway", "the gRPC server"), ("envoy", "Envoy")]
)
def test_when_a_part_dies_all_ends_and_says_which(
    part: str, name: str, end: Callable[[psutil.Process], None], environment: dict[str, str]
) -> None:
    with serving(environment) as running:
        end(running.child(part))
        status, errors = running.wait()
        assert status == 1
        assert f"peermentor-server: {name} ended with " in errors
        assert not any(map(is_alive, running.children))


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
    assert "the gRPC server ended with status 1" in result.stderr


def test_acknowledged_data_is_there_after_a_kill_and_a_new_start(
    each_environment: dict[str, str],
) -> None:
    environment = each_environment
    body = dict.fromkeys(("mentee_id", "peer_mentor_id", "coordinator_id", "org_id"), "x")
    rest = f"http://{environment['PEERMENTOR_REST_ADDRESS']}/api/v1/assignments"
    with serving(environment) as running:
        created = httpx.post(rest, json=body).json()
        os.kill(running.child("--no-gateway").pid, signal.SIGKILL)
    with serving(environment):
        assert httpx.get(f"{rest}/{created['assignment_id']}").json() == created
