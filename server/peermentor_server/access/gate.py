"""The gate in front of every RPC: finds out who calls, and whether they may.

Open          whoever reaches the service may do everything
Required      a key is needed, of which a copy of the table is looked at, never the database; or
              a token of the issuer that is trusted; or a client certificate that is known
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import structlog
from google.protobuf.message import Message

from peermentor_server.access import keys
from peermentor_server.access.permissions import Requirement
from peermentor_server.access.subjects import CERTIFICATE, Subjects
from peermentor_server.rules.clock import Clock
from peermentor_server.rules.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    DatabaseUnavailable,
    DomainError,
    MalformedRequest,
    PermissionMissing,
    diagnosis,
)
from peermentor_server.rules.principals import ANYONE, NAMES, Principal, Wall
from peermentor_server.storage import access_keys
from peermentor_server.storage.access_keys import AccessKey
from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.database import Database
from peermentor_server.timing import USUAL, Timing

if TYPE_CHECKING:
    from peermentor_server.access.tokens import Tokens

AUTHORIZATION = "authorization"
_SCHEME = "bearer "
_log = structlog.get_logger("peermentor_server")

Metadata = Iterable[tuple[str, str | bytes]]


class Gate(Protocol):
    """What lets calls in."""

    def identify(self, metadata: Metadata) -> Principal:
        """Return who calls; CredentialsMissing or CredentialsInvalid for nobody."""

    async def update(self) -> None:
        """Learn once who may call."""

    async def watch(self) -> None:
        """Keep up with what changes, until cancelled."""

    def close(self, patience_s: float) -> None:
        """Keep up no longer; wait a little for what runs. A thread that hangs is left to itself."""


class Open:
    """Lets everybody in."""

    def identify(self, metadata: Metadata) -> Principal:  # noqa: ARG002 - as Gate has it
        """See Gate."""
        return ANYONE

    async def update(self) -> None:
        """See Gate."""

    async def watch(self) -> None:
        """See Gate."""

    def close(self, patience_s: float) -> None:
        """See Gate."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A key as it is looked at in each call."""

    hash: str
    expires_at: datetime | None
    principal: Principal


class Required:
    """Lets those in who have a key, or a token where some are trusted."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        timing: Timing = USUAL,
        tokens: "Tokens | None" = None,
        subjects: Subjects | None = None,
    ) -> None:
        """Take keys; and tokens, and certificates by their subjects, where any are known.

        Certificates are the gateway's to name: subjects are of use only where it alone can call.
        """
        self._database, self._clock, self._timing = database, clock, timing
        self._tokens, self._subjects = tokens, subjects
        self._known: Mapping[str, _Known] = {}
        self._used: set[str] = set()
        # Why the table could not be read the last time, as the log says it once.
        self._told = ""
        self._read_at = -math.inf
        # Two: a file of subjects that cannot be read to its end holds up no keys.
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="keys")
        self._reading: set[Future[None]] = set()

    def identify(self, metadata: Metadata) -> Principal:
        """See Gate. It waits for nothing."""
        given, certificate = [], ""
        for key, value in metadata:
            if key == AUTHORIZATION:
                given.append(value)
            elif key == CERTIFICATE:
                certificate = str(value)
        principal = self._identify(given, certificate)
        if principal is None:
            raise CredentialsInvalid
        return principal

    def _identify(self, given: Sequence[str | bytes], certificate: str) -> Principal | None:
        if given:
            text = _bearer(given[0]) if len(given) == 1 else None
            return self._find(text) if text else None
        if certificate and self._subjects is not None:
            return self._subjects.find(certificate)
        raise CredentialsMissing

    def _find(self, text: str) -> Principal | None:
        if self._tokens is not None and not text.startswith(keys.PREFIX):
            return self._tokens.identify(text)
        return self._find_key(text)

    def _find_key(self, text: str) -> Principal | None:
        if time.monotonic() - self._read_at > self._timing.keys_trusted_s:
            raise DatabaseUnavailable from RuntimeError("the keys have not been read for too long")
        key_id = keys.id_of(text)
        known = self._known.get(key_id) if key_id else None
        # Compared even where there is none, so that it takes as long.
        is_same = keys.is_same(keys.hashed(text), known.hash if known else _NO_HASH)
        if key_id is None or known is None or not is_same:
            return None
        if known.expires_at is not None and known.expires_at <= self._clock():
            return None
        self._used.add(key_id)
        return known.principal

    async def update(self) -> None:
        """Read the keys. While that fails, those that are known stay valid for some time."""
        of_tokens = [self._tokens.update()] if self._tokens else []
        await asyncio.gather(self._run(self._update), *of_tokens)

    async def watch(self) -> None:
        """See Gate."""
        of_tokens = [self._tokens.watch()] if self._tokens else []
        of_subjects = [self._repeat(self._subjects.update)] if self._subjects else []
        await asyncio.gather(self._repeat(self._update), *of_subjects, *of_tokens)

    def close(self, patience_s: float) -> None:
        """See Gate."""
        self._pool.shutdown(wait=False)
        wait(set(self._reading), patience_s)
        if self._tokens:
            self._tokens.close()

    async def _repeat(self, update: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(self._timing.keys_every_s)
            await self._run(update)

    async def _run(self, update: Callable[[], None]) -> None:
        running = self._pool.submit(update)
        self._reading.add(running)
        running.add_done_callback(self._reading.discard)
        try:
            await asyncio.wrap_future(running)
        except Exception as fault:
            # Whatever it is: without the next time, revoked keys would stay valid.
            _log.exception("credentials not read", exc_info=fault)

    def _update(self) -> None:
        try:
            with deadlines.within(self._timing.keys_s):
                self._read()
                self._told = ""
        except DomainError as error:
            if (reason := diagnosis(error)) != self._told:
                self._told = reason
                _log.warning("keys not read", reason=reason)

    def _read(self) -> None:
        began = time.monotonic()
        with self._database.read() as connection:
            found = access_keys.all_keys(connection)
        self._known, self._read_at = dict(_usable(found)), began
        used, today = set(self._used), self._clock().date()
        if any(key.id in used and key.last_used_on != today for key in found):
            with self._database.write() as connection:
                access_keys.note_use(connection, used, today)
        self._used -= used


def _bearer(authorization: str | bytes) -> str | None:
    """Return what stands behind the scheme; None for another scheme than ours."""
    if isinstance(authorization, bytes) or not authorization.lower().startswith(_SCHEME):
        return None
    return authorization[len(_SCHEME) :].strip()


_NO_HASH = keys.hashed("")


def _usable(keys: Iterable[AccessKey]) -> Iterator[tuple[str, _Known]]:
    for key in keys:
        # Whoever has changed one by hand locks out its owner, and nobody else.
        is_whole = key.permission in NAMES and isinstance(key.organizations, list | None)
        if key.revoked_at is None and is_whole:
            yield key.id, _known(key)


def _known(key: AccessKey) -> _Known:
    organizations = None if key.organizations is None else frozenset(key.organizations)
    principal = Principal(f"key:{key.id}", NAMES[key.permission], Wall(organizations))
    return _Known(key.secret_hash, key.expires_at, principal)


def require(
    principal: Principal, requirement: Requirement, request: Message | MalformedRequest
) -> None:
    """Raise PermissionMissing or OrganizationForbidden where a principal may not call so."""
    if principal.permission < requirement.permission:
        raise PermissionMissing(requirement.permission.name.lower())
    if isinstance(request, MalformedRequest):
        return
    if organization := requirement.organization(request):
        principal.wall.require(organization)
