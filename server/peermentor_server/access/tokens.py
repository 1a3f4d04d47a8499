"""Tokens of an issuer: JSON Web Tokens (RFC 7519), signed with one of its keys.

A token says who calls (`sub`), until when (`exp`), which organisations they may reach, and what
they may do there. Nothing of that is believed before signature, issuer and audience are right.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import jwt

from peermentor_server.access.key_sets import KeysById, KeySet, VerifyingKey
from peermentor_server.rules.clock import Clock
from peermentor_server.rules.principals import EVERYWHERE, NAMES, Permission, Principal, Wall

MAX_LENGTH = 8 * 1024
LEEWAY_S = 30
"""How far the clocks of issuer and server may be apart."""
MAX_REMEMBERED = 4096
_MAX_SUBJECT_LENGTH = 255
# The end of the year 9999.
_LAST = 253_402_300_799
_ALL = "*"
_SCOPE = "peermentor:"
# Times are compared here, by the server's own clock.
_CHECKS: Any = {
    "require": ["exp", "iss", "aud", "sub"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token must say, and the names under which it says what its owner may do."""

    issuer: str
    audience: str
    organizations: str
    permission: str


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    until: float


class _Unfit(ValueError):
    """A token that is signed well, and says what no token may say."""


class Tokens:
    """Tells who calls by a token. A signature is checked once."""

    def __init__(self, key_set: KeySet, claims: Claims, clock: Clock) -> None:
        self._key_set, self._claims, self._clock = key_set, claims, clock
        # By hashes of tokens, the least lately used first, all verified by these keys.
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._keys: KeysById = key_set.keys

    async def update(self) -> None:
        """Read the keys once."""
        await self._key_set.update()

    async def watch(self) -> None:
        """Keep up with the keys, until cancelled."""
        await self._key_set.watch()

    def close(self) -> None:
        """Keep up no longer."""
        self._key_set.close()

    def identify(self, text: str) -> Principal | None:
        """Return who calls by this token; None if it is not valid, now or at all.

        It waits for nothing, and never raises.
        """
        if len(text) > MAX_LENGTH or not text.isascii():
            return None
        if self._keys is not self._key_set.keys:
            # A key that is withdrawn takes its tokens along.
            self._keys = self._key_set.keys
            self._verified.clear()
        digest = hashlib.sha256(text.encode()).digest()
        found = self._verified.get(digest) or self._verify(text)
        if found is None or found.until <= self._now():
            self._verified.pop(digest, None)
            return None
        self._remember(digest, found)
        return found.principal

    def _remember(self, digest: bytes, found: _Verified) -> None:
        self._verified[digest] = found
        self._verified.move_to_end(digest)
        while len(self._verified) > MAX_REMEMBERED:
            self._verified.popitem(last=False)

    def _verify(self, text: str) -> _Verified | None:
        try:
            algorithm, key = self._chosen(jwt.get_unverified_header(text))
            claims = jwt.decode(
                text,
                key.public,
                algorithms=[algorithm],
                audience=self._claims.audience,
                issuer=self._claims.issuer,
                options=_CHECKS,
            )
            if _moment(claims, "nbf", 0) > self._now() + LEEWAY_S:
                return None
            return _Verified(self._principal(claims), _moment(claims, "exp") + LEEWAY_S)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, RecursionError):
            # Of what was sent, nothing is told to anybody.
            return None

    def _chosen(self, header: Mapping[str, Any]) -> tuple[str, VerifyingKey]:
        """Return how a token says that it is signed, if its key allows that."""
        algorithm, key = header["alg"], self._keys.get(header.get("kid", ""))
        if key is None:
            self._key_set.ask()
            raise _Unfit
        if algorithm not in key.algorithms:
            raise _Unfit
        return algorithm, key

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        return Principal(
            _subject(claims["sub"]),
            _permission(claims.get(self._claims.permission)),
            _wall(claims.get(self._claims.organizations)),
        )

    def _now(self) -> float:
        return self._clock().timestamp()


def _moment(claims: Mapping[str, Any], name: str, otherwise: float | None = None) -> float:
    """Return a claim that is a moment, in seconds since 1970."""
    value = claims.get(name, otherwise)
    # No number that is infinite or too large for a float, and none that is not a number.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST:
        raise _Unfit
    return float(value)


def _subject(claim: object) -> str:
    """Return by which name the owner is known: no key's, and fit for a line of a log."""
    if not isinstance(claim, str) or not 0 < len(claim) <= _MAX_SUBJECT_LENGTH:
        raise _Unfit
    return "jwt:" + quote(claim, safe="@:|/+=,~")


def _permission(claim: object) -> Permission:
    """Return the most that is permitted: a name alone, or scopes such as peermentor:read."""
    if isinstance(claim, str) and claim in NAMES:
        return NAMES[claim]
    scopes = (word.removeprefix(_SCOPE) for word in _words(claim) if word.startswith(_SCOPE))
    return max((NAMES.get(scope, Permission.NONE) for scope in scopes), default=Permission.NONE)


def _wall(claim: object) -> Wall:
    return EVERYWHERE if claim == _ALL else Wall(frozenset(_words(claim)))


def _words(claim: object) -> Iterator[str]:
    """Return the words of a text, or those of a list; nothing else has any."""
    listed = claim.split() if isinstance(claim, str) else claim
    for word in listed if isinstance(listed, list) else ():
        if isinstance(word, str):
            yield word
