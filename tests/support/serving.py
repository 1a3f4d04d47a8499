"""A running `serve`, with the gateway and all."""

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

from support.commands import start_with_log
from support.names import assert_no_name_in
from support.plain_http import NO_TLS
from support.ports import free_ports


@dataclass(frozen=True)
class Running:
    """A running `serve`, the text it printed when it was ready, and its children."""

    process: "subprocess.Popen[str]"
    welcome: str
    children: list[psutil.Process]
    environment: dict[str, str]
    log: Path | None = None
    """The file it logs into."""

    @property
    def rest(self) -> str:
        """Where the REST routes are."""
        return self.environment["PEERMENTOR_REST_ADDRESS"]

    @property
    def grpc(self) -> str:
        """Where native gRPC is, spread over the workers."""
        return self.environment["PEERMENTOR_GRPC_ADDRESS"]

    def worker_addresses(self) -> list[str]:
        """Return where each worker listens."""
        return [f"unix:{socket}" for socket in self.calls_by_worker()]

    def sockets(self) -> Path:
        """Return the directory in which the workers listen."""
        return Path(next(iter(self.calls_by_worker()))).parent

    def calls_by_worker(self) -> dict[str, int]:
        """Return how many calls the gateway has passed on to the worker at each address."""
        return {address: int(count) for address, count in self._of_workers("rq_total").items()}

    def serving_workers(self) -> int:
        """Return how many workers serve, as the gateway sees it."""
        return list(self._of_workers("health_flags").values()).count("healthy")

    def _of_workers(self, name: str) -> dict[str, str]:
        admin = self.environment["PEERMENTOR_ADMIN_ADDRESS"]
        text = httpx.get(f"http://{admin}/clusters", verify=NO_TLS).text
        return dict(re.findall(rf"^peermentor::(/.+?)::{name}::(.+)$", text, re.MULTILINE))

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return what was logged of an event so far."""
        assert self.log is not None
        texts = [text for text in self.log.read_text().splitlines() if f'"{event}"' in text]
        return [line for line in map(json.loads, texts) if line["event"] == event]

    def longest_hold(self) -> float:
        """Return for how long one call held its thread at most, in seconds."""
        return max((line["duration_ms"] / 1000 for line in self.lines("call")), default=0)

    def child(self, name: str) -> psutil.Process:
        """Return the child process of now whose command line holds `name`."""
        (found,) = self.named(name)
        return found

    def named(self, name: str) -> list[psutil.Process]:
        """Return the child processes of now whose command lines hold `name`."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if is_alive(child) and name in _command(child)]

    def wait(self) -> tuple[int, str]:
        """Wait for the end; return the exit status and what went to standard error."""
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


def settings_for(database_url: str, ports: list[int]) -> dict[str, str]:
    """Return the environment of a `serve` with this database, on these three ports."""
    grpc_port, rest_port, admin_port = ports
    return {
        "PEERMENTOR_DATABASE_URL": database_url,
        "PEERMENTOR_GRPC_ADDRESS": f"127.0.0.1:{grpc_port}",
        "PEERMENTOR_REST_ADDRESS": f"127.0.0.1:{rest_port}",
        "PEERMENTOR_ADMIN_ADDRESS": f"127.0.0.1:{admin_port}",
        "PEERMENTOR_METRICS_ADDRESS": "off",
    }


@contextmanager
def serving(
    environment: dict[str, str],
    log: IO[str] | int = subprocess.PIPE,
    before: Callable[[], None] | None = None,
) -> Iterator[Running]:
    """Run `serve` until the end of the block; whatever it left behind by then fails.

    `before` is called in its process, before that becomes `serve`.
    """
    with start_with_log(log, "serve", before=before, **environment) as process:
        children: list[psutil.Process] = []
        try:
            welcome = read_welcome(process)
            children = psutil.Process(process.pid).children(recursive=True)
            file = None if isinstance(log, int) else Path(log.name)
            yield Running(process, welcome, children, environment, file)
        finally:
            children += _children_of(process.pid)
            # Told by the end of `serve` alone, they would first drain; and while it runs, it would
            # start them again.
            process.send_signal(signal.SIGSTOP)
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.send_signal(signal.SIGINT)
            process.kill()
            assert_all_end(children)
            if not isinstance(log, int):
                assert_no_name_in(Path(log.name).read_text())


@contextmanager
def served(database_url: str, directory: Path, workers: int) -> Iterator[Running]:
    """Run `serve` on free ports, logging into a file, until the end of the block."""
    environment = settings_for(database_url, free_ports(3)) | {"PEERMENTOR_WORKERS": str(workers)}
    with (directory / "log").open("w") as log, serving(environment, log) as running:
        yield running


def _children_of(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def read_welcome(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    lines: list[str] = []
    timer = threading.Timer(40, process.kill)
    timer.start()
    while sum("curl " in line for line in lines) < 2:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        lines.append(line)
    timer.cancel()
    return "".join(lines)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_all_end(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and any(map(is_alive, processes)):
        time.sleep(0.02)
    assert [(process, process.cmdline()) for process in processes if is_alive(process)] == []
