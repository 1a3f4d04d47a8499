"""How a client reaches the server: addresses, TLS, metadata, threads and processes."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message

from peermentor import (
    AsyncClient,
    Cancelled,
    Client,
    NotFound,
    Unauthenticated,
    Unavailable,
    Untrusted,
    __version__,
)
from peermentor.v1 import assignments_pb2
from peermentor_server.settings import Settings
from support.clients import opened, scripted_server
from support.factories import NEW_ASSIGNMENT
from support.ports import free_ports
from support.racing import at_once
from support.swallowing import swallower


def answer(_request: bytes, _context: grpc.ServicerContext) -> Message:
    return assignments_pb2.Assignment(assignment_id="asgn_001")


def test_the_address_comes_from_the_environment(
    client: Any, client_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEERMENTOR_ADDRESS", client.address)
    with opened(client_kind) as default:
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
        ("http://127.0.0.1:50051", "is not an address such as"),
        ("127.0.0.1", "is not an address such as"),
        ("", "'' is not an address such as"),
        ([], "'' is not an address such as"),
        (":1", "':1' is not an address such as"),
        ("127.0.0.1:0", "is not an address such as"),
        ("127.0.0.1:65536", "'127.0.0.1:65536' is not an address such as"),
        ("127.0.0.1:115587", "is not an address such as"),
        ("127.0.0.1:\u0665\u0660", "is not an address such as"),
        ("256.0.0.1:1", "is not an address such as"),
        ("::1:50051", "is not an address such as"),
        ("[::::]:1", "is not an address such as"),
        ("user@a.example:1", "is not an address such as"),
        ("a example:1", "is not an address such as"),
        ("a.example:1;b.example:1", "is not an address such as"),
        ("127.0.0.1:1,", "'' is not an address such as"),
        (["127.0.0.1:1,127.0.0.1:2"], "is not an address such as"),
        (["a.example:1", "b.example:2"], "must be IP addresses of one kind"),
        (["127.0.0.1:1", "[::1]:2"], "must be IP addresses of one kind"),
    ],
)
def test_what_is_no_address_is_refused(
    client_kind: str, address: str | list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message), opened(client_kind, address):
        pass


@pytest.mark.parametrize("address", [5, b"127.0.0.1:1", [b"127.0.0.1:1"], [1], {}, {"a:1": 2}])
def test_an_address_is_text(client_kind: str, address: Any) -> None:
    with pytest.raises(TypeError, match=r"^address: a str such as"), opened(client_kind, address):
        pass


@pytest.mark.parametrize(
    ("address", "proxied"),
    [
        ("127.0.0.1:1", False),
        ("127.8.8.8:1", False),
        ("[::1]:1", False),
        ("localhost:1", False),
        (["10.0.0.1:1", "10.0.0.2:1"], False),
        ("10.0.0.1:1", True),
        ("peermentor.example.org:443", True),
    ],
)
def test_a_proxy_is_passed_by_where_it_cannot_help(
    client_kind: str, address: Any, *, proxied: bool
) -> None:
    with opened(client_kind, address) as client:
        assert (
            ("grpc.enable_http_proxy", 0) not in client._connection.setup.channel_options
        ) is proxied


def test_a_server_nearby_is_reached_without_the_proxy_of_the_environment(
    client_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with scripted_server(answer) as first, scripted_server(answer) as second:
        for address in (first, [first, second]):
            with opened(client_kind, address, retries=0) as client:
                client.assignments.get("asgn_001")


@pytest.mark.parametrize("name", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_the_proxy_of_the_environment_is_among_the_hints(
    client_kind: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for each in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(each, raising=False)
    hint = f"and the proxy that `{name}` in the environment names"
    for proxy, told in (("http://s3cret@127.0.0.1:1", True), ("", False)):
        monkeypatch.setenv(name, proxy)
        with (
            opened(client_kind, "peermentor.invalid:1", retries=0) as client,
            pytest.raises(Unavailable, match=r"no answer from peermentor.invalid:1") as raised,
        ):
            client.assignments.get("asgn_001")
        assert (hint in raised.value.message) is told
        assert "s3cret" not in str(raised.value)


def test_a_connection_that_freezes_is_given_up_for_another() -> None:
    def heal(kind: str) -> int:
        with (
            scripted_server(answer) as address,
            swallower(int(address.rpartition(":")[2])) as between,
            opened(kind, between.address, timeout=50) as client,
        ):
            client.assignments.get("asgn_001")
            between.freeze()
            client.assignments.get("asgn_001")
            return between.opened

    # Both at once, since it takes as long as pings do.
    assert at_once(partial(heal, "sync"), partial(heal, "async")) == [2, 2]


def test_a_token_and_metadata_go_with_each_call(client_kind: str) -> None:
    seen: list[dict[str, str | bytes]] = []

    def behaviour(request: bytes, context: grpc.ServicerContext) -> Message:
        seen.append(dict(context.invocation_metadata()))
        return answer(request, context)

    tokens = iter(["one", "two"])
    with scripted_server(behaviour) as address:
        with opened(client_kind, address, token="secret", metadata={"X-Tenant": "7"}) as client:  # noqa: S106
            client.assignments.get("asgn_001")
        with opened(client_kind, address, token=lambda: next(tokens)) as client:
            client.assignments.get("asgn_001")
            client.assignments.get("asgn_001")
    assert seen[0]["x-tenant"] == "7"
    assert str(seen[0]["user-agent"]).startswith(f"peermentor-python/{__version__} ")
    assert [each["authorization"] for each in seen] == ["Bearer secret", "Bearer one", "Bearer two"]


def test_without_a_token_it_is_that_of_the_environment(
    client_kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []

    def behaviour(request: bytes, context: grpc.ServicerContext) -> Message:
        seen.append(str(dict(context.invocation_metadata()).get("authorization")))
        return answer(request, context)

    file = tmp_path / "token"
    with scripted_server(behaviour) as address:
        monkeypatch.setenv("PEERMENTOR_TOKEN_FILE", str(file))
        with pytest.raises(FileNotFoundError):
            opened(client_kind, address).__enter__()
        file.write_text("one\n")
        with opened(client_kind, address) as client:
            client.assignments.get("asgn_001")
            file.write_text("two\n")
            client.assignments.get("asgn_001")
        monkeypatch.setenv("PEERMENTOR_TOKEN", "three")
        with opened(client_kind, address) as client:
            client.assignments.get("asgn_001")
        with opened(client_kind, address, token="four") as client:  # noqa: S106
            client.assignments.get("asgn_001")
        with opened(client_kind, address, metadata={"Authorization": "five"}) as client:
            client.assignments.get("asgn_001")
    assert seen == ["Bearer one", "Bearer two", "Bearer three", "Bearer four", "five"]


@pytest.mark.parametrize("fresh", [True, False])
def test_a_refused_token_of_a_function_is_asked_for_once_more(
    client_kind: str, *, fresh: bool
) -> None:
    seen: list[str] = []

    def behaviour(request: bytes, context: grpc.ServicerContext) -> Message:
        seen.append(str(dict(context.invocation_metadata())["authorization"]))
        if seen[-1] != "Bearer good":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
        return answer(request, context)

    tokens = iter(["bad", "good" if fresh else "worse", "worst"])
    with (
        scripted_server(behaviour) as address,
        opened(client_kind, address, token=lambda: next(tokens)) as client,
    ):
        if fresh:
            client.assignments.delete("asgn_001")
        else:
            with pytest.raises(Unauthenticated):
                client.assignments.delete("asgn_001")
    assert len(seen) == 2


def test_a_refused_token_that_stays_the_same_is_sent_once(client_kind: str) -> None:
    seen: list[bytes] = []

    def behaviour(request: bytes, context: grpc.ServicerContext) -> Message:
        seen.append(request)
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")

    with (
        scripted_server(behaviour) as address,
        opened(client_kind, address, token="bad") as client,  # noqa: S106
        pytest.raises(Unauthenticated),
    ):
        client.assignments.get("asgn_001")
    assert len(seen) == 1


async def later() -> str:
    await asyncio.sleep(0.01)
    return "secret"


def test_only_an_asynchronous_client_waits_for_a_token() -> None:
    seen: list[str] = []

    def behaviour(request: bytes, context: grpc.ServicerContext) -> Message:
        seen.append(str(dict(context.invocation_metadata())["authorization"]))
        return answer(request, context)

    with scripted_server(behaviour) as address:
        with opened("async", address, token=later) as client:
            client.assignments.get("asgn_001")
        with pytest.raises(TypeError, match="token: a plain function is needed"):
            Client(address, token=later)  # type: ignore[arg-type]
    assert seen == ["Bearer secret"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"metadata": {"x tenant": "7"}}, ValueError, "metadata 'x tenant': only printable"),
        ({"metadata": {"x-tenant": "s3cret\n"}}, ValueError, "metadata 'x-tenant': only"),
        ({"metadata": {"x-tenant": "s3cret\u00e6"}}, ValueError, "metadata 'x-tenant': only"),
        ({"metadata": {"x-tenant": None}}, TypeError, "metadata 'x-tenant': a str is needed"),
        ({"metadata": {7: "a"}}, TypeError, "metadata 7: a str as its name is needed, not int"),
        ({"metadata": [("a", "b")]}, TypeError, "metadata: a mapping of names to texts is needed"),
        (
            {"metadata": {"grpc-timeout": "1"}},
            ValueError,
            "metadata 'grpc-timeout': .* are reserved",
        ),
        ({"metadata": {"x-trace-bin": "1"}}, ValueError, "metadata 'x-trace-bin': .* are reserved"),
        ({"metadata": {"Authorization": "a"}, "token": "s3cret"}, ValueError, "not both"),
        ({"token": "s3cret\n"}, ValueError, "token: only printable ASCII"),
        ({"token": "s3cret\u00e6"}, ValueError, "token: only printable ASCII"),
        ({"token": ""}, ValueError, "token: only printable ASCII"),
        ({"token": b"s3cret"}, TypeError, "token: a str is needed, not bytes"),
        ({"timeout": "5"}, TypeError, "timeout: a number of seconds is needed, not str"),
        ({"timeout": None}, TypeError, "timeout: a number of seconds is needed, not None"),
        ({"timeout": True}, TypeError, "timeout: a number of seconds is needed, not bool"),
        ({"timeout": 1e10}, ValueError, "timeout must be a positive number of seconds below"),
        ({"retries": -1}, ValueError, "retries must be 0 or more, not -1"),
        ({"retries": True}, TypeError, "retries: an int is needed, not bool"),
        ({"retries": 1.5}, TypeError, "retries: an int is needed, not float"),
        ({"server_name": "a.example"}, ValueError, "give tls=True with them"),
        ({"server_name": "", "tls": True}, ValueError, "server_name: '' is not a host name"),
        ({"server_name": "a b", "tls": True}, ValueError, "server_name: 'a b' is not a host name"),
        ({"server_name": 5, "tls": True}, TypeError, "server_name: a str is needed, not int"),
        ({"tls": "yes"}, TypeError, "tls: a bool is needed, not str"),
        ({"tls": None}, TypeError, "tls: a bool is needed, not NoneType"),
        ({"tls": 1}, TypeError, "tls: a bool is needed, not int"),
        ({"ca_certificate": 5, "tls": True}, TypeError, "ca_certificate: a path or bytes is need"),
        ({"client_key": 5, "tls": True}, TypeError, "client_key: a path or bytes is needed"),
        ({"client_certificate": 5}, TypeError, "client_certificate: a path or bytes is needed"),
        ({"ca_certificate": b""}, ValueError, "give tls=True with them"),
        ({"ca_certificate": b"", "tls": True}, ValueError, "ca_certificate is not PEM"),
        ({"ca_certificate": "/dev/null", "tls": True}, ValueError, "ca_certificate is not PEM"),
        ({"client_key": b"-----BEGIN ", "tls": True}, ValueError, "together or not at all"),
        ({"client_certificate": b"-----BEGIN ", "tls": True}, ValueError, "together or not"),
        (
            {"client_certificate": b"-----BEGIN ", "client_key": b"", "tls": True},
            ValueError,
            "client_key is not PEM",
        ),
    ],
)
def test_wrong_options_are_refused_at_once(
    client_kind: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with (
        pytest.raises(error, match=message) as raised,
        opened(client_kind, "127.0.0.1:1", **options),
    ):
        pass
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("token", "error"), [("s3cret\n", ValueError), (None, TypeError), (b"s3cret", TypeError)]
)
def test_a_token_is_checked_with_each_call(
    client_kind: str, token: Any, error: type[Exception]
) -> None:
    with (
        opened(client_kind, "127.0.0.1:1", token=lambda: token) as client,
        pytest.raises(error, match=r"^token: ") as raised,
    ):
        client.assignments.get("asgn_001")
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_shows_its_address(kind: type[Client | AsyncClient]) -> None:
    client = kind("127.0.0.1:1", token="s3cret")  # noqa: S106
    shown, a = f"{kind.__name__}('127.0.0.1:1')", kind.__name__.removesuffix("Client")
    assert repr(client) == shown
    assert repr(client.assignments) == f"<{a}Assignments of {shown}>"
    assert repr(client.templates) == f"<{a}Templates of {shown}>"
    assert repr(client.templates.list()) == f"<{a}Listing of RecurringTemplate: no filters>"
    some = client.assignments.list(org_id="org_03", status="paused", limit=5)
    assert repr(some) == f'<{a}Listing of Assignment: status: paused org_id: "org_03" limit: 5>'


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
        refused(client_kind, address)


def refused(client_kind: str, address: str, **options: Any) -> None:
    with (
        opened(client_kind, address, retries=0, **options) as client,
        pytest.raises(Unavailable, match=r"both sides use TLS or neither does.*asks for a certi"),
    ):
        client.assignments.get("asgn_001")


def test_a_certificate_that_is_wrong_is_told_at_once(
    client_kind: str, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "peermentor")
    ca, nothing = certificates / "ca.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END"
    with tls_server(certificates, mutual=False) as tls, scripted_server(answer) as plain:
        for address, options in (
            (tls, {}),
            (tls, {"ca_certificate": certificates / "client.pem"}),
            (tls, {"ca_certificate": nothing}),
            (tls, {"ca_certificate": ca, "server_name": "elsewhere.test"}),
            ([tls, tls], {"ca_certificate": ca, "server_name": "elsewhere.test"}),
            (plain, {"ca_certificate": ca}),
        ):
            with (
                opened(client_kind, address, timeout=60, tls=True, **options) as client,
                pytest.raises(Untrusted, match=r"no TLS with .*: check that its certificate is"),
            ):
                client.assignments.get("asgn_001")
    assert not [record for record in caplog.records if record.name == "peermentor"]


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


def test_a_closed_client_says_so(client: Any) -> None:
    client.assignments.list()
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.assignments.get("asgn_001")


@contextmanager
def deaf_server() -> Iterator[str]:
    """Serve, and answer nothing before the end of the block."""
    release = threading.Event()

    def behaviour(request: bytes, context: grpc.ServicerContext) -> Message:
        release.wait(20)
        return answer(request, context)

    with scripted_server(behaviour) as address:
        try:
            yield address
        finally:
            release.set()


@pytest.mark.parametrize("pausing", [False, True])
def test_close_ends_calls_under_way(*, pausing: bool) -> None:
    (port,) = free_ports(1)
    with deaf_server() as address, ThreadPoolExecutor() as threads:
        client = Client(f"127.0.0.1:{port}" if pausing else address, retries=9)
        calls = [threads.submit(client.assignments.get, "asgn_001") for _ in range(4)]
        time.sleep(0.5)
        client.close()
        for call in calls:
            with pytest.raises(Cancelled, match="this client was closed during the call"):
                call.result(timeout=5)


@pytest.mark.parametrize("pausing", [False, True])
def test_close_ends_asynchronous_calls_under_way(*, pausing: bool) -> None:
    (port,) = free_ports(1)

    async def use(address: str) -> None:
        client = AsyncClient(address, retries=9)
        calls = [asyncio.ensure_future(client.assignments.get("asgn_001")) for _ in range(4)]
        await asyncio.sleep(0.5)
        await client.close()
        for result in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(result, Cancelled), repr(result)

    with deaf_server() as address:
        asyncio.run(use(f"127.0.0.1:{port}" if pausing else address))


def test_a_cancelled_task_stays_cancelled() -> None:
    async def use(address: str) -> None:
        async with AsyncClient(address) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.assignments.get("asgn_001")
            task = asyncio.ensure_future(client.assignments.get("asgn_001"))
            await asyncio.sleep(0.2)
            task.cancel()
            await client.close()
            with pytest.raises(asyncio.CancelledError):
                await task

    with deaf_server() as address:
        asyncio.run(use(address))


def test_close_while_calls_begin_leaks_no_error_of_grpc() -> None:
    with scripted_server(answer) as address, ThreadPoolExecutor(16) as threads:
        for _ in range(20):
            client = Client(address)

            def use(client: Client = client) -> None:
                while True:
                    client.assignments.get("asgn_001")

            calls = [threads.submit(use) for _ in range(8)]
            time.sleep(0.02)
            client.close()
            errors = [call.exception(timeout=5) for call in calls]
            assert {type(error) for error in errors} <= {Cancelled, RuntimeError}, errors


def test_an_async_client_lets_go_of_loops_that_are_over(
    settings: Settings, channel: grpc.Channel
) -> None:
    del channel
    client = AsyncClient(str(settings.grpc_address))

    async def use() -> None:
        await client.assignments.list().count()

    for _ in range(5):
        asyncio.run(use())
    assert len(client._connection._channels._open) == 1


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
        return await client.assignments.list().count()

    assert asyncio.run(use()) == 8
    assert asyncio.run(use()) == 16


FORK = """
import os, sys
from peermentor import Client
client = Client(sys.argv[1], timeout=5)
if sys.argv[2] == "used":
    client.assignments.list().count()
if (pid := os.fork()) == 0:
    try:
        print("child", client.assignments.list().count(), flush=True)
    except RuntimeError as error:
        print("child", error, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("parent", client.assignments.list().count())
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
        return await client.assignments.list().count()
asyncio.run(total())
if (pid := os.fork()) == 0:
    other = Client(sys.argv[1])
    for call in (lambda: asyncio.run(total()), lambda: other.assignments.list().count()):
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
