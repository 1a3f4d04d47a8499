"""API keys: what they look like, how they are made, and how one is told from another.

    pmk_<id>_<secret>    16 and 64 hexadecimal digits

The secret has 256 bits of the system's randomness: a fast hash is enough to keep it by, and
nothing is gained by guessing.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from peermentor_server.storage.access_keys import AccessKey

PREFIX = "pmk_"
_FORM = re.compile(f"{PREFIX}([0-9a-f]{{16}})_[0-9a-f]{{64}}")


def issue(
    permission: str,
    organizations: Iterable[str] | None,
    *,
    now: datetime,
    lifetime: timedelta | None = None,
    note: str = "",
) -> tuple[str, AccessKey]:
    """Make a key; return what its owner calls with, and what is to be stored of it.

    Without organisations it is for all of them, without a lifetime for ever.
    """
    key_id = secrets.token_hex(8)
    text = f"{PREFIX}{key_id}_{secrets.token_hex(32)}"
    return text, AccessKey(
        id=key_id,
        secret_hash=hashed(text),
        permission=permission,
        organizations=None if organizations is None else sorted(set(organizations)),
        note=note,
        created_at=now,
        expires_at=now + lifetime if lifetime else None,
    )


def id_of(text: str) -> str | None:
    """Return the id of what has the form of a key; None for anything else."""
    found = _FORM.fullmatch(text)
    return found[1] if found else None


def hashed(text: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_same(one: str, other: str) -> bool:
    """Compare two hashes, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one, other)
