"""Measures each statement that is executed, and tells of it whoever traces calls.

A statement is called by what it does and by our tables, such as `SELECT assignments mentees`.
Nothing else of its text is told, and none of its values.
"""

import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from peermentor_server.storage.tables import VERSION_TABLE, metadata
from peermentor_server.telemetry import metrics

# Called when a statement has ended, with what the driver raised.
End: TypeAlias = Callable[[BaseException | None], None]
# Called with the name of a statement that begins; returns None if nobody wants to know its end.
Begin: TypeAlias = Callable[[str], End | None]

_KIND = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE)\b")
_FIRST_WORD = re.compile(r"\s*([A-Z]+)\b")
_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE|,)\s+(\w+)")
_TABLES = {*metadata.tables, VERSION_TABLE}
# Of those there are metrics.
_MEASURED = {"SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN", "PRAGMA"}


@lru_cache(maxsize=1000)
def name(statement: str) -> str:
    """Return what a statement is called."""
    tables = (each for each in _TABLE.findall(statement) if each in _TABLES)
    return " ".join([_kind(statement), *dict.fromkeys(tables)])


def _kind(statement: str) -> str:
    found = _KIND.search(statement) or _FIRST_WORD.match(statement)
    return found[1] if found else "statement"


@lru_cache(maxsize=1000)
def _measured_kind(statement: str) -> str:
    kind = _kind(statement)
    return kind.lower() if kind in _MEASURED else "other"


def measure(engine: Engine) -> None:
    """Measure every statement of this engine, those that fail or are cut off too."""
    event.listen(engine, "before_cursor_execute", _begin)
    event.listen(engine, "after_cursor_execute", _end)
    event.listen(engine, "handle_error", _fail)


def _begin(*arguments: Any) -> None:
    # The context of SQLAlchemy, which there is once for each statement.
    arguments[4].began = time.perf_counter()


def _end(*arguments: Any) -> None:
    _, _, statement, _, context, _ = arguments
    _note(statement, context)


def _fail(error: ExceptionContext) -> None:
    # Without a statement it was a commit, for example; without a time, rows could not be fetched.
    if error.statement is not None and getattr(error.execution_context, "began", None) is not None:
        _note(error.statement, error.execution_context)


def _note(statement: str, context: Any) -> None:
    seconds, context.began = time.perf_counter() - context.began, None
    metrics.current.statements[_measured_kind(statement)].observe(seconds)


def tell(engine: Engine, begin: Begin) -> None:
    """Tell of each statement from now on. The end of a transaction is one, if it is stored.

    SQLite looks for rows as they are fetched: there a statement has ended with its first row.
    """
    teller = _Teller(begin)
    event.listen(engine, "before_cursor_execute", teller.execute)
    event.listen(engine, "after_cursor_execute", teller.executed)
    event.listen(engine, "commit", teller.commit)
    event.listen(engine, "reset", teller.returned)
    event.listen(engine, "handle_error", teller.failed)


class _Teller:
    """Keeps what has begun with its connection, which does one thing at a time."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    def execute(
        self, connection: Connection, _cursor: object, statement: str, *_others: object
    ) -> None:
        self._start(connection.info, name(statement))

    def executed(self, connection: Connection, *_others: object) -> None:
        self._end(connection.info)

    def commit(self, connection: Connection) -> None:
        # It has no event of its own when it has ended: whatever comes next says it.
        self._start(connection.info, "COMMIT")

    def returned(self, _driver: object, record: Any, _state: object) -> None:
        # A connection that the pool has given away has no record there.
        if record is not None:
            self._end(record.info)

    def failed(self, context: ExceptionContext) -> None:
        if context.connection is not None:
            self._end(context.connection.info, context.original_exception)

    def _start(self, info: dict[Any, Any], named: str) -> None:
        self._end(info)
        info[self] = self._begin(named)

    def _end(self, info: dict[Any, Any], error: BaseException | None = None) -> None:
        if (end := info.pop(self, None)) is not None:
            end(error)
