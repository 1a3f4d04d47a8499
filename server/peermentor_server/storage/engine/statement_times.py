"""Measures how long each statement takes: by its kind, never by its text."""

import time
from typing import Any

from sqlalchemy import Engine, event

from peermentor_server.telemetry import metrics

_KINDS = frozenset({"select", "insert", "update", "delete", "begin", "pragma"})


def watch(engine: Engine) -> None:
    """Measure every statement of this engine that comes to its end."""
    event.listen(engine, "before_cursor_execute", _begin)
    event.listen(engine, "after_cursor_execute", _end)


def _begin(*arguments: Any) -> None:
    # The context of SQLAlchemy, which there is once for each statement.
    arguments[4].began = time.perf_counter()


def _end(*arguments: Any) -> None:
    _, _, statement, _, context, _ = arguments
    metrics.current.statement(_kind(statement)).observe(time.perf_counter() - context.began)


def _kind(statement: str) -> str:
    word = statement[:10].split(maxsplit=1)[0].lower()
    return word if word in _KINDS else "other"
