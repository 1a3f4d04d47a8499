"""Histories of calls on one assignment, and whether the service can have answered like that.

A history is right when its calls can be put into one order, in which each takes effect at a
moment between its beginning and its end, and every answer is what the model says (this is
linearizability, checked by search as Wing and Gong describe it). Each call takes effect once at
most, however often it is made again on its caller's behalf. One that was told of a failure has
taken effect before that or never does; one without any answer may do so at any moment since.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

Fields: TypeAlias = tuple[str, datetime | None]
"""What calls change: coordinator and last contact."""
State: TypeAlias = Fields | None
"""None once it is deleted."""
MISSING = "missing"
"""The answer that there is no such assignment."""
UNKNOWN = "unknown"
"""It is open whether the call took effect; if there was an answer, not after that."""
REFUSED = "refused"
"""The answer that nothing of the call was done."""


@dataclass(slots=True)
class Call:
    """One call: what it asked for, when it began and ended, and what it was answered."""

    kind: Literal["read", "update", "contact", "delete"]
    value: Any
    start: float
    end: float = math.inf
    answer: State | Literal["missing", "refused", "unknown"] = "unknown"

    def effect(self, state: State) -> State:
        """Return the state after this call."""
        if state is None or self.kind == "delete":
            return None
        if self.kind == "update":
            return self.value, state[1]
        if self.kind == "contact":
            return state[0], self.value
        return state

    def may_be_left_out(self) -> bool:
        """Tell whether the call may have had no effect at all."""
        return self.answer in (UNKNOWN, REFUSED)

    def fits(self, state: State) -> bool:
        """Tell whether the answer is right for a call that finds this state."""
        if self.answer == UNKNOWN:
            return True
        if self.answer == REFUSED:
            return False
        if state is None:
            return self.answer == MISSING
        return self.answer == self.effect(state)


def is_explained(calls: Sequence[Call], first: Fields) -> bool:
    """Tell whether the model allows this history of an assignment that began as `first`."""
    answered = sum(1 << i for i, call in enumerate(calls) if not call.may_be_left_out())
    todo: list[tuple[int, State]] = [(0, first)]
    seen = set(todo)
    while todo:
        done, state = todo.pop()
        if done & answered == answered:
            return True
        for step in _steps(calls, done, state):
            if step not in seen:
                seen.add(step)
                todo.append(step)
    return False


def _steps(calls: Sequence[Call], done: int, state: State) -> Iterator[tuple[int, State]]:
    left = [(i, call) for i, call in enumerate(calls) if not done >> i & 1]
    # Nothing can take effect after a call that has ended, before that one has.
    limit = min(call.end for _, call in left)
    for i, call in left:
        if call.start > limit:
            continue
        if call.fits(state):
            yield done | 1 << i, call.effect(state)
        if call.may_be_left_out() and call.end == limit:
            yield done | 1 << i, state
