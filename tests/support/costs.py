"""What a call costs that is the same each time: statements, round trips, calls of functions."""

import gc
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from psycopg import pq
from sqlalchemy import event

from peermentor_server.storage.engine.database import Database

_GAP = re.compile(r"\s{2,}")
_HEAD = """\
# What each form of a call costs (tests/support/rpc_forms.py); see tests/support/costs.py for the
# figures. Written by `make costs`; a test fails when one grows by more than a tenth.
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call costs."""

    statements: int
    """Statements that the database is given, BEGIN and COMMIT among them."""
    round_trips: int
    """How often a server is waited for; SQLite is none."""
    calls: int
    """Calls of functions, of Python's and of C's."""
    calls_per_row: float | None = None
    """How many of them each row of a list takes."""


class Meter:
    """Counts what calls cost that work with a database."""

    def __init__(self, database: Database) -> None:
        """Make it before the database has any connection."""
        self._dialect = database.dialect
        self._connections: list[Any] = []
        self._starts: dict[CodeType, int] = {}
        for engine in {database.engine, database.backend.reading_engine}:
            event.listen(engine, "connect", lambda opened, _: self._connections.append(opened))

    def count(self, work: Callable[[], object]) -> Cost:
        """Return what it costs; do it some times before, so that all caches are filled."""
        watched = self._of_sqlite if self._dialect == "sqlite" else self._of_postgresql
        calls = 0

        def note(frame: FrameType, kind: str, function: Any) -> None:
            nonlocal calls
            if kind == "call":
                # What goes on after a yield begins elsewhere. How often psycopg does while it
                # waits is up to the network.
                calls += self._starts.setdefault(frame.f_code, frame.f_lasti) == frame.f_lasti
            elif kind == "c_call":
                calls += function.__name__ != "send"

        with watched() as seen:
            gc.disable()
            sys.setprofile(note)
            try:
                work()
            finally:
                sys.setprofile(None)
                gc.enable()
        return Cost(**seen, calls=calls)

    @contextmanager
    def _of_sqlite(self) -> Iterator[dict[str, Any]]:
        statements: list[str] = []
        seen: dict[str, Any] = {}
        for connection in self._connections:
            connection.set_trace_callback(statements.append)
        yield seen
        for connection in self._connections:
            connection.set_trace_callback(None)
        seen |= {"statements": len(statements), "round_trips": 0}

    @contextmanager
    def _of_postgresql(self) -> Iterator[dict[str, Any]]:
        seen: dict[str, Any] = {}
        with tempfile.TemporaryFile("w+") as trace:
            for connection in self._connections:
                connection.pgconn.trace(trace.fileno())
                connection.pgconn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
            yield seen
            for connection in self._connections:
                connection.pgconn.untrace()
            trace.seek(0)
            messages = [line.split()[2] for line in trace]
        seen["statements"] = sum(messages.count(name) for name in ("Query", "Execute"))
        seen["round_trips"] = messages.count("ReadyForQuery")


class Costs:
    """A table of costs in a file, by the kind of database and the form of a call."""

    def __init__(self, rows: dict[tuple[str, str], Cost]) -> None:
        self.rows = rows

    @classmethod
    def read(cls, file: Path) -> "Costs":
        """Read the file."""
        rows = {}
        for line in file.read_text().splitlines():
            if not line.startswith(("#", "database")):
                kind, form, *figures = _GAP.split(line)
                rows[kind, form] = Cost(*map(_figure, figures))
        return cls(rows)

    def write(self, file: Path) -> None:
        """Write the file anew."""
        names = [field.name for field in fields(Cost)]
        lines = [["database", "form", *names]]
        lines += [[*key, *map(_text, astuple(cost))] for key, cost in sorted(self.rows.items())]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        with file.open("w") as table:
            table.write(_HEAD)
            for kind, form, *figures in lines:
                texts = [kind.ljust(widths[0]), form.ljust(widths[1])]
                texts += [
                    text.rjust(width) for text, width in zip(figures, widths[2:], strict=True)
                ]
                table.write("  ".join(texts) + "\n")


def changes(before: Cost, now: Cost) -> list[str]:
    """Say which figures have grown by more than a tenth, or shrunk by more than a fifth."""
    found = []
    for field in fields(Cost):
        old, new = getattr(before, field.name) or 0, getattr(now, field.name) or 0
        if new > old * 1.1:
            found.append(f"{field.name}: {new}, more than the {old} before")
        elif new < old * 0.8:
            found.append(
                f"{field.name}: {new}, far less than the {old} before: keep it by make costs"
            )
    return found


def _figure(text: str) -> Any:
    return None if text == "-" else float(text) if "." in text else int(text)


def _text(figure: float | None) -> str:
    return "-" if figure is None else str(figure)
