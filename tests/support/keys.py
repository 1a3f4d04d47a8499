"""API keys, put straight into a database."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from peermentor_server.access import keys
from peermentor_server.storage import access_keys
from peermentor_server.storage.engine.database import Database
from support.clock import CONTRACT_DAY


def new_key(
    database: Database,
    organizations: Sequence[str] | None = None,
    permission: str = "write",
    lifetime: timedelta | None = None,
) -> str:
    """Store a key of CONTRACT_DAY; return what its owner calls with."""
    text, key = keys.issue(permission, organizations, now=CONTRACT_DAY, lifetime=lifetime)
    with database.write() as connection:
        access_keys.add(connection, key)
    return text


def unknown_key() -> str:
    """Return a key that is in no database."""
    return keys.issue("admin", None, now=CONTRACT_DAY)[0]


def bearer(key: str) -> Any:
    """Return the metadata of a call with this key."""
    return (("authorization", f"Bearer {key}"),)
