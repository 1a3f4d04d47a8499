"""What the service manager is told, by the datagrams that systemd would read."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from peermentor_server.supervise import probe
from peermentor_server.supervise.notify import Manager
from support.ports import free_ports
from support.serving import serving, settings_for

VARIABLES = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}


@contextmanager
def listening_at(name: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name)
        listening.settimeout(60)
        yield listening


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket on which a service manager listens."""
    with listening_at(str(tmp_path / "notify")) as listening:
        yield listening


@pytest.fixture(params=["path", "abstract"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """The same, with its name in a directory or in the kernel alone."""
    name = str(tmp_path / "any") if request.param == "path" else f"\0peermentor-{os.getpid()}"
    with listening_at(name) as listening:
        yield listening


def address_of(listening: socket.socket) -> str:
    """Return what the environment has."""
    return os.fsdecode(listening.getsockname()).replace("\0", "@")


def news(systemd: socket.socket) -> str:
    """Return the next news, however often it was told before that all is well."""
    while (told := systemd.recv(4096).decode()) == "WATCHDOG=1":
        pass
    return told


def test_serve_tells_when_it_is_ready_well_reloading_and_stopping(
    systemd: socket.socket, tmp_path: Path
) -> None:
    environment = settings_for(f"sqlite:///{tmp_path}/own.db", free_ports(3)) | {
        "NOTIFY_SOCKET": address_of(systemd),
        "WATCHDOG_USEC": "100000",
    }
    with serving(environment) as running:
        assert systemd.recv(4096) == b"READY=1"
        assert [systemd.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        assert not [child for child in running.children if VARIABLES & child.environ().keys()]
        running.process.send_signal(signal.SIGUSR1)
        assert news(systemd).startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert systemd.recv(4096) == b"WATCHDOG=1"
        assert news(systemd) == "READY=1"
        running.process.send_signal(signal.SIGTERM)
        assert news(systemd) == "STOPPING=1"
        assert running.wait()[0] == 0


@pytest.mark.parametrize("access", ["open", "required"])
def test_who_balances_calls_is_told_so_at_once(
    systemd: socket.socket, tmp_path: Path, access: str
) -> None:
    grpc, rest, admin = free_ports(3)
    own = settings_for(f"sqlite:///{tmp_path}/own.db", [grpc, rest, admin])
    told = {"NOTIFY_SOCKET": address_of(systemd), "PEERMENTOR_ACCESS": access}
    with serving(own | told):
        assert systemd.recv(4096) == b"READY=1"
        assert probe.status(f"http://127.0.0.1:{rest}/readyz") == 200


def test_a_serve_that_does_not_start_never_says_that_it_is_ready(systemd: socket.socket) -> None:
    environment = settings_for("sqlite:////no/such/directory/own.db", free_ports(3))
    environment["NOTIFY_SOCKET"] = address_of(systemd)
    with pytest.raises(AssertionError, match="cannot use"), serving(environment):
        pass
    assert news(systemd) == "STOPPING=1"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"WATCHDOG_USEC": "1"}, ["WATCHDOG=1", "STOPPING=1"]),
        ({"WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid())}, ["WATCHDOG=1", "STOPPING=1"]),
        ({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}, ["STOPPING=1"]),
        ({"WATCHDOG_USEC": "soon"}, ["STOPPING=1"]),
        ({}, ["STOPPING=1"]),
    ],
)
def test_the_watchdog_is_told_if_it_is_for_this_process(
    given: dict[str, str], told: list[str], anywhere: socket.socket
) -> None:
    environment = {"NOTIFY_SOCKET": address_of(anywhere), "HOME": "/", **given}
    manager = Manager.taken_from(environment)
    assert environment == {"HOME": "/"}
    manager.is_well()
    manager.stops()
    assert [anywhere.recv(4096).decode() for _ in told] == told


def test_the_watchdog_is_told_no_more_often_than_it_asks_for(anywhere: socket.socket) -> None:
    manager = Manager(address_of(anywhere), watchdog_s=3600)
    for _ in range(3):
        manager.is_well()
    manager.stops()
    assert [anywhere.recv(4096) for _ in range(2)] == [b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize("address", ["/no/such/socket", "vsock:2:1", "/" + "long" * 50])
def test_a_manager_that_cannot_be_told_stops_nothing(address: str) -> None:
    with capture_logs() as lines:
        Manager(address).is_ready()
    assert [line["event"] for line in lines] == ["service manager not told"]
    assert lines[0]["reason"]


def test_without_a_manager_nothing_is_told() -> None:
    with capture_logs() as lines:
        Manager.taken_from({"WATCHDOG_USEC": "1"}).is_well()
    assert lines == []
