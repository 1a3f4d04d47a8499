"""What load balancers ask, and by which names of hosts the gateway is called."""

from pathlib import Path

import httpx
import pytest

from peermentor_server.rpc.app import App
from peermentor_server.settings import Address, Settings, load
from peermentor_server.storage.engine.database import Database
from support.gateways import running_gateway
from support.ports import free_ports
from support.waiting import wait_until

PATH = "/api/v1/assignments"
HOSTS = ["127.0.0.1", "10.1.2.3:8080", "anything.example.org", "[fd00::1]", "a.example.org."]


@pytest.fixture
def own_settings(database_url: str) -> Settings:
    """Settings with free ports, and with names of hosts as people write them."""
    addresses = [Address("127.0.0.1", port) for port in free_ports(3)]
    settings = load({}, rest_hosts="Api.example.org, fd00::1, [FD00:0::2], trailing.example.org.")
    return settings.model_copy(
        update={
            "database_url": database_url,
            "grpc_address": addresses[0],
            "rest_address": addresses[1],
            "admin_address": addresses[2],
        }
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/readyz?verbose"])
def test_a_probe_is_answered_by_any_name(
    path: str, host: str, method: str, rest: httpx.Client
) -> None:
    wait_until(lambda: rest.get("/readyz").status_code == 200, 10)
    answer = rest.request(method, path, headers={"host": host})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert not [name for name in answer.headers if name.startswith("x-envoy-")]
    if method == "GET":
        assert answer.json() == {"status": "SERVING"}


def test_readiness_is_that_of_the_service(
    own_settings: Settings, database: Database, tmp_path: Path
) -> None:
    with running_gateway(own_settings, tmp_path) as rest:
        assert rest.get("/healthz").json() == {"status": "SERVING"}
        answer = rest.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"status": "NOT_SERVING"}
        app = App(own_settings, database)
        app.start()
        try:
            wait_until(lambda: rest.get("/readyz").status_code == 200, 20)
            app.drain()
            wait_until(lambda: rest.get("/readyz").status_code == 503, 20)
            # It still serves those who have not heard of it.
            assert rest.get(PATH).status_code == 200
        finally:
            app.stop()
        assert rest.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz/", "/healthzx", "/ready", "/readyz/x"])
def test_nothing_else_is_a_probe(path: str, rest: httpx.Client) -> None:
    assert rest.get(path).status_code == 404


@pytest.mark.parametrize("host", ["localhost.", "localhost.:8080", "LOCALHOST"])
def test_a_name_may_end_in_a_dot(host: str, rest: httpx.Client) -> None:
    assert rest.get(PATH, headers={"host": host}).status_code == 200


def test_hosts_are_known_in_every_spelling(own_settings: Settings, tmp_path: Path) -> None:
    known = [
        *("api.example.org", "API.example.org.", "api.example.org:443", "api.example.org.:443"),
        *("[fd00::1]", "[fd00::1]:8080", "[fd00::2]", "trailing.example.org"),
    ]
    with running_gateway(own_settings, tmp_path) as rest:
        for host in known:
            # The gateway itself refuses this, of a host that it serves.
            answer = rest.post(PATH, headers={"host": host}, content="text")
            assert answer.status_code == 415, host
        for host in ("example.org", "[fd00::3]", "fd00::1", "api.example.org.evil.org"):
            assert rest.get(PATH, headers={"host": host}).status_code in {400, 421}
