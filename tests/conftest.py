"""What tests are given: the real service on SQLite and on PostgreSQL, directly and by gateway.

Every test that asks for `database`, or for anything that stands on it, runs once for each
kind of database, on empty tables and at CONTRACT_DAY.
"""

import gc
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Before gRPC is imported. Its handlers of a fork now and then crash the child that is to be a
# PostgreSQL, when other threads call just then.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import grpc
import httpx
import pytest
from hypothesis import settings as hypothesis_settings

from peermentor.v1.assignments_pb2_grpc import AssignmentServiceStub
from peermentor.v1.templates_pb2_grpc import TemplateServiceStub
from peermentor_server.rpc.app import App
from peermentor_server.settings import Address, Settings
from peermentor_server.storage.engine.database import Database
from peermentor_server.telemetry import logs
from support import openapi
from support.clock import CONTRACT_DAY, SettableClock
from support.databases import Postgres, empty, migrated, running_postgres
from support.gateways import running_gateway
from support.names import assert_no_name_in
from support.ports import free_ports


def pytest_xdist_auto_num_workers() -> int:
    """Let twice as many tests run as there are cores: many wait for what they have started."""
    return 2 * (os.cpu_count() or 1)


# To look for garbage among what is collected, all of which stays, is a third of the work;
# and each worker does it.
gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage from here on, and only among what comes from here on."""
    gc.freeze()
    gc.enable()


# A busy machine takes its time.
hypothesis_settings.register_profile("patient", deadline=None)
hypothesis_settings.load_profile("patient")

# Where tests start processes and wait for them: a few of these take longer than hundreds of others.
_SLOW = ("reliability", "supervise", "deploy", "test_documents", "test_process", "test_transfer")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each worker begin with its share of what takes long, so that all end together."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    modules = [list(tests) for _, tests in itertools.groupby(items, key=lambda each: each.path)]
    slow = [each for each in modules if any(name in str(each[0].path) for name in _SLOW)]
    quick = [each for each in modules if each not in slow]
    items[:] = [
        test
        for number in range(workers)
        for module in (*slow[number::workers], *quick[number::workers])
        for test in module
    ]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith(("PEERMENTOR_", "OTEL_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def log_of_the_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the servers in this process log, and look for names in it at the end."""
    file = tmp_path_factory.mktemp("log") / "log"
    with file.open("w+") as log:
        logs.configure("debug", "json", log)
        yield
        log.seek(0)
        assert_no_name_in(log.read())


@pytest.fixture(scope="session", autouse=True)
def rest_is_as_described() -> Iterator[None]:
    """Hold every REST call of every test to docs/openapi.json."""
    with openapi.held_to():
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgresql(postgres: Postgres) -> Iterator[Database]:
    """A PostgreSQL database of the test's own."""
    with migrated(postgres.new_migrated_database()) as database:
        yield database


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of database this test runs on."""
    return str(request.param)


@pytest.fixture(scope="session")
def new_url(
    kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[], str]:
    """Make a database without any tables, and return its URL."""
    if kind == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/own.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.new_database


@pytest.fixture
def empty_url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a database of the test's own, without any tables."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/own.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.new_database()


@pytest.fixture
def own(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database of the test's own."""
    url = f"sqlite:///{tmp_path}/own.db"
    if kind == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.new_migrated_database()
    with migrated(url) as database:
        yield database


@pytest.fixture
def other(kind: str, tmp_path: Path, postgres: Postgres) -> Iterator[Database]:
    """An empty database of the other kind."""
    to_sqlite = kind == "postgresql"
    url = f"sqlite:///{tmp_path}/other.db" if to_sqlite else postgres.new_migrated_database()
    with migrated(url) as database:
        yield database


@pytest.fixture(scope="session")
def database_url(new_url: Callable[[], str]) -> str:
    """The URL of the database that most tests share."""
    return new_url()


@pytest.fixture(scope="session")
def shared_database(database_url: str) -> Iterator[Database]:
    """The database that most tests share, with the newest schema."""
    with migrated(database_url) as database:
        yield database


@pytest.fixture
def database(shared_database: Database) -> Database:
    """A database without rows."""
    empty(shared_database)
    return shared_database


@pytest.fixture(scope="session")
def shared_clock() -> SettableClock:
    """The clock of the shared server."""
    return SettableClock()


@pytest.fixture
def clock(shared_clock: SettableClock) -> SettableClock:
    """The server's clock, set to CONTRACT_DAY."""
    shared_clock.set(CONTRACT_DAY)
    return shared_clock


@pytest.fixture(scope="session")
def settings(database_url: str) -> Settings:
    """The settings of the shared server, with free ports."""
    grpc_port, rest_port, admin_port = free_ports(3)
    return Settings(
        database_url=database_url,
        grpc_address=Address("127.0.0.1", grpc_port),
        rest_address=Address("127.0.0.1", rest_port),
        admin_address=Address("127.0.0.1", admin_port),
    )


@pytest.fixture(scope="session")
def shared_server(
    settings: Settings, shared_database: Database, shared_clock: SettableClock
) -> Iterator[App]:
    """The gRPC server that most tests call."""
    app = App(settings, shared_database, shared_clock)
    app.start()
    yield app
    app.stop()


@pytest.fixture(scope="session")
def shared_channel(settings: Settings, shared_server: App) -> Iterator[grpc.Channel]:
    """A channel to the shared server."""
    with grpc.insecure_channel(str(settings.grpc_address)) as channel:
        yield channel


@pytest.fixture
def channel(shared_channel: grpc.Channel, database: Database, clock: SettableClock) -> grpc.Channel:
    """A channel to the server, whose database is empty, at CONTRACT_DAY."""
    return shared_channel


@pytest.fixture
def assignments(channel: grpc.Channel) -> AssignmentServiceStub:
    """Calls the AssignmentService."""
    return AssignmentServiceStub(channel)


@pytest.fixture
def templates(channel: grpc.Channel) -> TemplateServiceStub:
    """Calls the TemplateService."""
    return TemplateServiceStub(channel)


@pytest.fixture(scope="session")
def shared_gateway(
    settings: Settings, shared_server: App, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """The gateway in front of the shared server."""
    with running_gateway(settings, tmp_path_factory.mktemp("gateway")) as client:
        yield client


@pytest.fixture
def rest(shared_gateway: httpx.Client, database: Database, clock: SettableClock) -> httpx.Client:
    """Calls the gateway, in front of a server whose database is empty, at CONTRACT_DAY."""
    return shared_gateway
