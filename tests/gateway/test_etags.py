"""Etags over REST: the header ETag, If-None-Match and If-Match."""

import socket
from typing import Any

import httpx
import pytest

from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE

A, T = "/api/v1/assignments", "/api/v1/recurring-templates"
CONTACT = {"contact_date": "2026-03-25T09:45:00Z"}
REMINDER = {"reminder_sent_at": "2026-03-26T10:00:00Z"}
WRITES = [
    ("PUT", f"{A}/asgn_001", REMINDER),
    ("PUT", f"{A}/asgn_001/last-contact", CONTACT),
    ("DELETE", f"{A}/asgn_001", None),
    ("PUT", f"{T}/rt-001", {"name": "Monthly Review"}),
    ("DELETE", f"{T}/rt-001", None),
]
RESOURCES = [f"{A}/asgn_001", f"{T}/rt-001"]
CALENDAR = f"{T}/rt-001/calendar.ics"
each_resource = pytest.mark.parametrize("path", RESOURCES)
each_write = pytest.mark.parametrize(("method", "path", "body"), WRITES)


@pytest.fixture
def rest(rest: httpx.Client) -> httpx.Client:
    """The gateway, with one of each resource."""
    rest.post(A, json=NEW_ASSIGNMENT | {"mentee_name": ',"etag":"x"'})
    rest.post(T, json=NEW_TEMPLATE)
    return rest


def etag(rest: httpx.Client, path: str) -> str:
    return rest.get(path.removesuffix("/last-contact")).headers["etag"]


def not_modified(rest: httpx.Client, path: str, known: str) -> bool:
    """Tell whether an answer says that, for GET and for HEAD, and is as it has to be."""
    get, head = (rest.request(m, path, headers={"If-None-Match": known}) for m in ("GET", "HEAD"))
    assert get.status_code == head.status_code
    assert get.headers["etag"] == head.headers["etag"] == etag(rest, path)
    assert get.headers["cache-control"] == "no-store"
    if get.status_code == 304:
        assert get.content == head.content == b""
        assert not {"content-type", "content-length", "transfer-encoding"} & get.headers.keys()
    return get.status_code == 304


# --- Reads ---


@each_resource
def test_the_header_is_the_field(rest: httpx.Client, path: str) -> None:
    answer = rest.get(path)
    assert answer.headers["etag"] == answer.json()["etag"]


@pytest.mark.parametrize("path", [*RESOURCES, CALENDAR])
def test_who_has_the_answer_is_told_so_without_a_body(rest: httpx.Client, path: str) -> None:
    known = etag(rest, path)
    for met in (known, f"W/{known}", f'"0", {known}', f'"0" , W/{known}, "1"', "*"):
        assert not_modified(rest, path, met)
    for other in ('"0"', known.strip('"'), f'"{known[1:-1]}0"', "", "nothing"):
        assert not not_modified(rest, path, other)

    changed = path.removesuffix("/calendar.ics")
    rest.put(changed, json={"coordinator_id": "another"})
    assert not not_modified(rest, path, known)
    assert not_modified(rest, path, etag(rest, path))


def test_only_the_answer_with_one_resource_has_the_header(rest: httpx.Client) -> None:
    for path in (A, f"{A}/overdue", f"{A}/asgn_001/contacts", f"{A}/summary", T):
        answer = rest.get(path, headers={"If-None-Match": "*"})
        assert answer.status_code == 200
        assert "etag" not in answer.headers
    missing = rest.get(f"{A}/asgn_404", headers={"If-None-Match": "*"})
    assert missing.status_code == 404
    assert "etag" not in missing.headers


def test_the_answer_to_a_write_has_the_field_alone(rest: httpx.Client) -> None:
    for answer in (
        rest.post(A, json=NEW_ASSIGNMENT, headers={"If-None-Match": "*"}),
        rest.put(f"{A}/asgn_001", json=REMINDER),
    ):
        assert answer.status_code == 200
        assert answer.json()["etag"]
        assert "etag" not in answer.headers


def test_nothing_follows_on_the_connection(rest: httpx.Client) -> None:
    known = etag(rest, f"{A}/asgn_001")
    host = f"Host: localhost\r\nIf-None-Match: {known}\r\n"
    request = f"GET {A}/asgn_001 HTTP/1.1\r\n{host}\r\n".encode()
    last = f"GET {A}/asgn_001 HTTP/1.1\r\n{host}Connection: close\r\n\r\n".encode()
    address = (rest.base_url.host, rest.base_url.port or 80)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request + last)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    first, second, rest_of_it = received.split(b"\r\n\r\n")
    for answer in (first, second):
        assert answer.split(b"\r\n")[0] == b"HTTP/1.1 304 Not Modified"
    assert rest_of_it == b""


# --- Writes ---


def send(rest: httpx.Client, method: str, path: str, body: Any, known: str, by: str) -> Any:
    if by == "header":
        return rest.request(method, path, json=body, headers={"If-Match": known})
    if body is None:
        return rest.request(method, path, params={"etag": known})
    return rest.request(method, path, json=body | {"etag": known})


@each_write
@pytest.mark.parametrize("by", ["header", "field"])
def test_a_write_fails_with_412_if_somebody_has_written_since(
    rest: httpx.Client, method: str, path: str, body: Any, by: str
) -> None:
    resource = path.removesuffix("/last-contact")
    known = etag(rest, path)
    rest.put(resource, json={"coordinator_id": "another"})
    before = rest.get(resource).json()

    refused = send(rest, method, path, body, known, by)

    assert refused.status_code == 412, refused.text
    assert refused.json()["code"] == 10
    assert refused.json()["details"][0]["reason"] == "ETAG_MISMATCH"
    assert "etag" not in refused.headers
    assert rest.get(resource).json() == before
    assert send(rest, method, path, body, before["etag"], by).status_code == 200


@each_write
def test_any_state_will_do_for_a_star_and_a_missing_header(
    rest: httpx.Client, method: str, path: str, body: Any
) -> None:
    headers = {"If-Match": "*"}
    if method == "PUT":
        assert rest.request(method, path, json=body).status_code == 200
    assert rest.request(method, path, json=body, headers=headers).status_code == 200
    if method == "DELETE":
        assert rest.request(method, path, headers=headers).status_code == 404


@each_write
def test_a_header_that_is_no_etag_is_refused_by_its_name(
    rest: httpx.Client, method: str, path: str, body: Any
) -> None:
    answer = rest.request(method, path, json=body, headers={"If-Match": "1-1"})
    assert answer.status_code == 400
    (violation,) = answer.json()["details"][1]["field_violations"]
    assert violation["field"] == "if-match"


def test_other_conflicts_stay_409(rest: httpx.Client) -> None:
    for mentor in ("a", "b"):
        answer = rest.post(
            A, json=NEW_ASSIGNMENT | {"peer_mentor_id": mentor}, headers={"Idempotency-Key": "k"}
        )
    assert answer.status_code == 409
