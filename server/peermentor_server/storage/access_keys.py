"""The API keys: whom they are for and what they allow, with a hash in place of each secret.

Functions take a connection of `Database.read()` or `Database.write()`.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, insert, or_, select, update

from peermentor_server.storage.tables import access_keys


class AccessKey(NamedTuple):
    """A key. Without organisations it is for all of them, without an end for ever."""

    id: str
    secret_hash: str
    permission: str
    organizations: list[str] | None
    note: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
    last_used_on: date | None = None


def add(connection: Connection, key: AccessKey) -> None:
    """Store a new key."""
    connection.execute(insert(access_keys), key._asdict())


def all_keys(connection: Connection) -> Sequence[AccessKey]:
    """Return all keys, the oldest first."""
    query = select(access_keys).order_by(access_keys.c.created_at, access_keys.c.id)
    return [AccessKey._make(row) for row in connection.execute(query)]


def revoke(connection: Connection, key_id: str, now: datetime) -> bool:
    """Revoke a key, for good; False if there is none of this id, or it is revoked already."""
    valid = access_keys.c.id == key_id, access_keys.c.revoked_at.is_(None)
    revoked = update(access_keys).where(*valid).values(revoked_at=now)
    return connection.execute(revoked).rowcount > 0


def note_use(connection: Connection, key_ids: Collection[str], day: date) -> None:
    """Note that these keys have been used on this day."""
    last = access_keys.c.last_used_on
    earlier = access_keys.c.id.in_(sorted(key_ids)), or_(last.is_(None), last < day)
    connection.execute(update(access_keys).where(*earlier).values(last_used_on=day))
