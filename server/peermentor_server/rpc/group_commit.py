"""Writes that came to a thread at once, in one transaction: SQLite's disk is waited for once.

Each call sees what those before it wrote, as if they had been stored one after the other. None
is answered before all are stored. As soon as one fails, for whatever reason, nothing is, and
each is run by itself: so none can tell that there were others.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from peermentor_server.rpc.lanes import Outcome, Together, Work, one_by_one
from peermentor_server.rules.errors import DatabaseUnavailable, DomainError
from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.database import Database
from peermentor_server.storage.engine.deadlines import Soonest


class Write(Work, Protocol):
    """What a call does that writes."""

    def join(self) -> Any:
        """Return the answer as run() does, but once, and without a line: it may yet be undone."""

    def log(self, error: DomainError | None, answer: Any = None) -> None:
        """Write the line of the call, and that of what it has stored."""


def group_commit(database: Database) -> Together:
    """Return what runs calls in one transaction of this database."""

    def run(calls: Sequence[Write]) -> Sequence[Outcome]:
        if len(calls) <= 1:
            return one_by_one(calls)
        try:
            with deadlines.until(Soonest([call.deadline for call in calls])), database.together():
                answers = [call.join() for call in calls]
        except DatabaseUnavailable as error:
            if not error.unknown_outcome:
                return one_by_one(calls)
            return [_told(call, Outcome(None, error)) for call in calls]
        except Exception:
            # Told by whom it concerns, when it is run by itself.
            return one_by_one(calls)
        return [_told(call, Outcome(answer)) for call, answer in zip(calls, answers, strict=True)]

    return run


def _told(call: Write, outcome: Outcome) -> Outcome:
    call.log(outcome.error, outcome.answer)
    return outcome
