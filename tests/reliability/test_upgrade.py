"""An upgrade under load, and the way back: the schema grows, workers follow, the schema shrinks.

Nothing is released yet, so the newer versions are made here: of this program, with migrations
that could be its next ones, and code that needs them.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from peermentor_server.storage import schema
from peermentor_server.storage.engine.database import Database
from support.apps import running_app
from support.commands import start
from support.databases import url_of
from support.load import Load, under_load
from support.ports import free_ports
from support.serving import Running, serving, settings_for
from support.torture import LONG, either, measured
from support.versions import Installed, Version
from support.waiting import wait_until

# The next version fills one more column, of which this one knows nothing.
EXPAND = ["ALTER TABLE assignments ADD COLUMN origin TEXT"]
IN_TABLES = {
    "    _recent_writes(),\n    ForeignKeyConstraint(": (
        '    _recent_writes(),\n    Column("origin", Text),\n    ForeignKeyConstraint('
    )
}
IN_CREATE = {'stored = {**values, "status"': 'stored = {**values, "origin": "new", "status"'}
# The version after it relies on that. This one would fail.
CONTRACT = {
    "sqlite": [
        "UPDATE assignments SET origin = '' WHERE origin IS NULL",
        (
            "CREATE TRIGGER origin_is_known BEFORE INSERT ON assignments WHEN NEW.origin IS NULL "
            "BEGIN SELECT RAISE(ABORT, 'origin'); END"
        ),
    ],
    "postgresql": [
        "UPDATE assignments SET origin = '' WHERE origin IS NULL",
        "ALTER TABLE assignments ALTER COLUMN origin SET NOT NULL",
    ],
}


class Service:
    """What serves under load, with one version of the program after the other."""

    def __init__(self, running: Running, installed: Installed, load: Load, own: Database) -> None:
        self._running, self._installed, self._load = running, installed, load
        self._own = own

    def switch_to(self, version: Version) -> None:
        """Install another version, and replace the workers by its workers."""
        self._installed.install(version)
        before = self._replacements()
        self._running.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self._replacements() > before, 120, every=0.1)
        self.go_on()

    def _replacements(self) -> int:
        """Return how often all workers were replaced, or not all of them."""
        lines = self._running.lines
        return len(lines("workers replaced")) + len(lines("workers not replaced"))

    def migrate(self, version: Version) -> None:
        """Let a version bring the schema up to date, while the workers of another one serve."""
        given = version.environment | {"PEERMENTOR_DATABASE_URL": url_of(self._own)}
        # In a process of its own that has imported nothing of this version yet.
        with start("migrate", **given) as process:
            _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        self.go_on()

    def lose_a_worker(self) -> None:
        """Kill a worker; return when another one has taken its place."""
        before = len(self._running.lines("serving"))
        self._running.named("worker")[0].kill()
        wait_until(lambda: len(self._running.lines("serving")) > before, 60, every=0.1)
        self.go_on()

    def go_on(self) -> None:
        """Let some calls be made."""
        goal = self._load.calls + either(8, 1000)
        wait_until(lambda: self._load.calls > goal, 60)

    def origins(self) -> set[str | None]:
        """Return what the latest assignments have in the column of the next version."""
        latest = text("SELECT origin FROM assignments ORDER BY id DESC LIMIT 2")
        with self._own.read() as connection:
            return set(connection.execute(latest).scalars())


@contextmanager
def serving_under_load(version: Version, own: Database, directory: Path) -> Iterator[Service]:
    """Serve by a version, to callers whose calls all succeed."""
    installed = Installed(directory / "installed", version)
    environment = settings_for(url_of(own), free_ports(3)) | installed.environment
    environment["PEERMENTOR_WORKERS"] = str(int(either(1, 2)))
    callers = int(either(1, 3))
    with (directory / "log").open("w") as log, serving(environment, log) as running:
        with under_load(
            running.rest,
            running.grpc,
            rest_callers=callers,
            grpc_callers=callers,
            pause_s=either(0.1, 0.002),
        ) as load:
            service = Service(running, installed, load, own)
            service.go_on()
            yield service
        assert load.failures == []
        assert running.lines("workers not replaced") == []
        with own.read() as connection:
            load.assert_nothing_lost_or_doubled(connection)
    measured(load.summary)


def test_an_upgrade_and_the_way_back_fail_no_call(own: Database, tmp_path: Path) -> None:
    old, new, newest = (Version(tmp_path / name) for name in ("old", "new", "newest"))
    for version in (new, newest):
        version.add_migration("0002_for_0001", EXPAND)
        version.edit("storage/tables.py", IN_TABLES)
        version.edit("storage/assignments.py", IN_CREATE)
    newest.add_migration("0003_for_0002", CONTRACT[own.dialect])

    with serving_under_load(old, own, tmp_path) as service:
        # The schema grows. Workers of the old version go on, and may be started anew.
        if LONG or own.dialect == "postgresql":
            service.migrate(new)
            assert service.origins() == {None}
        if LONG:
            service.lose_a_worker()
        # (A file of SQLite's is also brought up to date by the first worker.)
        service.switch_to(new)
        assert service.origins() == {"new"}
        # The way back is open until the schema shrinks.
        service.switch_to(old)
        assert service.origins() == {None}
        if LONG:
            service.switch_to(new)
            # The old version is gone, so the schema may shrink.
            service.migrate(newest)
            service.lose_a_worker()
            assert schema.state(own) is schema.State.UNKNOWN
            service.switch_to(newest)
            service.switch_to(new)
            assert service.origins() == {"new"}


def test_the_load_sees_a_schema_that_shrinks_too_early(own: Database) -> None:
    with running_app(own) as app:
        address = f"127.0.0.1:{app.port}"
        with under_load("", address, rest_callers=0, grpc_callers=1, pause_s=0.05) as load:
            wait_until(lambda: load.calls > 5, 20)
            for statement in (*EXPAND, *CONTRACT[own.dialect]):
                assert load.failures == []
                with own.write() as connection:
                    connection.execute(text(statement))
            wait_until(lambda: load.failures != [], 20)
