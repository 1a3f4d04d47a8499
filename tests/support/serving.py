"""A running `serve`, with the gateway and all."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from support.commands import start


@dataclass(frozen=True)
class Running:
    """A running `serve`, the text it printed when it was ready, and its children."""

    process: "subprocess.Popen[str]"
    welcome: str
    children: list[psutil.Process]
    environment: dict[str, str]

    def child(self, name: str) -> psutil.Process:
        """Return the child process whose command line holds `name`."""
        (found,) = [child for child in self.children if name in " ".join(child.cmdline())]
        return found

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
    }


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[Running]:
    """Run `serve` until the end of the block; whatever it left behind by then fails."""
    with start("serve", **environment) as process:
        children: list[psutil.Process] = []
        try:
            welcome = read_welcome(process)
            children = psutil.Process(process.pid).children(recursive=True)
            yield Running(process, welcome, children, environment)
        finally:
            process.kill()
            assert_all_end(children)


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
