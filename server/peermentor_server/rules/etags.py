"""Etags: which state of a resource a caller knows (RFC 9110, 8.8.3; AIP-154).

`"7-2.13"` is the state, as it is stored, and behind the dot what the day alone changes. An answer
is still the one that its caller has if all of that is the same. A write asks for the state only:
nobody has written anything at midnight.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from peermentor_server.rules.errors import EtagMismatch

PROBLEM = "must be an etag as answers have it, with its quotes"

_ETAG = re.compile('(W/)?"([!#-~]*)"')
_ETAGS = re.compile(rf"\*|{_ETAG.pattern}([ \t]*,[ \t]*{_ETAG.pattern})*")


def render(state: str, of_the_day: int | None = None) -> str:
    """Return the etag of a resource in this state; `of_the_day` is None where no day counts."""
    return f'"{state}"' if of_the_day is None else f'"{state}.{of_the_day}"'


def of_content(content: bytes) -> str:
    """Return the etag of a file, which moves when a byte of it does. No write asks for it."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


@dataclass(frozen=True, slots=True)
class Precondition:
    """In which states a resource must be: in one of each of these sets. None: in any."""

    states: tuple[frozenset[str] | None, ...] = ()

    def require(self, state: str) -> None:
        """Raise EtagMismatch for another state."""
        if any(each is not None and state not in each for each in self.states):
            raise EtagMismatch


UNCONDITIONAL = Precondition()


def is_list(text: str) -> bool:
    """Tell whether this is one etag or more, or `*`, which stands for each."""
    return _ETAGS.fullmatch(text) is not None


def precondition(lists: Iterable[str]) -> Precondition:
    """Return what all of these lists of etags ask for. Weak ones are equal to none."""
    return Precondition(tuple(map(_states, lists)))


def _states(text: str) -> frozenset[str] | None:
    if text == "*":
        return None
    return frozenset(tag.partition(".")[0] for weak, tag in _ETAG.findall(text) if not weak)
