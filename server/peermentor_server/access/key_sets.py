"""The public keys of an issuer of tokens: read in the background, so that no call waits for them.

What is read is a JSON Web Key Set (RFC 7517), from a file or from an address. While that fails,
the keys that were read last stay in use.
"""

import asyncio
import json
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWTError
from jwt.algorithms import AllowedPublicKeys, ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from peermentor_server.access import downloads
from peermentor_server.telemetry import metrics
from peermentor_server.timing import USUAL, Timing

MAX_BYTES = 256 * 1024
MAX_KEYS = 100
_MIN_RSA_BITS = 2048
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_EDWARDS = frozenset({"EdDSA"})
# By type and curve: how to read a key, and the algorithms that it can be used with. A token
# that names another one is refused before the key is touched.
_FORMS: Mapping[tuple[str, str], tuple[Any, frozenset[str]]] = {
    ("RSA", ""): (RSAAlgorithm, _RSA),
    ("EC", "P-256"): (ECAlgorithm, frozenset({"ES256"})),
    ("EC", "P-384"): (ECAlgorithm, frozenset({"ES384"})),
    ("EC", "P-521"): (ECAlgorithm, frozenset({"ES512"})),
    ("OKP", "Ed25519"): (OKPAlgorithm, _EDWARDS),
    ("OKP", "Ed448"): (OKPAlgorithm, _EDWARDS),
}
# Those of a public key: what is secret is not even looked at.
_MEMBERS = ("kty", "crv", "n", "e", "x", "y")
_log = structlog.get_logger("peermentor_server")


class UnusableKeys(Exception):
    """What was read is no set of keys, or holds none that can be used."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, and the algorithms by which a token may be signed with it."""

    public: AllowedPublicKeys
    algorithms: frozenset[str]


KeysById = Mapping[str, VerifyingKey]


class KeySet:
    """The keys of an issuer as they were read last."""

    def __init__(self, source: str, algorithms: Collection[str], timing: Timing = USUAL) -> None:
        """Read from a file or a URL, for signatures by these algorithms."""
        self._source, self._algorithms, self._timing = source, frozenset(algorithms), timing
        self._asked = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="key-set")
        self.keys: KeysById = {}
        """By their ids. It is another mapping once others were read; a key without an id has an
        empty one."""

    def ask(self) -> None:
        """Let the keys be read soon, because somebody names one that is unknown."""
        self._asked.set()

    async def update(self) -> None:
        """Read the keys now. While that fails, those that are known stay."""
        if problem := await self.problem():
            _log.warning("keys of tokens not read", reason=problem)

    async def problem(self) -> str:
        """Read the keys now; return why that failed, if it did."""
        try:
            async with asyncio.timeout(self._timing.key_set_s):
                found = await self._read()
        except TimeoutError:
            return f"it took longer than {self._timing.key_set_s:g} seconds"
        except Exception as error:
            # Whatever it is, it must not end the watch.
            return str(error) or type(error).__name__
        metrics.current.key_set_read.set_to_current_time()
        # As long as nothing changes, what was verified by them need not be verified again.
        if found != self.keys:
            self.keys = found
            _log.info("keys of tokens read", count=len(found))
        return ""

    async def watch(self) -> None:
        """Read them again and again, until cancelled; soon when asked, but not all the time."""
        while True:
            try:
                await asyncio.wait_for(self._asked.wait(), self._timing.key_set_every_s)
            except TimeoutError:
                await self.update()
                continue
            await self.update()
            await asyncio.sleep(self._timing.key_set_pause_s)
            self._asked.clear()

    def close(self) -> None:
        """Keep up no longer. A thread that hangs is left to itself."""
        self._pool.shutdown(wait=False)

    async def _read(self) -> KeysById:
        loop = asyncio.get_running_loop()
        if "://" in self._source:
            content = await downloads.get(self._source, MAX_BYTES)
            return await loop.run_in_executor(self._pool, self._parse, content)
        return await loop.run_in_executor(self._pool, self._read_file)

    def _read_file(self) -> KeysById:
        with Path(self._source).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UnusableKeys(f"there are more than {MAX_BYTES} bytes")
        return self._parse(content)

    def _parse(self, content: bytes) -> KeysById:
        return parse(content, self._algorithms)


def parse(content: bytes, algorithms: Collection[str]) -> KeysById:
    """Return the keys of a set that can be used with some of these algorithms, by their ids.

    Others are left out, as RFC 7517 wants it; without any, it raises UnusableKeys.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise UnusableKeys("this is not JSON") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise UnusableKeys(f"this is not a set of up to {MAX_KEYS} keys")
    found = dict(_usable(listed, frozenset(algorithms)))
    if not found:
        raise UnusableKeys("there is no key that could be used")
    return found


def _usable(listed: list[Any], algorithms: frozenset[str]) -> Iterator[tuple[str, VerifyingKey]]:
    for jwk in listed:
        if isinstance(jwk, dict) and (key := _verifying_key(jwk, algorithms)):
            yield str(jwk.get("kid", "")), key


def _verifying_key(jwk: dict[str, Any], algorithms: frozenset[str]) -> VerifyingKey | None:
    form = (str(jwk.get("kty")), str(jwk.get("crv", "")))
    if form not in _FORMS or not _is_for_signatures(jwk):
        return None
    reader, possible = _FORMS[form]
    usable = frozenset(each for each in possible & algorithms if jwk.get("alg", each) == each)
    try:
        public = reader.from_jwk({name: jwk[name] for name in _MEMBERS if name in jwk})
    except (PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    if not usable or (isinstance(public, RSAPublicKey) and public.key_size < _MIN_RSA_BITS):
        return None
    return VerifyingKey(public, usable)


def _is_for_signatures(jwk: dict[str, Any]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    )
