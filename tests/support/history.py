"""Histories of calls on one assignment, and whether the service can have answered like that.

A history is right when its calls can be put into one order, in which each takes effect at a
moment between its beginning and its end, and every answer is what the model says (this is
linearizability, checked by search as Wing and Gong describe it). A call without an answer may
have happened at any moment since, or not at all. A call that met a fault may have been made
again on its caller's behalf: then it took effect more than once before its answer.
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


@dataclass(slots=True)
class Call:
    """One call: what it asked for, when it began and ended, and what it was answered."""

    kind: Literal["read", "update", "contact", "delete"]
    value: Any
    start: float
    end: float = math.inf
    answer: State | Literal["missing", "unknown"] = "unknown"
    met_fault: bool = False

    def effect(self, state: State) -> State:
        """Return the state after this call."""
        if state is None or self.kind == "delete":
            return None
        if self.kind == "update":
            return self.value, state[1]
        if self.kind == "contact":
            return state[0], self.value
        return state

    def fits(self, state: State) -> bool:
        """Tell whether the answer is right for a call that finds this state."""
        if self.answer == "unknown":
            return True
        if state is None:
            return self.answer == MISSING
        return self.answer == self.effect(state)


def is_explained(calls: Sequence[Call], first: Fields) -> bool:
    """Tell whether the model allows this history of an assignment that began as `first`."""
    answered = sum(1 << i for i, call in enumerate(calls) if call.answer != "unknown")
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
        if call.met_fault:
            yield done, call.effect(state)
