"""How a client reaches the server: addresses, TLS, metadata, threads and processes."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message

from peermentor import AsyncClient, Client, NotFound, Unavailable
from peermentor.v1 import assignments_pb2
from peermentor_server.settings import Settings
from support.clients import opened, scripted_server
from support.factories import NEW_ASSIGNMENT
from support.racing import at_once


def answer(_request: bytes, _context: grpc.ServicerContext) -> Message:
    return assignments_pb2.Assignment(assignment_id="asgn_001")


def test_the_address_comes_from_the_environment(
    client: Any, client_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEERMENTOR_ADDRESS", client.address)
    with opened(client_kind, "") as default:
        assert list(default.assignments.list()) == []
    monkeypatch.delenv("PEERMENTOR_ADDRESS")
    assert Client().address == AsyncClient().address == "127.0.0.1:50051"


def test_the_gateway_serves_as_well(
    client_kind: str, settings: Settings, rest: httpx.Client
) -> None:
    del rest
    with opened(client_kind, str(settings.rest_address)) as client:
        made = client.assignments.create(**NEW_ASSIGNMENT)
        assert list(client.assignments.list(limit=1)) == [made]
        with pytest.raises(NotFound) as raised:
            client.assignments.get("asgn_404")
    assert raised.value.reason == "ASSIGNMENT_NOT_FOUND"
    assert raised.value.request_id


@pytest.mark.parametrize("together", [False, True])
def test_several_addresses_take_turns(client_kind: str, *, together: bool) -> None:
    calls: Counter[int] = Counter()

    def counting(number: int) -> Any:
        def behaviour(request: bytes, context: grpc.ServicerContext) -> Message:
            calls[number] += 1
            return answer(request, context)

        return behaviour

    with ExitStack() as stack:
        addresses = [stack.enter_context(scripted_server(counting(each))) for each in range(3)]
        address = ", ".join(addresses) if together else addresses
        client = stack.enter_context(opened(client_kind, address))
        for _ in range(60):
            client.assignments.get("asgn_001")
    assert min(calls[0], calls[1], calls[2]) >= 10


def test_the_others_serve_when_one_is_gone(client_kind: str) -> None:
    with scripted_server(answer) as first, scripted_server(answer) as second:
        with scripted_server(answer) as gone:
            addresses = [first, gone, second]
        with opened(client_kind, addresses) as client:
            for _ in range(20):
                client.assignments.get("asgn_001")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:50051", "is no address such as"),
        ("127.0.0.1", "is no address such as"),
        (["a.example:1", "b.example:2"], "must be IP addresses of one kind"),
        (["127.0.0.1:1", "[::1]:2"], "must be IP addresses of one kind"),
    ],
)
def test_what_is_no_address_is_refused(
    client_kind: str, address: str | list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message), opened(client_kind, address):
        pass


def test_a_token_and_metadata_go_with_each_call(client_kind: str) -> None:
    seen: list[dict[str, str | bytes]] = []

    def behaviour(request: bytes, context: grpc.ServicerContext) -> Message:
        seen.append(dict(context.invocation_metadata()))
        return answer(request, context)

    tokens = iter(["one", "two"])
    with scripted_server(behaviour) as address:
        with opened(client_kind, address, token="secret", metadata={"x-tenant": "7"}) as client:  # noqa: S106
            client.assignments.get("asgn_001")
        with opened(client_kind, address, token=lambda: next(tokens)) as client:
            client.assignments.get("asgn_001")
            client.assignments.get("asgn_001")
    assert seen[0]["x-tenant"] == "7"
    assert [each["authorization"] for each in seen] == ["Bearer secret", "Bearer one", "Bearer two"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, with the certificates of a server and of a client."""
    directory = tmp_path_factory.mktemp("certificates")

    def openssl(command: str) -> None:
        subprocess.run(
            ["openssl", *command.split()], cwd=directory, check=True, capture_output=True
        )

    key = "-newkey rsa:2048 -nodes"
    openssl(f"req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2")
    (directory / "names").write_text("subjectAltName=DNS:peermentor.test,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(f"req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}")
        openssl(
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
            f"-extfile names -out {name}.pem -days 2"
        )
    return directory


@contextmanager
def tls_server(certificates: Path, *, mutual: bool) -> Iterator[str]:
    credentials = grpc.ssl_server_credentials(
        [((certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes())],
        (certificates / "ca.pem").read_bytes() if mutual else None,
        mutual,
    )
    with scripted_server(answer, credentials=credentials) as address:
        yield address


def test_tls(client_kind: str, certificates: Path) -> None:
    ca = certificates / "ca.pem"
    with tls_server(certificates, mutual=False) as address:
        for certificate in (ca, str(ca), ca.read_bytes()):
            with opened(client_kind, address, tls=True, ca_certificate=certificate) as client:
                client.assignments.get("asgn_001")
        several = {"tls": True, "ca_certificate": ca, "server_name": "peermentor.test"}
        with opened(client_kind, [address, address], **several) as client:
            client.assignments.get("asgn_001")
        refused(client_kind, address, tls=True)
        refused(client_kind, address)


def refused(client_kind: str, address: str, **options: Any) -> None:
    with (
        opened(client_kind, address, retries=0, **options) as client,
        pytest.raises(Unavailable, match="both sides use TLS or neither does"),
    ):
        client.assignments.get("asgn_001")


def test_mutual_tls(client_kind: str, certificates: Path) -> None:
    options: dict[str, Any] = {"tls": True, "ca_certificate": certificates / "ca.pem"}
    own = {
        "client_certificate": certificates / "client.pem",
        "client_key": certificates / "client.key",
    }
    with tls_server(certificates, mutual=True) as address:
        with opened(client_kind, address, **options, **own) as client:
            client.assignments.get("asgn_001")
        refused(client_kind, address, **options)


def test_certificates_without_tls_are_refused(client_kind: str) -> None:
    with (
        pytest.raises(ValueError, match="give tls=True"),
        opened(client_kind, "127.0.0.1:1", ca_certificate=b"..."),
    ):
        pass


def test_a_closed_client_says_so(client: Any) -> None:
    client.assignments.list()
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.assignments.get("asgn_001")


def test_many_threads_share_a_client(settings: Settings, channel: grpc.Channel) -> None:
    del channel
    with Client(str(settings.grpc_address)) as client:
        made = at_once(*[lambda: client.assignments.create(**NEW_ASSIGNMENT)] * 16)
        assert len({each.assignment_id for each in made}) == 16
        counts = at_once(*[lambda: len(list(client.assignments.list(limit=3)))] * 8)
    assert counts == [16] * 8


def test_an_async_client_is_used_by_many_tasks_and_loops(
    settings: Settings, channel: grpc.Channel
) -> None:
    del channel
    client = AsyncClient(str(settings.grpc_address))

    async def use() -> int:
        await asyncio.gather(*[client.assignments.create(**NEW_ASSIGNMENT) for _ in range(8)])
        return await client.assignments.list().total

    assert asyncio.run(use()) == 8
    assert asyncio.run(use()) == 16


FORK = """
import os, sys
from peermentor import Client
client = Client(sys.argv[1], timeout=5)
if sys.argv[2] == "used":
    client.assignments.list().total
if (pid := os.fork()) == 0:
    try:
        print("child", client.assignments.list().total, flush=True)
    except RuntimeError as error:
        print("child", error, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("parent", client.assignments.list().total)
client.close()
"""


@pytest.mark.parametrize(
    ("used", "support", "child"),
    [
        ("fresh", "0", "child 0"),
        ("used", "1", "child 0"),
        ("used", "0", "child gRPC was used before this process was forked"),
    ],
)
def test_a_fork(
    settings: Settings, channel: grpc.Channel, used: str, support: str, child: str
) -> None:
    del channel
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(settings.grpc_address), used],
        env=dict(os.environ) | {"GRPC_ENABLE_FORK_SUPPORT": support},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first.startswith(child)
    assert second == "parent 0"


ASYNC_FORK = """
import asyncio, os, sys
from peermentor import AsyncClient, Client
async def total():
    async with AsyncClient(sys.argv[1]) as client:
        return await client.assignments.list().total
asyncio.run(total())
if (pid := os.fork()) == 0:
    other = Client(sys.argv[1])
    for call in (lambda: asyncio.run(total()), lambda: other.assignments.list().total):
        try:
            print("child", call(), flush=True)
        except RuntimeError as error:
            print("child", error, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("parent", asyncio.run(total()))
"""


def test_a_fork_after_an_async_client_was_used(settings: Settings, channel: grpc.Channel) -> None:
    del channel
    done = subprocess.run(
        [sys.executable, "-c", ASYNC_FORK, str(settings.grpc_address)],
        env=dict(os.environ) | {"GRPC_ENABLE_FORK_SUPPORT": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    *children, parent = done.stdout.splitlines()
    assert parent == "parent 0"
    assert len(children) == 2
    for child in children:
        assert child.startswith("child gRPC was used before this process was forked")
