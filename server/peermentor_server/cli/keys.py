"""The commands that make, list and revoke API keys. They return what to print."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from peermentor_server.access import keys
from peermentor_server.failures import CommandFailed
from peermentor_server.rules import clock
from peermentor_server.rules.principals import Wall
from peermentor_server.settings import Settings
from peermentor_server.storage import access_keys, opening, transfer
from peermentor_server.storage.access_keys import AccessKey
from peermentor_server.storage.engine.database import Database

_log = structlog.get_logger("peermentor_server")


def create(
    configured: Settings,
    *,
    permission: str,
    organizations: Sequence[str] | None,
    lifetime: timedelta | None,
    note: str,
) -> str:
    """Make a key and return it: nobody can ever see it again."""
    database = _open(configured)
    now = clock.stamp(clock.system_clock)
    text, key = keys.issue(permission, organizations, now=now, lifetime=lifetime, note=note)

    def store() -> None:
        with database.write() as connection:
            access_keys.add(connection, key)

    opening.use(database, store)
    if organizations is not None:
        _warn_of_unknown(database, organizations)
    return text


def _warn_of_unknown(database: Database, organizations: Sequence[str]) -> None:
    # It may be the key by which their first row will come; or a slip.
    def read() -> Sequence[str]:
        with database.read() as connection:
            return transfer.without_rows(connection, Wall(frozenset(organizations)))

    if unknown := opening.use(database, read):
        _log.warning("the database has nothing of these organisations yet", organizations=unknown)


def list_all(configured: Settings) -> str:
    """Return a table of all keys, without their secrets."""
    database = _open(configured)

    def read() -> Sequence[AccessKey]:
        with database.read() as connection:
            return access_keys.all_keys(connection)

    found = opening.use(database, read)
    now = clock.system_clock()
    rows = [_HEAD, *(_row(key, now) for key in found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


_HEAD = ("ID", "STATE", "PERMISSION", "ORGANISATIONS", "CREATED", "EXPIRES", "LAST USED", "NOTE")


def _row(key: AccessKey, now: datetime) -> tuple[str, ...]:
    return (
        key.id,
        _state(key, now),
        key.permission,
        # No id has a space.
        "all organisations" if key.organizations is None else " ".join(key.organizations),
        key.created_at.date().isoformat(),
        key.expires_at.date().isoformat() if key.expires_at else "never",
        key.last_used_on.isoformat() if key.last_used_on else "never",
        key.note,
    )


def _state(key: AccessKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= now else "valid"


def revoke(configured: Settings, key: str) -> str:
    """Revoke a key, named by its id or in whole: within five seconds, no worker takes it."""
    database = _open(configured)
    key_id = keys.id_of(key) or key
    if not re.fullmatch("[0-9a-f]{16}", key_id):
        # Not repeated: it may be a part of a secret.
        raise CommandFailed("this is no id of a key; `keys list` has them")

    def store() -> bool:
        with database.write() as connection:
            return access_keys.revoke(connection, key_id, clock.stamp(clock.system_clock))

    if not opening.use(database, store):
        raise CommandFailed(f"there is no key {key_id} in {database.location}, or it is revoked")
    return (
        f"revoked key {key_id} in {database.location}; no worker that uses this takes it any more "
        "within five seconds"
    )


def _open(configured: Settings) -> Database:
    database = opening.open_database(configured)
    # One that is made here would be looked at by nobody.
    opening.require_existing(database, configured, "no keys")
    opening.require_schema(database)
    return database
