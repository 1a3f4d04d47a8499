"""Credentials through the gateway: the headers and statuses of HTTP, and native gRPC beside them.

`tests/access/test_every_call.py` has every call with every credential.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from peermentor_server.access.attempts import MAX_ATTEMPTS
from peermentor_server.access.tokens import MAX_LENGTH
from peermentor_server.storage.engine.database import Database
from peermentor_server.timing import USUAL
from support.apps import running_app
from support.clock import SettableClock
from support.factories import NEW_ASSIGNMENT
from support.gateways import gateway_before, native_address
from support.issuers import NOW, TRUSTED, SigningKey, by_hand, key_set
from support.keys import bearer, new_key, unknown_key
from support.rpcs import GoodRequests

ISSUERS = SigningKey("one", "RS256")
PATH = "/api/v1/assignments"


@dataclass(frozen=True)
class Edge:
    """A gateway before a server that requires credentials, and one that it takes."""

    rest: httpx.Client
    native: GoodRequests
    key: str


@pytest.fixture
def edge(own: Database, clock: SettableClock, tmp_path: Path) -> Iterator[Edge]:
    """Both, of the test's own."""
    key = new_key(own, ["org_03"])
    file = tmp_path / "keys.json"
    file.write_text(key_set(ISSUERS))
    with (
        running_app(own, clock, jwt_keys=str(file), **TRUSTED) as app,
        gateway_before(app.port, tmp_path) as (settings, rest),
        grpc.insecure_channel(native_address(settings)) as channel,
    ):
        yield Edge(rest, GoodRequests(channel), key)


def test_whoever_has_a_key_or_a_token_is_let_in(edge: Edge) -> None:
    # The scheme in any case, as RFC 9110 has it.
    for number, credentials in enumerate((f"bearer {edge.key}", f"BEARER {ISSUERS.token()}"), 1):
        headers = {"Authorization": credentials}
        made = edge.rest.post(PATH, json=NEW_ASSIGNMENT, headers=headers)
        assert made.json()["assignment_id"] == f"asgn_{number:03}"
        assert "www-authenticate" not in made.headers
        listed = edge.native.call("ListAssignments", metadata=(("authorization", credentials),))
        assert listed.pagination.total == number


def test_a_token_may_be_long_and_no_cache_keeps_the_answer(edge: Edge) -> None:
    token = ISSUERS.token(groups="x" * 5600)
    assert 8000 < len(token) < MAX_LENGTH
    answer = edge.rest.get(PATH, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


def test_all_others_are_told_how_to_come_and_not_what_was_wrong(edge: Edge) -> None:
    invalid = {
        "no key": unknown_key(),
        "a token for others": ISSUERS.token(aud="other"),
        "a token that has ended": ISSUERS.token(exp=NOW - 3600),
        "a token that nobody signed": by_hand({"alg": "none", "kid": ISSUERS.id}),
    }
    told = []
    for name, credentials in invalid.items():
        for path in (PATH, f"{PATH}/asgn_001"):
            headers = {"Authorization": f"Bearer {credentials}", "X-Request-Id": "one"}
            answer = edge.rest.get(path, headers=headers)
            assert answer.status_code == 401, name
            assert answer.headers["www-authenticate"] == 'Bearer realm="peermentor"'
            told.append(answer.json())
        refusal = edge.native.refuse("ListAssignments", metadata=bearer(credentials))
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        assert refusal.reason == "CREDENTIALS_INVALID"
    assert told[0]["code"] == 16
    assert told[0]["details"][0]["reason"] == "CREDENTIALS_INVALID"
    assert told == told[:1] * len(told)


def test_a_refusal_says_in_its_header_too_when_to_come_back(
    own: Database, clock: SettableClock, tmp_path: Path
) -> None:
    with (
        running_app(own, clock, USUAL, access="required") as app,
        gateway_before(app.port, tmp_path) as (_, rest),
    ):
        refused = [rest.get(PATH) for _ in range(MAX_ATTEMPTS + 1)]
    assert [each.status_code for each in refused] == [401] * MAX_ATTEMPTS + [429]
    details = refused[-1].json()["details"]
    assert (details[0]["reason"], details[1]["retry_delay"]) == ("TOO_MANY_ATTEMPTS", "60s")
    assert refused[-1].headers["retry-after"] == "60"
