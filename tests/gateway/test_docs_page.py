"""The page /docs: what it is made of is served by the gateway itself, and nothing around it."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from peermentor_server.settings import Address, Settings
from peermentor_server.supervise import gateway
from support.gateways import gateway_before, native_address, running_gateway
from support.lua import ROOT
from support.ports import free_ports
from support.waiting import wait_until

OWN = ROOT / "gateway/docs_page"
SWAGGER_UI = next((ROOT / ".venv/swagger-ui").rglob("swagger-ui-dist"))
HTML, SCRIPT, STYLE = (f"text/{each}; charset=utf-8" for each in ("html", "javascript", "css"))
# Each path with the file whose bytes are there, and of which type.
PARTS = {
    "/docs": (OWN / "index.html", HTML),
    "/docs/": (OWN / "index.html", HTML),
    "/docs?v=1": (OWN / "index.html", HTML),
    "/docs/initializer.js": (OWN / "initializer.js", SCRIPT),
    "/docs/swagger-ui-bundle.js": (SWAGGER_UI / "swagger-ui-bundle.js", SCRIPT),
    "/docs/swagger-ui.css": (SWAGGER_UI / "swagger-ui.css", STYLE),
}
COMPRESSED = ("/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css")
NO_SUCH_PATH = {"code": 5, "message": "no such path", "details": []}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where a gateway without any worker, whom the page does not need, has REST and gRPC."""
    (port,) = free_ports(1)
    with gateway_before(port, tmp_path_factory.mktemp("alone")) as (settings, _):
        yield {"rest": str(settings.rest_address), "native": native_address(settings)}


@pytest.fixture(scope="module")
def alone(addresses: dict[str, str]) -> Iterator[httpx.Client]:
    """Calls its REST side."""
    with httpx.Client(base_url=f"http://{addresses['rest']}") as client:
        yield client


@pytest.mark.parametrize("path", PARTS)
def test_each_part_is_served_byte_for_byte_to_everybody(path: str, alone: httpx.Client) -> None:
    file, kind = PARTS[path]
    answer = alone.get(path, headers={"authorization": "Bearer no"})
    assert answer.status_code == 200
    assert answer.content == file.read_bytes()
    assert answer.headers["content-type"] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert not [name for name in answer.headers if name.startswith(("x-envoy-", "grpc-", "server"))]


@pytest.mark.parametrize("path", PARTS)
def test_what_is_compressed_says_so(path: str, alone: httpx.Client) -> None:
    answer = alone.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers.get("content-encoding") == ("gzip" if path in COMPRESSED else None)
    length, plain = int(answer.headers["content-length"]), PARTS[path][0].stat().st_size
    assert length < plain / 3 if path in COMPRESSED else length == plain


def test_the_same_files_are_compressed_to_the_same_bytes() -> None:
    """With a time or a name in them, wheels of one commit would differ."""
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        content = (OWN / f"{name}.gz").read_bytes()
        flags, modified = content[3], content[4:8]
        assert (flags, modified) == (0, bytes(4))
        assert gzip.decompress(content) == (SWAGGER_UI / name).read_bytes()


def test_the_page_lets_a_browser_load_and_call_nothing_else(alone: httpx.Client) -> None:
    headers = alone.get("/docs").headers
    policy = dict(
        each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"


def test_the_page_names_only_what_is_served(alone: httpx.Client) -> None:
    named = re.findall(r'(?:src|href)="([^"]+)"', alone.get("/docs").text)
    assert sorted(named) == sorted(
        ["data:,", "/openapi.json", *(path for path in PARTS if "." in path)]
    )
    for path in named[1:]:
        assert alone.get(path).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/docs", "/docs/swagger-ui.css"])
def test_it_can_only_be_read(method: str, path: str, alone: httpx.Client) -> None:
    answer = alone.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.json() == {
        "code": 12,
        "message": "only GET and HEAD are possible on this path",
        "details": [],
    }


@pytest.mark.parametrize(
    "path",
    [
        "/doc",
        "/docs/index.html",
        "/docs/LICENSE",
        "/docs/swagger-ui-bundle.js.gz",
        "/docs/swagger-ui.css/",
        "/docs/../gateway/rest.lua",
        "/gateway/docs_page/index.html",
    ],
)
def test_nothing_else_is_there(path: str, alone: httpx.Client) -> None:
    answer = alone.get(path)
    assert (answer.status_code, answer.json()) == (404, NO_SUCH_PATH)


@pytest.mark.parametrize("side", ["rest", "native"])
def test_to_grpc_it_is_a_method_that_there_is_not(side: str, addresses: dict[str, str]) -> None:
    with grpc.insecure_channel(addresses[side]) as channel:
        call = channel.unary_unary("/docs", bytes, bytes)
        with pytest.raises(grpc.RpcError) as raised:
            call(b"", timeout=10)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", PARTS)
def test_other_host_names_get_nothing(path: str, alone: httpx.Client) -> None:
    """So a name that has been pointed at this machine cannot have a page that calls it."""
    answer = alone.get(path, headers={"host": "evil.example.org"})
    assert answer.status_code == 421
    assert answer.json()["code"] == 7


def test_switched_off_it_is_a_path_that_there_is_not(tmp_path: Path) -> None:
    ports = (Address("127.0.0.1", port) for port in free_ports(3))
    settings = Settings(
        grpc_address=next(ports),
        rest_address=next(ports),
        admin_address=next(ports),
        docs_page="off",
    )
    with running_gateway(settings, tmp_path) as rest:
        for path in PARTS:
            for method in ("GET", "POST"):
                answer = rest.request(method, path)
                assert (answer.status_code, answer.json()) == (404, NO_SUCH_PATH)
        assert rest.get("/openapi.json").status_code == 200


def test_without_its_files_the_gateway_says_what_is_missing(tmp_path: Path) -> None:
    for name in ("envoy.yaml", "docs", "protos"):
        (tmp_path / name).symlink_to(ROOT / name)
    with pytest.raises(gateway.GatewayMissing, match=r"gateway/docs_page/index\.html is not there"):
        gateway.configuration(Settings(), [], root=tmp_path)
    gateway.configuration(Settings(docs_page="off"), [], root=tmp_path)


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/docs/swagger-ui-bundle.js", ["/docs", "/docs/swagger-ui.css", "/openapi.json"]),
        ("/openapi.json", ["/docs", "/docs/swagger-ui-bundle.js"]),
    ],
)
def test_who_asks_for_it_without_end_is_put_off_and_nobody_else(
    path: str, others: list[str], tmp_path: Path
) -> None:
    """Much waits in memory for each who asks and does not read it."""
    (port,) = free_ports(1)
    with gateway_before(port, tmp_path) as (_, rest):
        answers = [rest.head(path) for _ in range(120)]
        refused = [each for each in answers if each.status_code != 200]
        assert 60 <= len(answers) - len(refused) < 100
        assert {(each.status_code, each.headers["retry-after"]) for each in refused} == {(429, "1")}
        body = rest.get(path).json()
        assert (body["code"], body["details"][0]["reason"]) == (8, "OVERLOADED")
        for other in others:
            assert rest.get(other).status_code == 200
        wait_until(lambda: rest.head(path).status_code == 200, 10)
