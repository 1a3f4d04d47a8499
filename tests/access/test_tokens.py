"""Who is let in by a token of an issuer, over a real server."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jwt import PyJWS
from structlog.testing import capture_logs

from peermentor_server.access.tokens import LEEWAY_S, MAX_LENGTH, Tokens
from peermentor_server.rules.principals import EVERYWHERE
from peermentor_server.storage import assignments
from peermentor_server.storage.engine.database import Database
from peermentor_server.telemetry import logs
from peermentor_server.timing import USUAL
from support.apps import own_server
from support.clock import CONTRACT_DAY, SettableClock
from support.factories import STORED_ASSIGNMENT, explained
from support.issuers import (
    AUDIENCE,
    GOOD_CLAIMS,
    ISSUER,
    NOW,
    TRUSTED,
    SigningKey,
    by_hand,
    key_set,
    part,
    published,
    tokens_of,
)
from support.keys import bearer, new_key, unknown_key
from support.moves import Moves
from support.rpcs import GoodRequests
from support.waiting import wait_until

RSA = SigningKey("rsa", "RS256")
EC = SigningKey("ec", "ES256")
EDWARDS = SigningKey("edwards", "EdDSA")
STRANGER = SigningKey("rsa", "RS256")


@dataclass(frozen=True)
class Caller:
    """Calls a server with tokens."""

    channel: grpc.Channel

    def outcome(self, token: str, rpc: str = "ListAssignments", **fields: Any) -> str:
        """Return OK, or the reason for which a call was refused."""
        try:
            GoodRequests(self.channel).call(rpc, metadata=bearer(token), **fields)
        except grpc.RpcError as error:
            return explained(error).reason
        return "OK"

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
        assert caller.found(key.token()) == 1, key.algorithm
        long = key.token(aud=["other", AUDIENCE], more="x" * 5000)
        assert MAX_LENGTH * 0.8 < len(long) < MAX_LENGTH
        assert caller.found(long) == 1, key.algorithm
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
        "another hash than its key allows": RSA.token(algorithm="RS512"),
        "another padding than its key allows": RSA.token(algorithm="PS256"),
        "something critical": RSA.token(header={"crit": ["more"], "more": True}),
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
        {"nbf": True},
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
        expected = (
            ("OK", "OK") if is_reached else ("ASSIGNMENT_NOT_FOUND", "ORGANIZATION_FORBIDDEN")
        )
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


# --- Keys that change ---


def let_in(caller: Caller, token: str) -> None:
    """Wait until the owner of a token is let in."""
    wait_until(lambda: caller.outcome(token) == "OK", 10)


def test_new_keys_are_read_when_a_token_names_one(caller: Caller, keys_file: Path) -> None:
    new, old = SigningKey("new", "RS256"), RSA.token()
    assert caller.outcome(old) == "OK"
    keys_file.write_text(key_set(new))
    # It is asked for the key, and does not wait for it.
    assert caller.outcome(new.token()) == "CREDENTIALS_INVALID"
    let_in(caller, new.token())
    # Even a token that was valid a moment ago ends with its key.
    assert caller.outcome(old) == "CREDENTIALS_INVALID"


def test_a_key_of_the_same_name_takes_the_place_of_another(caller: Caller, keys_file: Path) -> None:
    old = RSA.token()
    assert caller.outcome(old) == "OK"
    keys_file.write_text(key_set(STRANGER))
    assert caller.outcome(EC.token(header={"kid": "unknown"})) == "CREDENTIALS_INVALID"
    let_in(caller, STRANGER.token())
    assert caller.outcome(old) == "CREDENTIALS_INVALID"


def test_a_file_that_is_of_no_use_changes_nothing(caller: Caller, keys_file: Path) -> None:
    good = RSA.token()
    keys_file.write_text(key_set())
    assert caller.outcome(RSA.token(header={"kid": "new"})) == "CREDENTIALS_INVALID"
    keys_file.unlink()
    for _ in range(20):
        assert caller.outcome(good) == "OK"


def test_unknown_keys_are_looked_for_once_a_minute(own: Database, clock: SettableClock) -> None:
    with (
        published(RSA) as server,
        own_server(own, clock, jwt_keys=server.url, **TRUSTED) as channel,
    ):
        caller = Caller(channel)
        assert server.fetches == 1
        assert caller.outcome(RSA.token()) == "OK"
        for number in range(50):
            token = RSA.token(header={"kid": f"unknown-{number}"})
            assert caller.outcome(token) == "CREDENTIALS_INVALID"
        wait_until(lambda: server.fetches == 2, 10)
        for number in range(50):
            token = EC.token(header={"kid": f"other-{number}"})
            assert caller.outcome(token) == "CREDENTIALS_INVALID"
        assert server.fetches == 2


def test_keys_are_read_again_by_themselves(own: Database, clock: SettableClock) -> None:
    often = replace(USUAL, key_set_every_s=0.05)
    with (
        published(RSA) as server,
        own_server(own, clock, often, jwt_keys=server.url, **TRUSTED) as channel,
    ):
        caller = Caller(channel)
        moves = Moves()
        assert caller.outcome(RSA.token()) == "OK"
        assert moves.of("peermentor_credentials_total", kind="jwt") == 1
        server.publish(EC)
        # Two of them, for one may have been under way.
        before = server.fetches
        wait_until(lambda: server.fetches > before + 2, 10)
        assert moves.of("peermentor_key_set_read_timestamp_seconds") > 0
        assert caller.outcome(EC.token()) == "OK"
        assert caller.outcome(RSA.token()) == "CREDENTIALS_INVALID"


def test_known_keys_are_good_while_their_server_is_not(own: Database, clock: SettableClock) -> None:
    often = replace(USUAL, key_set_every_s=0.05)
    with (
        published(RSA) as server,
        own_server(own, clock, often, jwt_keys=server.url, **TRUSTED) as channel,
    ):
        caller = Caller(channel)
        for status, content in ((500, "{}"), (200, ""), (200, "no keys"), (200, '{"keys": []}')):
            server.status, server.content = status, content
            before = server.fetches
            wait_until(lambda before=before: server.fetches > before + 2, 10)  # type: ignore[misc]
            assert caller.outcome(RSA.token(jti=f"{status} {content}")) == "OK"
        server.close()
        with capture_logs() as lines:
            wait_until(lambda: any("not read" in line["event"] for line in lines), 10)
        assert caller.outcome(RSA.token(jti="away")) == "OK"


def test_no_call_waits_for_keys(own: Database, clock: SettableClock) -> None:
    with (
        published(RSA) as server,
        own_server(own, clock, jwt_keys=server.url, **TRUSTED) as channel,
    ):
        caller = Caller(channel)
        server.answers.clear()
        assert caller.outcome(EC.token()) == "CREDENTIALS_INVALID"
        wait_until(lambda: server.fetches == 2, 10)
        for number in range(20):
            assert caller.outcome(RSA.token(jti=str(number))) == "OK"
            assert caller.outcome(EC.token(jti=str(number))) == "CREDENTIALS_INVALID"
        # What is read of the database goes on meanwhile.
        let_in(caller, new_key(own, ["org_03"]))
        server.publish(EC)
        server.answers.set()
        let_in(caller, EC.token())


def test_who_starts_without_keys_learns_them_later(own: Database, clock: SettableClock) -> None:
    with published(RSA) as server:
        server.status = 503
        with own_server(own, clock, jwt_keys=server.url, **TRUSTED) as channel:
            caller = Caller(channel)
            key = new_key(own, ["org_03"])
            let_in(caller, key)
            server.status = 200
            # One that it asks for.
            let_in(caller, RSA.token())


# --- What is not told ---


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """What is logged."""
    written = StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    before = structlog.get_config()
    logs.configure("debug", "json")
    yield written
    structlog.configure(**before)


def test_the_log_names_the_owner_and_nothing_else_of_a_token(log: StringIO, caller: Caller) -> None:
    tokens = [
        EC.token(sub='a"b\\c\n\u001b[31m key:0000 å', more="s3cret"),
        EC.token(sub="key:0011223344556677", more="s3cret"),
        EC.token(sub="berit", more="s3cret", exp=NOW - 3600),
        EC.token(sub="carl", more="s3cret", permission="s3cret"),
    ]
    for token in tokens:
        caller.outcome(token, "UpdateLastContact")
    caller.outcome(tokens[0][:-8], "UpdateLastContact")
    written = [json.loads(line) for line in log.getvalue().splitlines()]
    assert {line["subject"] for line in written if "subject" in line} == {
        "jwt:a%22b%5Cc%0A%1B%5B31m%20key:0000%20%C3%A5",
        "jwt:key:0011223344556677",
        "jwt:carl",
    }
    for secret in ("s3cret", "berit", "eyJ", *(each.split(".")[2] for each in tokens)):
        assert secret not in log.getvalue()


def test_request_ids_and_page_tokens_are_those_of_the_owner(caller: Caller) -> None:
    rpcs = GoodRequests(caller.channel)
    anna, berit = bearer(EC.token()), bearer(EC.token(sub="berit"))
    # Another token of the same person.
    again = bearer(RSA.token(exp=NOW + 900))
    made = [
        rpcs.call("CreateAssignment", metadata=each, request_id="one").assignment_id
        for each in (anna, berit, again)
    ]
    assert made[0] == made[2] != made[1]
    page = rpcs.call("ListAssignments", metadata=anna, limit=1)
    asked = {"limit": 1, "page_token": page.next_page_token}
    assert len(rpcs.call("ListAssignments", metadata=again, **asked).data) == 1
    elsewhere = bearer(EC.token(organizations=["org_04"]))
    for other in (berit, elsewhere):
        refusal = rpcs.refuse("ListAssignments", metadata=other, **asked)
        assert refusal.violations.keys() == {"page_token"}


# --- Whatever is sent ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=5,
)
HEADERS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), JSON) | st.builds(
    lambda more: {"alg": "EdDSA", "kid": "edwards"} | more,
    st.dictionaries(st.sampled_from(["typ", "crit", "b64", "jwk"]), JSON),
)
SENT = (
    st.text()
    | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True)
    | st.builds(
        lambda header, payload, signature: f"{part(header)}.{part(payload)}.{part(signature)}",
        HEADERS | JSON | st.binary(max_size=50),
        JSON | st.binary(max_size=50),
        st.binary(max_size=80),
    )
    | st.builds(
        lambda claims: EDWARDS.token(**claims),
        st.dictionaries(st.sampled_from([*GOOD_CLAIMS, "nbf", "iat", "jti"]), JSON),
    )
)
DEEP = b"[" * 5000


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """What knows the keys, without a server around it."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    return tokens_of(file, lambda: CONTRACT_DAY, RSA, EC, EDWARDS)


@given(SENT)
@settings(deadline=None)
@example("")
@example("\ud800")
@example(f"{part(DEEP)}.e30.e30")
@example(PyJWS().encode(b'{"sub": ' + DEEP, EDWARDS.private, "EdDSA", {"kid": "edwards"}))
@example(PyJWS().encode(b"\xff", EDWARDS.private, "EdDSA", {"kid": "edwards"}))
@example(PyJWS().encode(b'{"exp": ' + b"9" * 5000, EDWARDS.private, "EdDSA", {"kid": "edwards"}))
def test_nothing_that_is_sent_is_a_fault(tokens: Tokens, text: str) -> None:
    principal = tokens.identify(text)
    if principal is not None:
        assert re.fullmatch(r"jwt:[!-~]+", principal.subject)
        # The second time, nothing is checked but the time.
        assert tokens.identify(text) is principal


def test_only_so_many_tokens_are_remembered(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peermentor_server.access.tokens.MAX_REMEMBERED", 3)
    sent = [EDWARDS.token(jti=str(number)) for number in range(5)]
    first = [tokens.identify(each) for each in sent]
    again = [tokens.identify(each) for each in reversed(sent)][::-1]
    assert None not in first
    assert first == again
    assert [one is other for one, other in zip(first, again, strict=True)] == [False] * 2 + [
        True
    ] * 3


def test_what_is_valid_no_longer_is_not_remembered(tmp_path: Path) -> None:
    clock = SettableClock()
    own = tokens_of(tmp_path / "keys.json", clock, EDWARDS)
    sent = EDWARDS.token()
    assert own.identify(sent)
    clock.advance(days=1)
    assert own.identify(sent) is None
    assert not own._verified
