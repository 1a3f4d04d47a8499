"""Creates that are made once, however often their caller repeats them (AIP-155).

Functions take a connection of `Database.read()` or `Database.write()`. What is remembered is
stored in the transaction that creates the resource: both are there, or neither.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, select, tuple_, update

from peermentor_server.rules.errors import RequestIdReused
from peermentor_server.storage import upserts
from peermentor_server.storage.tables import idempotency_keys


class Resource(Protocol):
    """A row of a table of resources."""

    @property
    def id(self) -> int:
        """The key."""


R = TypeVar("R", bound=Resource)

REMEMBERED_FOR = timedelta(days=1)
# More than the one that a create adds, and few enough not to be felt.
FORGOTTEN_AT_ONCE = 100
_KEY = (idempotency_keys.c.owner, idempotency_keys.c.rpc, idempotency_keys.c.request_id)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that may come again: the id that its caller gave it, and a digest of the rest.

    The ids of each owner, a principal, are their own.
    """

    owner: str
    rpc: str
    request_id: str
    digest: str


def digest(content: Mapping[str, Any]) -> str:
    """Return a hash of checked values. It depends on nothing else, and reveals none of them."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def once(
    connection: Connection,
    request: Request | None,
    now: datetime,
    *,
    make: Callable[[Connection], R],
    find: Callable[[Connection, int], R | None],
) -> R | None:
    """Make a resource, or find the one that the same request has made within the last day.

    None if that has been deleted. Raises RequestIdReused when what it made had other content.
    Without a request the resource is made each time.
    """
    if request is None:
        return make(connection)
    remembered = _claim(connection, request, now)
    if remembered.resource_key is None or remembered.created_at <= now - REMEMBERED_FOR:
        made = make(connection)
        _remember(connection, request, made.id, now)
        _forget_oldest(connection, now)
        return made
    if remembered.digest != request.digest:
        raise RequestIdReused
    return find(connection, remembered.resource_key)


def is_remembered(
    connection: Connection, owner: str, rpc: str, request_id: str, now: datetime
) -> bool:
    """Tell whether a request of this id has made something within the last day."""
    recent = idempotency_keys.c.created_at > now - REMEMBERED_FOR
    query = select(idempotency_keys.c.request_id).where(_named(owner, rpc, request_id), recent)
    return connection.execute(query).one_or_none() is not None


def _claim(connection: Connection, request: Request, now: datetime) -> Row[Any]:
    """Return the row of this id, a new one if there is none; nobody else has it until the end.

    On PostgreSQL a twin waits here until the first one has ended, either way.
    """
    statement = upserts.insert(connection.dialect.name, idempotency_keys).values(
        owner=request.owner,
        rpc=request.rpc,
        request_id=request.request_id,
        digest=request.digest,
        created_at=now,
    )
    # A repeat writes the row too, unchanged: with synchronous replication its commit then
    # waits for the standby, as that of the first did. Else it could answer with a resource
    # that a failover loses.
    kept = statement.on_conflict_do_update(
        index_elements=["owner", "rpc", "request_id"], set_={"digest": idempotency_keys.c.digest}
    )
    return connection.execute(kept.returning(idempotency_keys)).one()


def _remember(connection: Connection, request: Request, key: int, now: datetime) -> None:
    connection.execute(
        update(idempotency_keys)
        .where(_named(request.owner, request.rpc, request.request_id))
        .values(digest=request.digest, resource_key=key, created_at=now)
    )


def _forget_oldest(connection: Connection, now: datetime) -> None:
    oldest = (
        select(*_KEY)
        .where(idempotency_keys.c.created_at <= now - REMEMBERED_FOR)
        .order_by(idempotency_keys.c.created_at)
        .limit(FORGOTTEN_AT_ONCE)
        # Passing over what others hold, two creates never wait for each other here.
        .with_for_update(skip_locked=True)
    )
    connection.execute(delete(idempotency_keys).where(tuple_(*_KEY).in_(oldest)))


def _named(*key: str) -> ColumnElement[bool]:
    return and_(*(column == value for column, value in zip(_KEY, key, strict=True)))
