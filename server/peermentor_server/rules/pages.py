"""Pages of a list: numbered pages, and page tokens that go on where a page ended.

A page token is opaque to callers. It holds the position of the last resource of its page,
the number of the next page, how many resources there are, and a digest of the filters it was
made with, so that it cannot be used with others (AIP-158). It holds nothing secret and grants
nothing: a token made by hand reaches only what a list with the same filters shows anyway.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from peermentor_server.rules import clock, ids

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
# An offset costs the database all rows it passes over; page tokens do not.
MAX_PAGE = 100_000
MAX_TOKEN_LENGTH = 500
_MAX_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the key of its last row, with its last contact in overdue lists."""

    key: int
    last_contact: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which page is asked for: after a position, or by its number.

    `binding` stands for the list and its filters in page tokens. With a position comes the total
    as it was when the first page was read.
    """

    number: int = 1
    limit: int = DEFAULT_LIMIT
    after: Position | None = None
    binding: str = ""
    total: int = 0

    @property
    def offset(self) -> int:
        """How many rows to pass over."""
        return 0 if self.after else (self.number - 1) * self.limit

    def next_token(self, last: Position, total: int) -> str:
        """Return the token of the page that begins after this page's last row."""
        last_contact = last.last_contact and last.last_contact.isoformat()
        content = json.dumps([self.binding, self.number + 1, last.key, last_contact, total])
        return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def bind(*filters: object) -> str:
    """Return what stands for a list and its filters in a page token."""
    return hashlib.sha256(repr(filters).encode()).hexdigest()[:16]


def decode_token(token: str, binding: str) -> tuple[int, Position, int] | None:
    """Return the page number, position and total of a token; None unless made for this list."""
    try:
        padding = "=" * (-len(token) % 4)
        content = json.loads(base64.b64decode(token + padding, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        return None
    match content:
        case [str(made_for), int(number), int(key), (None | str()) as last_contact, int(total)]:
            position = _position(key, last_contact)
            if made_for == binding and position is not None and _in_range(number, total):
                return number, position, int(total)
    return None


def _in_range(number: int, total: int) -> bool:
    # Both are int32 on the wire.
    return 2 <= number <= _MAX_INT32 and 0 <= total <= _MAX_INT32


def _position(key: int, last_contact: str | None) -> Position | None:
    # JSON's true is an int to Python, and no key to a database.
    if key is True or not 1 <= key <= ids.MAX_KEY:
        return None
    if last_contact is None:
        return Position(key)
    instant = clock.parse_instant(last_contact)
    return None if instant is None else Position(key, instant)
