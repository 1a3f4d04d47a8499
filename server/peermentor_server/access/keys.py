"""API keys: what they look like, how they are made, and how one is told from another.

    pmk_<id>_<secret>    16 and 64 hexadecimal digits

The secret has 256 bits of the system's randomness: a fast hash is enough to keep it by, and
nothing is gained by guessing.
"""

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

_FORM = re.compile("pmk_([0-9a-f]{16})_[0-9a-f]{64}")


class NewKey(NamedTuple):
    """A key that nobody has yet."""

    id: str
    text: str
    """What its owner calls with. It is kept nowhere."""
    hash: str


def make() -> NewKey:
    """Make a key."""
    key_id = secrets.token_hex(8)
    text = f"pmk_{key_id}_{secrets.token_hex(32)}"
    return NewKey(key_id, text, hashed(text))


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
