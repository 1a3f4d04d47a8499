"""HEAD: the status and the headers of GET, and no body (RFC 9110, 9.3.2)."""

import socket

import httpx
import pytest

from support.factories import NEW_ASSIGNMENT, NEW_TEMPLATE

A = "/api/v1/assignments"
T = "/api/v1/recurring-templates"
OF_THE_MOMENT = {"date", "x-request-id"}


@pytest.fixture
def rest(rest: httpx.Client) -> httpx.Client:
    """The gateway, with something to tell the length of."""
    rest.post(A, json=NEW_ASSIGNMENT)
    rest.post(T, json=NEW_TEMPLATE)
    return rest


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (A, 200),
        (f"{A}?limit=1", 200),
        (A + A, 200),
        (f"{A}/asgn_001", 200),
        (f"{A}/overdue", 200),
        (T, 200),
        (f"{T}/rt-001", 200),
        (f"{T}/by-coordinator/user_007", 200),
        (f"{T}/by-organization/org_03", 200),
        (f"{T}/rt-001/calendar.ics", 200),
        # Not the occurrences of a template: what is spelt out comes before what is a parameter.
        (f"{T}/by-coordinator/occurrences", 200),
        (f"{T}/by-organization/occurrences", 200),
        (f"{T}/by-coordinator/calendar.ics", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        (f"{A}?limit=0", 400),
        (f"{A}/asgn_999", 404),
        ("/nothing", 404),
    ],
)
def test_head_answers_as_get_does_without_the_body(
    path: str, status: int, rest: httpx.Client
) -> None:
    get, head = rest.get(path), rest.head(path)
    assert get.status_code == head.status_code == status
    assert len(get.content) > 0
    assert without(head.headers) == without(get.headers)
    assert head.headers["content-length"] == str(len(get.content))
    assert head.content == b""


def test_what_is_refused_before_it_is_asked_of_a_worker_has_no_length(rest: httpx.Client) -> None:
    """The gateway words it when the body has been left out already (RFC 9110, 8.6, allows it)."""
    answer = rest.head(f"{A}?limit=abc")
    assert answer.status_code == 400
    assert "content-length" not in answer.headers


def without(headers: httpx.Headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in OF_THE_MOMENT}


def test_nothing_follows_on_the_connection(rest: httpx.Client) -> None:
    """A body would be taken for the next answer."""
    request = f"HEAD {A} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    last = f"HEAD {A} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    address = (rest.base_url.host, rest.base_url.port or 80)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request * 3 + last)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    answers = received.split(b"\r\n\r\n")
    assert answers.pop() == b""
    assert [answer.split(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 4


def test_head_changes_nothing_and_takes_no_body(rest: httpx.Client) -> None:
    answer = rest.request("HEAD", A, json={})
    assert answer.status_code == 400
    assert answer.content == b""
