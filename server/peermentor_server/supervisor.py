"""`serve`: runs the gRPC server and the gateway as child processes, and ends both together.

This process imports no gRPC. When one child dies the other is stopped, and the exit status
says that something failed; when this process dies, however suddenly, so do the children.
"""

import ctypes
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from peermentor_server import gateway
from peermentor_server.failures import CommandFailed
from peermentor_server.settings import Address, Settings

START_TIMEOUT_S = 30
# Longer than the server takes to finish the calls that run.
STOP_TIMEOUT_S = 15
# SIGHUP comes when the terminal is closed.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.05
_PR_SET_PDEATHSIG = 1


class ServeFailed(CommandFailed):
    """What could not be started or has died, and why."""


class _Stop(Exception):
    """A signal of STOP_SIGNALS came."""


def serve(settings: Settings, on_ready: Callable[[], None]) -> None:
    """Run until a signal of STOP_SIGNALS, or raise ServeFailed.

    `on_ready` is called once the gateway answers for a server that serves.
    """
    with _stop_on_signals(), tempfile.TemporaryDirectory(prefix="peermentor-") as directory:
        children: dict[str, subprocess.Popen[bytes]] = {}
        try:
            _check_ports(settings)
            config = Path(directory) / "envoy.json"
            config.write_text(json.dumps(gateway.configuration(settings)), encoding="utf-8")
            children["the gRPC server"] = _start(_server_command())
            children["Envoy"] = _start(gateway.command(config))
            _wait_until_ready(settings, children)
            on_ready()
            while True:
                _check_alive(children)
                time.sleep(_POLL_S)
        except _Stop:
            pass
        finally:
            _stop_all(children)


@contextmanager
def _stop_on_signals() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        # A second signal must not break the orderly stop that the first one began.
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise _Stop

    previous = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _check_ports(settings: Settings) -> None:
    addresses = {
        "PEERMENTOR_GRPC_ADDRESS": settings.grpc_address,
        "PEERMENTOR_REST_ADDRESS": settings.rest_address,
        "PEERMENTOR_ADMIN_ADDRESS": settings.admin_address,
    }
    problems = [
        f"{variable}: cannot listen on {address}: {problem}"
        for variable, address in addresses.items()
        if (problem := _why_not_free(address))
    ]
    if problems:
        raise ServeFailed("\n".join(problems))


def _why_not_free(address: Address) -> str | None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            return (error.strerror or "unknown reason").lower()
    return None


def _server_command() -> list[str]:
    return [sys.executable, "-m", "peermentor_server", "serve", "--no-gateway"]


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    # In a session of its own, so that Ctrl-C reaches this process alone, which then stops
    # the children in order. preexec_fn is safe here: this process has a single thread.
    return subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509
    )


def _die_with_parent() -> None:
    """Ask the kernel to end this process with its parent; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_ready(settings: Settings, children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    url = f"http://{settings.rest_address.to_connect}/api/v1/assignments?limit=1"
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        _check_alive(children)
        if _answers(url):
            return
        time.sleep(_POLL_S)
    raise ServeFailed(f"no answer from {settings.rest_address} in {START_TIMEOUT_S} seconds")


def _answers(url: str) -> bool:
    # A proxy of the environment is for calls to elsewhere.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _check_alive(children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for name, child in children.items():
        status = child.poll()
        if status is not None:
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            raise ServeFailed(f"{name} ended with {how}; stopping everything")


def _stop_all(children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    # The gateway first: it lets go of callers while the server still answers.
    for child in reversed(list(children.values())):
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(timeout=STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
