"""The gateway while the server behind it is gone or silent, and with hosts and CORS set."""

import resource
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from peermentor_server.rpc.app import App
from peermentor_server.settings import Address, Settings
from peermentor_server.storage.engine.database import Database
from peermentor_server.supervise import gateway
from support.gateways import running_gateway
from support.ports import free_ports


@pytest.fixture
def free_settings() -> Settings:
    """Settings with free ports, behind which nothing runs."""
    addresses = [Address("127.0.0.1", port) for port in free_ports(3)]
    return Settings(
        grpc_address=addresses[0], rest_address=addresses[1], admin_address=addresses[2]
    )


def test_without_a_server_calls_answer_503_in_the_error_shape(
    free_settings: Settings, tmp_path: Path
) -> None:
    with running_gateway(free_settings, tmp_path) as rest:
        response = rest.get("/api/v1/assignments")
        assert response.status_code == 503
        assert response.json() == {
            "code": 14,
            "message": "the service does not answer",
            "details": [],
        }


def shorten_timeouts(config: dict[str, Any]) -> None:
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    for route in manager["typed_config"]["route_config"]["virtual_hosts"][0]["routes"]:
        if route["name"].startswith("rest"):
            assert route["route"]["timeout"] in {"10s", "0.2s"}  # Routes share their settings.
            route["route"]["timeout"] = "0.2s"


def test_a_server_that_is_silent_answers_504_in_the_error_shape(
    free_settings: Settings, tmp_path: Path
) -> None:
    with socket.socket() as silent:
        silent.bind((free_settings.grpc_address.host, free_settings.grpc_address.port))
        silent.listen()
        with running_gateway(free_settings, tmp_path, shorten_timeouts) as rest:
            response = rest.get("/api/v1/assignments")
    assert response.status_code == 504
    assert response.json() == {
        "code": 4,
        "message": "the service took too long to answer",
        "details": [],
    }


PREFLIGHT = {
    "origin": "https://app.example.org",
    "access-control-request-method": "PUT",
    "access-control-request-headers": "content-type",
}


def test_cors_is_off_by_default(rest: httpx.Client) -> None:
    response = rest.options("/api/v1/assignments", headers=PREFLIGHT)
    assert response.status_code == 405
    assert "access-control-allow-origin" not in response.headers
    answer = rest.get("/api/v1/assignments", headers={"origin": PREFLIGHT["origin"]})
    assert "access-control-allow-origin" not in answer.headers


def test_configured_origins_may_call_and_others_may_not(
    free_settings: Settings, database: Database, tmp_path: Path
) -> None:
    settings = free_settings.model_copy(update={"cors_origins": ("https://app.example.org",)})
    app = App(settings, database)
    app.start()
    try:
        with running_gateway(settings, tmp_path) as rest:
            allowed = rest.options("/api/v1/assignments/asgn_001", headers=PREFLIGHT)
            assert allowed.status_code in {200, 204}
            assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
            assert "PUT" in allowed.headers["access-control-allow-methods"]
            headers = allowed.headers["access-control-allow-headers"].split(", ")
            assert {"content-type", "idempotency-key"} <= set(headers)
            answer = rest.get("/api/v1/assignments", headers={"origin": PREFLIGHT["origin"]})
            assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
            other = rest.options(
                "/api/v1/assignments/asgn_001",
                headers=PREFLIGHT | {"origin": "https://evil.example.org"},
            )
            assert "access-control-allow-origin" not in other.headers
    finally:
        app.stop()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:8080", 200),
        ("[::1]:1", 200),
        ("rebound.example.org", 421),
        ("127.0.0.1.example.org", 421),
        ("localhost.example.org:8080", 421),
    ],
)
def test_on_loopback_only_loopback_names_are_served(
    host: str, status: int, rest: httpx.Client
) -> None:
    response = rest.get("/api/v1/assignments", headers={"host": host})
    assert response.status_code == status
    if status != 200:
        assert response.json()["code"] == 7
        assert "PEERMENTOR_REST_HOSTS" in response.json()["message"]


def test_configured_hosts_are_served_too(free_settings: Settings, tmp_path: Path) -> None:
    settings = free_settings.model_copy(update={"rest_hosts": ("api.example.org",)})
    with running_gateway(settings, tmp_path) as rest:
        for host in ("api.example.org", "api.example.org:443", "127.0.0.1"):
            # The gateway itself refuses this, of a host that it serves.
            refused = rest.post("/api/v1/assignments", headers={"host": host}, content="text")
            assert refused.status_code == 415
        assert rest.get("/", headers={"host": "example.org"}).status_code in {404, 421}
        answer = rest.get("/api/v1/assignments", headers={"host": "example.org"})
        assert answer.status_code == 421


def test_beyond_loopback_any_host_is_served(free_settings: Settings) -> None:
    elsewhere = Address("192.0.2.1", free_settings.rest_address.port)
    settings = free_settings.model_copy(update={"rest_address": elsewhere})
    config = gateway.configuration(settings, [settings.grpc_address])
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    (host,) = manager["typed_config"]["route_config"]["virtual_hosts"]
    assert host["domains"] == ["*"]


def test_callers_leave_files_to_the_gateway(
    free_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def most(files: int) -> int:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
        config = gateway.configuration(free_settings, [free_settings.grpc_address])
        (found,) = [
            each["typed_config"]["max_active_downstream_connections"]
            for each in config["overload_manager"]["resource_monitors"]
            if "connections" in each["name"]
        ]
        return int(found)

    assert most(1024) == 768
    assert most(1_000_000) == most(resource.RLIM_INFINITY) == 20_000
