"""The only place where ids are built and parsed.

An assignment or template is an integer key in the database, and to callers a prefix with
that number in at least three digits: `asgn_001`, `rt-001`, `asgn_1000`. Only the exact spelling
is accepted: `asgn_1` is no id.
"""

import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid5

MAX_KEY = 2**63 - 1
# The namespace of the events of templates.
_CALENDARS = UUID("65faa379-8987-448d-b049-88c2227b957b")


@dataclass(frozen=True, slots=True)
class IdFormat:
    """How the keys of one resource are written."""

    prefix: str
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pattern = re.compile(re.escape(self.prefix) + "([0-9]{3,19})")
        object.__setattr__(self, "_pattern", pattern)

    def render(self, key: int) -> str:
        """Write a key as callers see it."""
        return f"{self.prefix}{key:03d}"

    def parse(self, text: str) -> int | None:
        """Read a key back; None for a text that no key is written as."""
        match = self._pattern.fullmatch(text)
        if match is None:
            return None
        key = int(match[1])
        return key if 1 <= key <= MAX_KEY and self.render(key) == text else None


ASSIGNMENT = IdFormat("asgn_")
TEMPLATE = IdFormat("rt-")


def new_request_id() -> str:
    """Return an id for a call that came without one: a UUID, of version 4 (RFC 9562)."""
    # Not by way of uuid.UUID, which takes ten times as long.
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) % 4]
    last = f"{variant}{digits[17:20]}-{digits[20:]}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{last}"


def calendar_uid(template: int, created_at: datetime) -> str:
    """Return the id of a template's event in calendars, which hold those of other databases too.

    It stays for as long as the template does, and goes along with an export: a UUID, of version 5
    (RFC 9562; RFC 7986, 5.3).
    """
    name = f"{TEMPLATE.render(template)} {created_at.astimezone(UTC).isoformat()}"
    return str(uuid5(_CALENDARS, name))
