"""Client certificates in place of keys, as the real gateway looks at them."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from peermentor import Client, PermissionDenied, Unauthenticated
from support.commands import run
from support.factories import NEW_ASSIGNMENT
from support.ports import free_ports
from support.serving import Running, serving, settings_for
from support.waiting import wait_until

SERVERS, CLIENTS, STRANGERS = trustme.CA(), trustme.CA(), trustme.CA()
ROOT = SERVERS.cert_pem.bytes()
SUBJECTS = r"""
['CN=nightly\, job,OU=Programs,O=City Mentors']
permission = "write"
orgs = ["org_03"]
["CN=reader,OU=Programs,O=City Mentors"]
permission = "read"
all_orgs = true
"""


def issued(name: str, authority: trustme.CA = CLIENTS) -> trustme.LeafCert:
    """Return a certificate of a program of City Mentors."""
    return authority.issue_cert(
        common_name=name, organization_unit_name="Programs", organization_name="City Mentors"
    )


WRITER, READER, UNKNOWN = issued("nightly, job"), issued("reader"), issued("unknown")
STRANGER = issued("reader", STRANGERS)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of the service are."""
    directory = tmp_path_factory.mktemp("certificates")
    own = SERVERS.issue_cert("127.0.0.1")
    (directory / "cert.pem").write_bytes(own.cert_chain_pems[0].bytes())
    (directory / "key.pem").write_bytes(own.private_key_pem.bytes())
    (directory / "clients.pem").write_bytes(CLIENTS.cert_pem.bytes())
    (directory / "subjects.toml").write_text(SUBJECTS)
    return directory


def environment(directory: Path) -> dict[str, str]:
    """Settings that take client certificates."""
    return settings_for(f"sqlite:///{directory}/own.db", free_ports(3)) | {
        "PEERMENTOR_ACCESS": "required",
        "PEERMENTOR_TLS_CERTIFICATE": f"{directory}/cert.pem",
        "PEERMENTOR_TLS_KEY": f"{directory}/key.pem",
        "PEERMENTOR_TLS_CLIENT_CA": f"{directory}/clients.pem",
        "PEERMENTOR_TLS_CLIENT_SUBJECTS": f"{directory}/subjects.toml",
    }


@pytest.fixture(scope="module")
def running(directory: Path) -> Iterator[Running]:
    """A service that takes them."""
    with (directory / "log").open("w") as log, serving(environment(directory), log) as running:
        yield running


def rest(running: Running, certificate: trustme.LeafCert | None = None) -> httpx.Client:
    """Return a client of REST that shows a certificate."""
    context = ssl.create_default_context(cadata=ROOT.decode())
    if certificate is not None:
        certificate.configure_cert(context)
    return httpx.Client(verify=context, base_url=f"https://{running.rest}/api/v1")


def sdk(running: Running, certificate: trustme.LeafCert) -> Client:
    """Return a client of gRPC that shows a certificate."""
    return Client(
        running.grpc,
        tls=True,
        ca_certificate=ROOT,
        client_key=certificate.private_key_pem.bytes(),
        client_certificate=certificate.cert_chain_pems[0].bytes(),
    )


def test_a_certificate_stands_for_what_the_file_says_of_its_subject(running: Running) -> None:
    with rest(running, WRITER) as client:
        made = client.post("/assignments", json=NEW_ASSIGNMENT)
        assert made.status_code == 200, made.text
        foreign = client.post("/assignments", json=NEW_ASSIGNMENT | {"org_id": "org_04"})
        assert foreign.status_code == 403
    with sdk(running, READER) as client:
        assert client.assignments.list().count() == 1
        with pytest.raises(PermissionDenied):
            client.assignments.delete(made.json()["assignment_id"])
    subjects = {line.get("subject") for line in running.lines("call")}
    assert {r"certificate:CN=nightly\, job,OU=Programs,O=City Mentors"} <= subjects


def test_without_one_or_with_one_that_is_unknown_nobody_gets_in(running: Running) -> None:
    # The subject of another, which only the gateway may name.
    forged = {"x-peermentor-certificate": "CN=reader,OU=Programs,O=City Mentors"}
    with rest(running) as client:
        for headers in ({}, forged):
            answer = client.get("/assignments", headers=headers)
            assert answer.json()["details"][0]["reason"] == "CREDENTIALS_MISSING"
    with rest(running, UNKNOWN) as client:
        for headers in ({}, forged):
            answer = client.get("/assignments", headers=headers)
            assert answer.json()["details"][0]["reason"] == "CREDENTIALS_INVALID"
    with rest(running, STRANGER) as client, pytest.raises(httpx.TransportError):
        client.get("/assignments")
    with sdk(running, UNKNOWN) as client, pytest.raises(Unauthenticated):
        client.assignments.list().count()


def test_what_a_call_says_itself_comes_before_its_certificate(running: Running) -> None:
    with rest(running, READER) as client:
        answer = client.get("/assignments", headers={"Authorization": "Bearer pmk_no_key"})
        assert answer.status_code == 401


def test_the_file_is_read_again_and_one_of_no_use_is_not_taken(
    running: Running, directory: Path
) -> None:
    file = directory / "subjects.toml"
    with rest(running, UNKNOWN) as client:
        file.write_text('["CN=unknown"]\npermission = "all"\nall_orgs = true\n')
        wait_until(lambda: running.lines("subjects of certificates not read") != [], 20)
        with rest(running, READER) as other:
            assert other.get("/assignments").status_code == 200
        file.write_text(SUBJECTS.replace("CN=reader", "CN=unknown"))
        wait_until(lambda: client.get("/assignments").status_code == 200, 20)
    with rest(running, READER) as other:
        assert other.get("/assignments").status_code != 200


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"PEERMENTOR_TLS_CLIENT_CA": ""}, "CLIENT_SUBJECTS need each other"),
        ({"PEERMENTOR_TLS_CLIENT_SUBJECTS": ""}, "CLIENT_SUBJECTS need each other"),
        ({"PEERMENTOR_ACCESS": "open"}, "only with PEERMENTOR_ACCESS=required"),
        (
            {"PEERMENTOR_TLS_CERTIFICATE": "", "PEERMENTOR_TLS_KEY": ""},
            "only with PEERMENTOR_TLS_CERTIFICATE and PEERMENTOR_TLS_KEY",
        ),
        ({"PEERMENTOR_TLS_CLIENT_CA": "/dev/null"}, "/dev/null holds no certificates in PEM"),
        ({"PEERMENTOR_TLS_CLIENT_CA": "/none"}, "PEERMENTOR_TLS_CLIENT_CA: /none: no such file"),
        ({"PEERMENTOR_TLS_CLIENT_SUBJECTS": "/none"}, "CLIENT_SUBJECTS: /none: no such file"),
    ],
)
def test_settings_that_are_of_no_use_are_named(
    directory: Path, changed: dict[str, str], told: str
) -> None:
    result = run("check", **environment(directory) | changed)
    assert result.returncode != 0
    assert told in result.stderr


def test_only_the_gateway_looks_at_certificates(directory: Path) -> None:
    result = run("serve", "--no-gateway", **environment(directory))
    assert result.returncode == 1
    assert "PEERMENTOR_TLS_CLIENT_CA: only the gateway looks at certificates" in result.stderr
