"""The only place where ids are built and parsed.

An assignment or template is an integer key in the database, and to callers a prefix with
that number in at least three digits: `asgn_001`, `rt-001`, `asgn_1000`. Only the exact spelling
is accepted: `asgn_1` is no id.
"""

import os
import re
from dataclasses import dataclass, field

MAX_KEY = 2**63 - 1


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
