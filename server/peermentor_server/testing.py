"""The real service for the tests of its callers: in-process, on a SQLite file of its own.

    from peermentor_server.testing import running_service

    with running_service() as service, service.client() as client:
        client.assignments.list()

With pytest, `pytest_plugins = ["peermentor_server.pytest_plugin"]` brings the fixture
`peermentor_service`. Neither reads the environment: what differs from the defaults is given.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from peermentor import AsyncClient, Client
from peermentor_server.access import keys
from peermentor_server.rpc.app import App
from peermentor_server.rules.clock import system_clock
from peermentor_server.settings import Address, Settings
from peermentor_server.storage import access_keys, schema
from peermentor_server.storage.engine.database import Database
from peermentor_server.telemetry import logs


class TestClock:
    """The time of the service: the system's, until it is set. Then it stands still."""

    __test__ = False  # not a test, for all its name says to pytest

    def __init__(self) -> None:
        self._now: datetime | None = None

    def __call__(self) -> datetime:
        """Return the time."""
        return self._now or system_clock()

    def set(self, now: datetime) -> None:
        """Make it this instant, an aware datetime."""
        if now.utcoffset() is None:
            raise ValueError("the datetime has no time zone; give one, such as UTC")
        self._now = now

    def advance(self, **amount: float) -> None:
        """Let time pass, as in advance(days=15)."""
        self._now = self() + timedelta(**amount)


@dataclass(frozen=True, slots=True)
class Service:
    """A running service, empty at first."""

    address: str
    """Where it listens, on the loopback address."""
    clock: TestClock
    """Its time."""
    _app: App = field(repr=False)
    _database: Database = field(repr=False)

    def client(self, orgs: Sequence[str] | None = None, permission: str | None = None) -> Client:
        """Return a client of it; with `orgs` or `permission`, one that has such a key."""
        return Client(self.address, token=self._token(orgs, permission))

    def async_client(
        self, orgs: Sequence[str] | None = None, permission: str | None = None
    ) -> AsyncClient:
        """Return an asynchronous client of it; see client()."""
        return AsyncClient(self.address, token=self._token(orgs, permission))

    def key(self, orgs: Sequence[str] | None = None, permission: str = "write") -> str:
        """Return a new API key, for some organisations or all: to `read`, `write` or `admin`.

        It counts where the service runs with access="required".
        """
        text, key = keys.issue(permission, orgs, now=self.clock())
        with self._database.write() as connection:
            access_keys.add(connection, key)
        self._app.learn_keys()
        return text

    def _token(self, orgs: Sequence[str] | None, permission: str | None) -> str | None:
        if orgs is None and permission is None:
            return None
        return self.key(orgs, permission or "write")


@contextmanager
def running_service(**settings: Any) -> Iterator[Service]:
    """Run the service until the end of the block, on a free port.

    `settings` are fields of `peermentor_server.settings.Settings` that are not to be as they are
    by default, as in running_service(overdue_after_days=3). The database and the address are
    its own.
    """
    if not structlog.is_configured():
        logs.configure("warning", "auto")
    with tempfile.TemporaryDirectory(prefix="peermentor-") as directory:
        url = f"sqlite:///{directory}/peermentor.db"
        own = Settings(**settings, database_url=url, grpc_address=Address("127.0.0.1", 0))
        database = Database(url)
        schema.migrate(database)
        clock = TestClock()
        app = App(own, database, clock)
        app.start()
        try:
            yield Service(f"127.0.0.1:{app.port}", clock, app, database)
        finally:
            app.stop()
            database.close()
