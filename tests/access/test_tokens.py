"""Who is let in by a token of an issuer, over a real server."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from peermentor_server.access.tokens import LEEWAY_S, MAX_LENGTH
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import assignments
from peermentor_server.storage.engine.database import Database
from support.apps import own_server
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import STORED_ASSIGNMENT
from support.issuers import (
    AUDIENCE,
    GOOD_CLAIMS,
    ISSUER,
    NOW,
    SigningKey,
    by_hand,
    key_set,
    part,
)
from support.keys import bearer, new_key, unknown_key
from support.rpcs import GoodRequests
from support.waiting import wait_until

RSA = SigningKey("rsa", "RS256")
EC = SigningKey("ec", "ES256")
EDWARDS = SigningKey("edwards", "EdDSA")
STRANGER = SigningKey("rsa", "RS256")
TRUSTED: dict[str, Any] = {"access": "required", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}


@dataclass(frozen=True)
class Caller:
    """Calls a server with tokens."""

    channel: grpc.Channel

    def outcome(self, token: str, rpc: str = "ListAssignments", **fields: Any) -> str:
        """Return OK, or the reason for which a call was refused."""
        rpcs = GoodRequests(self.channel)
        try:
            rpcs.call(rpc, metadata=bearer(token), **fields)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return "NOT_FOUND"
        else:
            return "OK"
        return rpcs.refuse(rpc, metadata=bearer(token), **fields).reason

    def found(self, token: str) -> int:
        """Return how many assignments there are for the owner of a token."""
        answer = GoodRequests(self.channel).call("ListAssignments", metadata=bearer(token))
        return int(answer.pagination.total)


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    """A file with the keys of the issuer."""
    file = tmp_path / "keys.json"
    file.write_text(key_set(RSA, EC, EDWARDS))
    return file


@pytest.fixture
def caller(own: Database, clock: SettableClock, keys_file: Path) -> Iterator[Caller]:
    """Calls a server of the test's own, in which there is an asgn_001 of org_03."""
    with own.write() as connection:
        assignments.add(connection, EVERYWHERE, STORED_ASSIGNMENT, "Bjørn Solberg", CONTRACT_DAY)
    with own_server(own, clock, jwt_keys=str(keys_file), **TRUSTED) as channel:
        yield Caller(channel)


def test_a_token_lets_its_owner_in(caller: Caller, own: Database) -> None:
    for key in (RSA, EC, EDWARDS):
        assert caller.found(key.token()) == 1, key.algorithm
        # And the second time, when its signature is known.
        assert caller.found(key.token(aud=["other", AUDIENCE])) == 1, key.algorithm
    # And keys are as good as before.
    own_key = new_key(own, ["org_03"])
    wait_until(lambda: caller.outcome(own_key) == "OK", 10)
    assert caller.outcome(unknown_key()) == "CREDENTIALS_INVALID"


def _refused() -> dict[str, str]:
    good = RSA.token()
    head, body, signature = good.split(".")
    changed = part(GOOD_CLAIMS | {"sub": "berit"})
    invalid = {
        "expired": RSA.token(exp=NOW - LEEWAY_S),
        "not yet valid": RSA.token(nbf=NOW + LEEWAY_S + 1),
        "another audience": RSA.token(aud="other"),
        "other audiences": RSA.token(aud=["other", "peermentor-staging"]),
        "no audience in a list": RSA.token(aud=[]),
        "another issuer": RSA.token(iss="https://login.example.com/"),
        "nearly that issuer": RSA.token(iss=ISSUER.removesuffix("/")),
        "unknown key": RSA.token(header={"kid": "rsa-2"}),
        "no key named": RSA.token(header={"kid": None}),
        "key of another type": RSA.token(header={"kid": "ec"}),
        "a stranger's key by that name": STRANGER.token(),
        "another algorithm of that key": by_hand({"alg": "PS256", "kid": "rsa"}),
        "an algorithm that is not allowed": SigningKey("rsa", "ES384").token(),
        "another subject": f"{head}.{changed}.{signature}",
        "another signature": f"{head}.{body}.{part(b'x' * 256)}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "four parts": f"{good}.{signature}",
        "something critical": RSA.token(header={"crit": ["b64"], "b64": True}),
        "too long": RSA.token(more="x" * MAX_LENGTH),
        "words": "let me in",
        "dots": "..",
    }
    invalid |= {f"no {name}": RSA.token(without=name) for name in ("exp", "iss", "aud", "sub")}
    for algorithm in ("none", "None", "NONE", "nOnE", ""):
        for key_id in ("rsa", "ec", ""):
            invalid[f"{algorithm} {key_id}"] = by_hand({"alg": algorithm, "kid": key_id})
    for algorithm in ("HS256", "HS384", "HS512"):
        for key in (RSA, EC):
            for name, secret in _known_to_everybody(key).items():
                header = {"alg": algorithm, "kid": key.id}
                invalid[f"{algorithm} {key.id} {name}"] = by_hand(header, secret)
    # A key that a token brings along is worth nothing.
    brought = {"alg": "RS256", "jwk": STRANGER.jwk, "jku": "https://example.com/keys", "kid": "rsa"}
    invalid["its own key"] = STRANGER.token(header=brought)
    return invalid


def _known_to_everybody(key: SigningKey) -> dict[str, bytes]:
    """Return what could be taken for a secret, and is none."""
    return {
        "pem": key.pem,
        "stripped": key.pem.strip(),
        "jwk": json.dumps(key.jwk).encode(),
        "nothing": b"\0",
    }


def test_no_other_token_is_let_in(caller: Caller) -> None:
    for name, token in _refused().items():
        assert caller.outcome(token) == "CREDENTIALS_INVALID", name
    assert caller.outcome(RSA.token()) == "OK"


def test_a_refusal_tells_nothing_and_is_no_fault(caller: Caller) -> None:
    refusal = GoodRequests(caller.channel).refuse(
        "ListAssignments", metadata=bearer(RSA.token(exp=NOW - 3600))
    )
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert refusal.message == "the credentials are not valid"


def test_claims_of_other_types_are_refused(caller: Caller) -> None:
    for claims in (
        {"exp": True},
        {"exp": "2100-01-01"},
        {"exp": str(NOW + 300)},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": 10**400},
        {"exp": None},
        {"nbf": float("nan")},
        {"nbf": "now"},
        {"nbf": -(10**400)},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
        {"sub": "\ud800"},
        {"sub": None},
        {"aud": None},
        {"aud": {"peermentor": 1}},
        {"aud": [1, "peermentor"]},
        {"iss": [ISSUER]},
    ):
        assert caller.outcome(EDWARDS.token(**claims)) == "CREDENTIALS_INVALID", claims


def test_clocks_may_be_apart_a_little(caller: Caller, clock: SettableClock) -> None:
    late, early = RSA.token(exp=NOW - LEEWAY_S + 2), RSA.token(nbf=NOW + LEEWAY_S)
    assert (caller.outcome(late), caller.outcome(early)) == ("OK", "OK")
    # A token that is known ends all the same.
    clock.advance(seconds=2)
    assert (caller.outcome(late), caller.outcome(early)) == ("CREDENTIALS_INVALID", "OK")
    clock.advance(days=1)
    assert caller.outcome(early) == "CREDENTIALS_INVALID"


# --- What a token permits ---


def test_organisations_are_walls(caller: Caller) -> None:
    claims: list[tuple[object, bool]] = [
        (["org_03"], True),
        ("org_03", True),
        ("org_04 org_03", True),
        ("*", True),
        ("org_04", False),
        ("org", False),
        (["ORG_03"], False),
        (["*"], False),
        ([["org_03"]], False),
        ({"org_03": True}, False),
        ([], False),
        ("", False),
        (None, False),
        (True, False),
    ]
    for claim, is_reached in claims:
        token = EC.token(organizations=claim)
        read = caller.outcome(token, "GetAssignment")
        created = caller.outcome(token, "CreateAssignment")
        expected = ("OK", "OK") if is_reached else ("NOT_FOUND", "ORGANIZATION_FORBIDDEN")
        assert (read, created) == expected, claim
        assert bool(caller.found(token)) is is_reached, claim


def test_a_token_without_organisations_reaches_none(caller: Caller) -> None:
    assert caller.found(EC.token(without="organizations")) == 0


def test_a_token_permits_what_it_says(caller: Caller) -> None:
    claims: list[tuple[object, bool, bool]] = [
        ("read", True, False),
        ("write", True, True),
        ("admin", True, True),
        ("openid peermentor:read", True, False),
        ("peermentor:read peermentor:write", True, True),
        (["peermentor:write"], True, True),
        ("openid write", False, False),
        ("peermentor:", False, False),
        ("READ", False, False),
        ("none", False, False),
        ("peermentor:none", False, False),
        ("", False, False),
        (["read"], False, False),
        (3, False, False),
        (None, False, False),
    ]
    told = {True: "OK", False: "PERMISSION_MISSING"}
    for claim, may_read, may_write in claims:
        token = EDWARDS.token(permission=claim)
        outcomes = (caller.outcome(token), caller.outcome(token, "UpdateLastContact"))
        assert outcomes == (told[may_read], told[may_write]), claim


def test_without_a_permission_not_even_reading_is_permitted(caller: Caller) -> None:
    assert caller.outcome(EC.token(without="permission")) == "PERMISSION_MISSING"
