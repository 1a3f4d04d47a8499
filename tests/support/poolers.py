"""A real PgBouncer in front of a PostgreSQL server."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from support.ports import free_ports
from support.waiting import wait_until

# Where `make test` puts it when the machine has none.
_OWN = Path(__file__).parents[2] / ".venv" / "pgbouncer"
_PLACES = os.pathsep.join([os.environ["PATH"], "/usr/sbin", str(_OWN / "usr/sbin")])


@contextmanager
def running_pooler(url: str, **settings: str) -> Iterator[str]:
    """Run a PgBouncer for this database with its own defaults but for these settings.

    Gives the URL that leads through it, which says nothing of a pooler.
    """
    [port] = free_ports(1)
    host = parse_qs(urlsplit(url).query)["host"][0]
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "any",
        **settings,
    }
    name = urlsplit(url).path.removeprefix("/")
    # Not in pytest's own directory: it runs as another user, who may not enter that.
    with tempfile.TemporaryDirectory(prefix="peermentor-pooler-") as directory:
        Path(directory).chmod(0o755)
        file = Path(directory) / "pgbouncer.ini"
        file.write_text(
            f"[databases]\n{name} = host={host} user=postgres\n[pgbouncer]\n"
            + "".join(f"{key} = {value}\n" for key, value in lines.items())
        )
        with (Path(directory) / "log").open("w") as log:
            # As the server does, whose socket nobody else may open, and which is never root.
            process = _start(file, Path(host).owner(), log.fileno())
        try:
            pooled = f"postgresql://postgres@127.0.0.1:{port}/{name}"
            wait_until(lambda: _answers(pooled), 20)
            yield pooled
        finally:
            process.terminate()
            process.wait(timeout=20)


def _start(configuration: Path, user: str, log: int) -> "subprocess.Popen[bytes]":
    program = shutil.which("pgbouncer", path=_PLACES)
    if program is None:
        pytest.fail("these tests need PgBouncer: run `make test`, or apt-get install pgbouncer")
    libraries = [str(path) for path in _OWN.glob("**/lib/*-linux-*")]
    return subprocess.Popen(
        [program, str(configuration)],
        env={"PATH": _PLACES, "LD_LIBRARY_PATH": os.pathsep.join(libraries)},
        user=user if os.geteuid() == 0 else None,
        stdout=log,
        stderr=log,
    )


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
