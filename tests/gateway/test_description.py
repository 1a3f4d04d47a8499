"""The gateway serves docs/openapi.json, to everybody."""

from pathlib import Path

import httpx
import pytest

from support.gateways import gateway_before
from support.lua import ROOT
from support.ports import free_ports

PATH = "/openapi.json"
FILE = ROOT / "docs/openapi.json"


@pytest.mark.parametrize("query", ["", "?v=1"])
@pytest.mark.parametrize("headers", [{}, {"grpc-timeout": "soon"}, {"authorization": "Bearer no"}])
def test_it_is_served_byte_for_byte(
    query: str, headers: dict[str, str], rest: httpx.Client
) -> None:
    answer = rest.get(PATH + query, headers=headers)
    assert answer.status_code == 200
    assert answer.content == FILE.read_bytes()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert not [name for name in answer.headers if name.startswith(("x-envoy-", "grpc-", "server"))]


def test_its_size_can_be_asked_for(rest: httpx.Client) -> None:
    answer = rest.head(PATH)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(FILE.stat().st_size)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_can_only_be_read(method: str, rest: httpx.Client) -> None:
    answer = rest.request(method, PATH)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/openapi", "/openapi.json/", "/openapi.jsonx", "/docs/openapi.json"]
)
def test_nothing_else_is_it(path: str, rest: httpx.Client) -> None:
    assert rest.get(path).status_code == 404


def test_other_host_names_get_nothing(rest: httpx.Client) -> None:
    assert rest.get(PATH, headers={"host": "evil.example.org"}).status_code == 421


def test_it_is_there_while_no_worker_lives(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with gateway_before(port, tmp_path) as (_, rest):
        assert rest.get(PATH).content == FILE.read_bytes()
