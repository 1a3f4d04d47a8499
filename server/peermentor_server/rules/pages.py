"""Pages of a list: numbered pages, and page tokens that go on where a page ended.

A page token is opaque to callers. It holds the position of the last resource of its page,
the number of the next page, and a digest of the filters it was made with, so that it
cannot be used with others (AIP-158). It holds nothing secret and grants nothing: a token
made by hand reaches only what a list with the same filters shows anyway.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from peermentor_server.rules import days, ids

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
# An offset costs the database all rows it passes over; page tokens do not.
MAX_PAGE = 100_000
MAX_TOKEN_LENGTH = 500
# Page numbers are int32 on the wire.
_MAX_TOKEN_PAGE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the key of its last row, with its last contact in overdue lists."""

    key: int
    last_contact: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which page is asked for: after a position, or by its number.

    `binding` stands for the list and its filters in page tokens.
    """

    number: int = 1
    limit: int = DEFAULT_LIMIT
    after: Position | None = None
    binding: str = ""

    @property
    def offset(self) -> int:
        """How many rows to pass over."""
        return 0 if self.after else (self.number - 1) * self.limit

    def next_token(self, last: Position) -> str:
        """Return the token of the page that begins after this page's last row."""
        last_contact = last.last_contact and last.last_contact.isoformat()
        content = json.dumps([self.binding, self.number + 1, last.key, last_contact])
        return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def bind(*filters: object) -> str:
    """Return what stands for a list and its filters in a page token."""
    return hashlib.sha256(repr(filters).encode()).hexdigest()[:16]


def decode_token(token: str, binding: str) -> tuple[int, Position] | None:
    """Return the page number and position of a token; None unless made for this list."""
    try:
        padding = "=" * (-len(token) % 4)
        content = json.loads(base64.b64decode(token + padding, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        return None
    match content:
        case [str(made_for), int(number), int(key), (None | str()) as last_contact]:
            if made_for != binding or not _in_range(number, key):
                return None
            return _with_position(number, key, last_contact)
    return None


def _in_range(number: int, key: int) -> bool:
    # JSON's true is an int to Python, and no key to a database.
    is_key = key is not True and 1 <= key <= ids.MAX_KEY
    return is_key and 2 <= number <= _MAX_TOKEN_PAGE


def _with_position(number: int, key: int, last_contact: str | None) -> tuple[int, Position] | None:
    if last_contact is None:
        return number, Position(key)
    instant = days.parse_instant(last_contact)
    return None if instant is None else (number, Position(key, instant))
