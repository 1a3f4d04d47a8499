"""Keys of an issuer: which are used, and in which bounds they are read."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm
from structlog.testing import capture_logs

from peermentor_server.access import downloads
from peermentor_server.access.downloads import NoAnswer
from peermentor_server.access.key_sets import (
    MAX_BYTES,
    MAX_KEYS,
    KeySet,
    UnusableKeys,
    parse,
)
from peermentor_server.timing import USUAL
from support.issuers import SigningKey, key_set

USUALLY_ALLOWED = ("RS256", "ES256", "EdDSA")
EC = SigningKey("ec", "ES256")
EDWARDS = SigningKey("edwards", "EdDSA")
RSA = SigningKey("rsa", "RS256")
OTHER = SigningKey("other", "EdDSA")
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def usable(*jwks: object, allowed: tuple[str, ...] = USUALLY_ALLOWED) -> dict[str, list[str]]:
    """Return the algorithms of the keys that are used; one is always there."""
    content = json.dumps({"keys": [EC.jwk, *jwks]}).encode()
    found = {each: sorted(key.algorithms) for each, key in parse(content, allowed).items()}
    assert found.pop("ec") == ["ES256"]
    return found


def test_a_key_is_for_the_algorithms_of_its_type() -> None:
    assert usable(EDWARDS.jwk, RSA.jwk) == {"edwards": ["EdDSA"], "rsa": ["RS256"]}
    allowed = ("ES256", "RS256", "PS512")
    assert usable(EDWARDS.jwk, RSA.jwk, allowed=allowed) == {"rsa": ["PS512", "RS256"]}
    assert usable(RSA.jwk | {"alg": "PS512"}, allowed=allowed) == {"rsa": ["PS512"]}
    assert usable(SigningKey("more", "ES384").jwk) == {}
    named = {name: each for name, each in RSA.jwk.items() if name != "kid"}
    assert usable(named) == {"": ["RS256"]}


def test_what_is_of_no_use_is_left_out() -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505 - refused
    useless: tuple[object, ...] = (
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"},
        RSA.jwk | {"use": "enc"},
        RSA.jwk | {"key_ops": ["encrypt"]},
        RSA.jwk | {"key_ops": None},
        RSA.jwk | {"alg": "RS512"},
        RSA.jwk | {"alg": "RSA-OAEP"},
        RSA.jwk | {"alg": ["RS256"]},
        RSA.jwk | {"kty": ["RSA"]},
        RSA.jwk | {"n": 5},
        RSA.jwk | {"n": "AQ"},
        RSA.jwk | {"e": ""},
        EDWARDS.jwk | {"x": "AAAA"},
        EDWARDS.jwk | {"crv": "X25519"},
        SigningKey("p", "ES256").jwk | {"x": EC.jwk["y"]},
        RSAAlgorithm.to_jwk(weak, as_dict=True),
        {},
        [],
        None,
        "rsa",
    )
    for jwk in useless:
        assert usable(jwk) == {}, jwk


def test_what_is_secret_is_not_read() -> None:
    secret: Any = RSAAlgorithm.to_jwk(RSA.private, as_dict=True)
    content = json.dumps({"keys": [secret | {"kid": "rsa", "key_ops": ["sign", "verify"]}]})
    [key] = parse(content.encode(), ["RS256"]).values()
    assert isinstance(key.public, rsa.RSAPublicKey)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        b"[" * 5000,
        json.dumps({"keys": [EC.jwk] * (MAX_KEYS + 1)}).encode(),
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_no_set_of_keys_is_refused(content: bytes) -> None:
    with pytest.raises(UnusableKeys):
        parse(content, USUALLY_ALLOWED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=5,
)


# A busy machine is no failure.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([EC.jwk, EDWARDS.jwk, RSA.jwk]),
    st.dictionaries(st.sampled_from(["kty", "crv", "n", "e", "x", "y", "alg", "use", "kid"]), JSON),
)
def test_one_bad_key_spoils_no_other(jwk: dict[str, Any], changes: dict[str, Any]) -> None:
    content = json.dumps({"keys": [jwk | changes, OTHER.jwk]}).encode()
    assert "other" in parse(content, USUALLY_ALLOWED)


# --- Reading them ---


@asynccontextmanager
async def answering(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Answer whoever connects in this way; give the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    finally:
        server.close()


def sending(*parts: bytes) -> Answer:
    """Send these bytes."""

    async def send(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return send


def got(answer: Answer) -> bytes:
    """Return what is got from whom answers so."""

    async def get() -> bytes:
        async with answering(answer) as url:
            return await downloads.get(url, 1000)

    return asyncio.run(get())


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        (OK, b"\r\n", b"keys"),
        (OK, b"Content-Length: 4\r\n\r\nkeys"),
        (OK, b"Content-Length: 4\r\n\r\nkeys and more"),
        (OK, b"Transfer-Encoding: chunked\r\n\r\n2\r\nke\r\n2\r\nys\r\n0\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", OK, b"\r\n", b"keys"),
        (b"HTTP/1.0 200 OK\r\n\r\nkeys",),
    ],
)
def test_a_document_comes_in_any_form_of_http(parts: tuple[bytes, ...]) -> None:
    assert got(sending(*parts)) == b"keys"


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ((), "not HTTP"),
        ((b"SSH-2.0\r\n\r\n",), "not HTTP"),
        ((OK, b"Content-Length: 5\r\n\r\nkeys"), "not HTTP"),
        ((OK, b"Transfer-Encoding: chunked\r\n\r\nx\r\nke"), "not HTTP"),
        ((b"HTTP/1.1 404 Not Found\r\n\r\nkeys",), "answers 404"),
        ((b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/keys\r\n\r\n",), "answers 302"),
        ((OK, b"\r\n", b"k" * 1001), "too long"),
        ((OK, b"\r\n", *[b"k" * 100_000] * 10), "too long"),
        ((OK, b"X: ", *[b"k" * 100_000] * 10), "too long"),
    ],
)
def test_what_is_no_document_is_named(parts: tuple[bytes, ...], problem: str) -> None:
    with pytest.raises(NoAnswer, match=problem):
        got(sending(*parts))


def test_a_server_needs_a_certificate_that_the_system_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    trusted = tmp_path / "trusted.pem"
    authority.cert_pem.write_to_path(trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    downloads._tls.cache_clear()

    async def get(certificate: trustme.LeafCert) -> bytes:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(tls)
        async with answering(sending(OK, b"\r\nkeys"), tls) as url:
            return await downloads.get(url, 1000)

    assert asyncio.run(get(authority.issue_cert("127.0.0.1"))) == b"keys"
    for certificate in (stranger.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.2")):
        with pytest.raises(ssl.SSLCertVerificationError):
            asyncio.run(get(certificate))
    downloads._tls.cache_clear()


def test_a_server_that_comes_to_no_end_is_left() -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        while True:
            writer.write(b"X: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def read() -> KeySet:
        async with answering(drip) as url:
            known = KeySet(url, USUALLY_ALLOWED, replace(USUAL, key_set_s=0.2))
            await known.update()
            return known

    with capture_logs() as lines:
        assert asyncio.run(read()).keys == {}
    assert [line["reason"] for line in lines] == ["it took longer than 0.2 seconds"]


def test_a_file_has_its_bounds_too(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    known = KeySet(str(file), USUALLY_ALLOWED)
    file.write_text(key_set(EC))
    asyncio.run(known.update())
    before = known.keys
    assert before.keys() == {"ec"}
    with capture_logs() as lines:
        # The same keys in another form are the same keys.
        file.write_text(json.dumps({"more": 1} | json.loads(key_set(EC)), indent=2))
        asyncio.run(known.update())
        assert known.keys is before
        file.write_text(key_set(EC) + " " * MAX_BYTES)
        asyncio.run(known.update())
        file.unlink()
        asyncio.run(known.update())
    assert known.keys is before
    assert [line["event"] for line in lines] == ["keys of tokens not read"] * 2
