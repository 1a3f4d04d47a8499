"""TLS on both ports of `serve`, and on the one of `serve --no-gateway`."""

import os
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from peermentor import Client
from peermentor_server import settings
from peermentor_server.certificates import Unusable, Watch, read
from peermentor_server.failures import CommandFailed
from support.commands import run, start
from support.plain_http import NO_TLS
from support.ports import free_ports
from support.serving import Running, serving, settings_for
from support.waiting import wait_until

AUTHORITY = trustme.CA()
ROOT = AUTHORITY.cert_pem.bytes()


def _write(directory: Path, *names: str, until: datetime | None = None) -> None:
    """Write a new certificate, signed by AUTHORITY, and its key."""
    made = AUTHORITY.issue_cert("127.0.0.1", "localhost", *names, not_after=until)
    (directory / "cert.pem").write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
    key = directory / "key.pem"
    key.touch(0o600)
    key.write_bytes(made.private_key_pem.bytes())


def _files(directory: Path) -> dict[str, str]:
    return {
        "PEERMENTOR_TLS_CERTIFICATE": str(directory / "cert.pem"),
        "PEERMENTOR_TLS_KEY": str(directory / "key.pem"),
    }


def _context() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ROOT.decode())


def _names(address: str) -> set[str]:
    """Return for which names the certificate is that an address shows."""
    with (
        socket.create_connection(_host_and_port(address), timeout=5) as plain,
        _context().wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        found: Any = connection.getpeercert()
    return {str(value) for _, value in found["subjectAltName"]}


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that speaks TLS, its files in the directory of its log."""
    directory = tmp_path_factory.mktemp("tls")
    _write(directory)
    environment = settings_for(f"sqlite:///{directory}/own.db", free_ports(3)) | _files(directory)
    with (directory / "log").open("w") as log, serving(environment, log) as running:
        yield running


def test_rest_and_grpc_speak_tls_and_nothing_else(running: Running) -> None:
    assert f"https://{running.rest}" in running.welcome
    with httpx.Client(verify=_context()) as client:
        answer = client.get(f"https://{running.rest}/api/v1/assignments")
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        for path in ("nothing", "openapi.json", "docs", "docs/swagger-ui.css"):
            also = client.get(f"https://{running.rest}/{path}")
            assert also.headers["strict-transport-security"] == "max-age=31536000"
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{running.rest}/api/v1/assignments", verify=NO_TLS)
    assert run("ready", **running.environment).returncode == 0
    with Client(running.grpc, tls=True, ca_certificate=ROOT) as client:
        assert client.assignments.list().count() == 0
    with grpc.insecure_channel(running.grpc) as channel, pytest.raises(grpc.RpcError):
        HealthStub(channel).Check(HealthCheckRequest(), timeout=2)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("port", ["rest", "grpc"])
def test_what_is_older_than_tls_1_2_is_refused(running: Running, port: str) -> None:
    place = _host_and_port(getattr(running, port))
    context = _context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    for version, is_taken in (
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ):
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
        with socket.create_connection(place, timeout=5) as plain:
            try:
                context.wrap_socket(plain, server_hostname="localhost").close()
            except (ssl.SSLError, OSError):
                assert not is_taken, version
            else:
                assert is_taken, version


def test_who_begins_no_handshake_is_left(running: Running) -> None:
    with socket.create_connection(_host_and_port(running.rest), timeout=20) as silent:
        assert silent.recv(1) == b""


def test_a_renewed_certificate_is_served_and_no_call_fails(running: Running) -> None:
    assert running.log is not None
    failures: list[str] = []
    end = threading.Event()

    def call() -> None:
        while not end.is_set():
            # A connection for each, and one that stays.
            try:
                answer = httpx.get(f"https://{running.rest}/api/v1/assignments", verify=_context())
                if answer.status_code != 200:
                    failures.append(answer.text)
            except httpx.TransportError as error:
                failures.append(repr(error))

    caller = threading.Thread(target=call)
    caller.start()
    try:
        with httpx.Client(verify=_context()) as steady:
            for name in ("one.example.org", "two.example.org"):
                _write(running.log.parent, name)
                wait_until(lambda: name in _names(running.rest), 15, every=0.1)  # noqa: B023
                wait_until(lambda: name in _names(running.grpc), 15, every=0.1)  # noqa: B023
                steady.get(f"https://{running.rest}/api/v1/assignments").raise_for_status()
    finally:
        end.set()
        caller.join()
    assert failures == []


def test_a_pair_that_does_not_belong_together_is_not_served(running: Running) -> None:
    assert running.log is not None
    directory = running.log.parent
    _write(directory, "before.example.org")
    wait_until(lambda: "before.example.org" in _names(running.rest), 15, every=0.1)
    before = len(running.lines("certificate not renewed"))
    other = AUTHORITY.issue_cert("after.example.org", "localhost")
    (directory / "key.pem").write_bytes(other.private_key_pem.bytes())
    wait_until(lambda: len(running.lines("certificate not renewed")) > before, 10)
    line = running.lines("certificate not renewed")[-1]
    assert line["reason"].startswith("PEERMENTOR_TLS_KEY: ")
    assert "before.example.org" in _names(running.rest)
    (directory / "cert.pem").write_bytes(other.cert_chain_pems[0].bytes())
    wait_until(lambda: "after.example.org" in _names(running.rest), 15, every=0.1)


def test_without_the_gateway_the_server_speaks_tls_itself(tmp_path: Path) -> None:
    _write(tmp_path)
    environment = settings_for(f"sqlite:///{tmp_path}/own.db", free_ports(3)) | _files(tmp_path)
    address = environment["PEERMENTOR_GRPC_ADDRESS"]
    with start("serve", "--no-gateway", **environment) as process:
        try:
            with Client(address, tls=True, ca_certificate=ROOT, timeout=30) as client:
                assert client.assignments.list().count() == 0
            _write(tmp_path, "new.example.org")
            wait_until(lambda: "new.example.org" in _names(address), 10, every=0.1)
        finally:
            process.kill()


def test_who_requires_keys_says_so_and_is_called_as_it_prints(tmp_path: Path) -> None:
    _write(tmp_path)
    environment = settings_for(f"sqlite:///{tmp_path}/own.db", free_ports(3)) | _files(tmp_path)
    environment["PEERMENTOR_ACCESS"] = "required"
    assert run("migrate", **environment).returncode == 0
    key = run("keys", "create", "--org", "org_03", "--permission", "write", **environment)
    (tmp_path / "root.pem").write_bytes(ROOT)
    with serving(environment) as running:
        assert "Calls need a key; this makes one: peermentor-server keys create" in running.welcome
        for command in re.findall(r"^ *(curl .*)$", running.welcome, re.MULTILINE):
            called = subprocess.run(
                ["bash", "-c", command.replace("curl ", f"curl --cacert {tmp_path}/root.pem ")],
                env=os.environ | {"PEERMENTOR_TOKEN": key.stdout.strip()},
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            )
            assert "asgn_001" in called.stdout


def test_keys_that_nobody_asks_for_are_named_at_the_start(tmp_path: Path) -> None:
    environment = settings_for(f"sqlite:///{tmp_path}/own.db", free_ports(3))
    assert run("migrate", **environment).returncode == 0
    assert run("keys", "create", "--all-orgs", **environment).returncode == 0
    with (tmp_path / "log").open("w") as log, serving(environment, log) as running:
        (line,) = running.lines("there are keys, and PEERMENTOR_ACCESS does not ask for them")
        assert line["level"] == "warning"
        assert running.lines("serving")[0]["access"] == "open"


# --- Files that are of no use ---


def test_what_is_wrong_is_said_by_every_command_that_needs_them(tmp_path: Path) -> None:
    environment = settings_for(f"sqlite:///{tmp_path}/own.db", free_ports(3)) | _files(tmp_path)
    missing = f"PEERMENTOR_TLS_CERTIFICATE: {tmp_path}/cert.pem: no such file or directory"
    for command in (["serve"], ["serve", "--no-gateway"], ["check"]):
        result = run(*command, **environment)
        assert result.returncode == 1
        assert missing in result.stdout + result.stderr
    _write(tmp_path)
    assert run("check", **environment).returncode == 0
    _write(tmp_path, until=datetime(2026, 1, 2, tzinfo=UTC))
    (tmp_path / "key.pem").chmod(0o644)
    result = run("check", **environment)
    assert result.returncode == 1
    assert "cert.pem was valid until 2026-01-02 only" in result.stderr
    assert f"all users of this machine can read {tmp_path}/key.pem" in result.stderr


def test_only_a_certificate_and_its_own_key_are_read(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    _write(tmp_path)
    assert read(certificate, key).certificate == certificate.read_bytes()
    key.write_bytes(AUTHORITY.issue_cert("a").private_key_pem.bytes())
    with pytest.raises(Unusable, match=r"key.pem is not the key of .*cert.pem"):
        read(certificate, key)
    for file, content in ((key, b"no key"), (certificate, b""), (certificate, key.read_bytes())):
        _write(tmp_path)
        file.write_bytes(content)
        with pytest.raises(Unusable, match="are no certificate and its key"):
            read(certificate, key)


def test_a_short_key_is_refused_as_one(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is to be refused
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
    signed = x509.CertificateBuilder(name, name, key.public_key(), 1, start, end).sign(
        key, hashes.SHA256()
    )
    (tmp_path / "cert.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    with pytest.raises(Unusable, match=r"key\.pem is too short to be safe"):
        read(tmp_path / "cert.pem", tmp_path / "key.pem")


def test_a_watch_sees_a_new_pair_once(tmp_path: Path) -> None:
    _write(tmp_path)
    watch = Watch(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert watch.renewed() is None
    _write(tmp_path, "new.example.org")
    assert watch.renewed() == watch.pair
    assert watch.renewed() is None
    (tmp_path / "key.pem").unlink()
    assert watch.renewed() is None


def test_who_requires_keys_may_be_reached_by_tls_alone() -> None:
    both = {"tls_certificate": "cert.pem", "tls_key": "key.pem"}
    everywhere = {"grpc_address": "0.0.0.0:1", "rest_address": "0.0.0.0:2"}
    found = settings.load({}, access="required", **both, **everywhere)
    assert found.tls_key == Path("key.pem").absolute()
    with pytest.raises(CommandFailed, match="would let others on the way read keys and data"):
        settings.load({}, access="required", **everywhere)
    with pytest.raises(CommandFailed, match="would let other machines in"):
        settings.load({}, **both, **everywhere)
    for one in both.items():
        with pytest.raises(CommandFailed, match="need each other"):
            settings.load({}, **dict([one]))
