"""An issuer of tokens: it has keys, publishes them, and signs what it is asked to sign."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from peermentor_server.access.key_sets import KeySet
from peermentor_server.access.tokens import Claims, Tokens
from peermentor_server.rules.clock import Clock
from support.clock import CONTRACT_DAY

ISSUER = "https://login.example.org/"
AUDIENCE = "peermentor"
# The settings of a server that takes its tokens, but for where its keys are.
TRUSTED: dict[str, Any] = {"access": "required", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
NOW = int(CONTRACT_DAY.timestamp())
GOOD_CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "anna",
    "exp": NOW + 300,
    "organizations": ["org_03", "org-44"],
    "permission": "write",
}


class SigningKey:
    """A key pair, and what is published of it."""

    def __init__(self, key_id: str, algorithm: str) -> None:
        self.id, self.algorithm = key_id, algorithm
        self.private = _new_private_key(algorithm)
        reader: Any = get_default_algorithms()[algorithm]
        self.jwk: dict[str, Any] = reader.to_jwk(self.private.public_key(), as_dict=True)
        self.jwk |= {"kid": key_id, "use": "sig"}
        self.jwk.pop("key_ops", None)

    def token(
        self, *, header: Any = (), algorithm: str = "", without: str = "", **claims: Any
    ) -> str:
        """Sign good claims, some of which are others, and one of which may be missing."""
        said = {name: each for name, each in (GOOD_CLAIMS | claims).items() if name != without}
        names: dict[str, Any] = {"kid": self.id} | dict(header)
        if names["kid"] is None:
            del names["kid"]
        # As bytes, because jwt would not write all that is wrong.
        content, by = json.dumps(said).encode(), algorithm or self.algorithm
        return jwt.PyJWS().encode(content, self.private, by, names)

    @property
    def pem(self) -> bytes:
        """The public key, as a text that everybody may know."""
        public = self.private.public_key()
        return bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _new_private_key(algorithm: str) -> Any:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        curves = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1}
        return ec.generate_private_key(curves[algorithm]())
    return rsa.generate_private_key(65537, 2048)


def key_set(*keys: SigningKey) -> str:
    """Return what is published of these keys."""
    return json.dumps({"keys": [key.jwk for key in keys]})


def part(value: Any) -> str:
    """Return a part of a token: bytes, or what is written as JSON."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def by_hand(header: dict[str, Any], secret: bytes | None = None) -> str:
    """Return a token of good claims that no library would sign: by a secret, or by nothing."""
    signed = f"{part(header)}.{part(GOOD_CLAIMS)}"
    hash_of = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(header["alg"], hashlib.sha256)
    signature = hmac.new(secret, signed.encode(), hash_of).digest() if secret else b""
    return f"{signed}.{part(signature)}"


def tokens_of(file: Path, clock: Clock, *keys: SigningKey) -> Tokens:
    """Return what takes the tokens of these keys, which are published in a file."""
    file.write_text(key_set(*keys))
    known = KeySet(str(file), [key.algorithm for key in keys])
    asyncio.run(known.update())
    return Tokens(known, Claims(ISSUER, AUDIENCE, "organizations", "permission"), clock)


class KeyServer:
    """Publishes keys on loopback, and counts how often it is asked for them."""

    def __init__(self, *keys: SigningKey) -> None:
        self.content, self.status, self.fetches = key_set(*keys), 200, 0
        self.answers = threading.Event()
        self.answers.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def publish(self, *keys: SigningKey) -> None:
        """Publish these keys instead."""
        self.content = key_set(*keys)

    def _handler(outer) -> Any:  # noqa: N805 - the handler has a self too
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.fetches += 1
                outer.answers.wait()
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(outer.content.encode())

            def log_message(self, *_arguments: Any) -> None:
                pass

        return Handler

    def run(self) -> None:
        """Serve until closed."""
        self._server.serve_forever(poll_interval=0.02)

    def close(self) -> None:
        """Serve no more, and listen no longer."""
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def published(*keys: SigningKey) -> Iterator[KeyServer]:
    """Publish keys until the end of the block."""
    server = KeyServer(*keys)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
