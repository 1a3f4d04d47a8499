"""API keys, put straight into a database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from peermentor_server.access import keys
from peermentor_server.storage import access_keys
from peermentor_server.storage.access_keys import AccessKey
from peermentor_server.storage.engine.database import Database
from support.clock import CONTRACT_DAY


def new_key(
    database: Database,
    organizations: Sequence[str] | None = None,
    permission: str = "write",
    expires_at: datetime | None = None,
) -> str:
    """Store a new key; return what its owner calls with."""
    made = keys.make()
    stored = AccessKey(
        id=made.id,
        secret_hash=made.hash,
        permission=permission,
        organizations=None if organizations is None else list(organizations),
        note="",
        created_at=CONTRACT_DAY,
        expires_at=expires_at,
    )
    with database.write() as connection:
        access_keys.add(connection, stored)
    return made.text


def bearer(key: str) -> Any:
    """Return the metadata of a call with this key."""
    return (("authorization", f"Bearer {key}"),)
