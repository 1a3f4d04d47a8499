"""Connections to PostgreSQL that keep no thread past its deadline, and that tell a commit which
may not survive from one that will.

The thread that waits watches the clock itself. A watchdog in another thread could reach a
connection that has since gone to the next call, and cancel that.
"""

import math
import os
import select
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import psycopg
from psycopg.errors import ConnectionTimeout, Diagnostic
from psycopg.pq import TransactionStatus

from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.driver_errors import UNCONFIRMED_COMMIT

# What psycopg yields while it waits, and is sent once something has come, or nothing has.
Waiting = Generator[Any, Any, Any]


class UnconfirmedCommit(psycopg.OperationalError):
    """A commit of which the server does not say that it will survive.

    Such as one that no longer waits for the synchronous standby: it is stored on one server,
    and a failover may lose it.
    """

    sqlstate = UNCONFIRMED_COMMIT


class _Columns(Sequence[psycopg.Column]):
    """What describes the columns of a result, put together when it is looked at."""

    def __init__(self, describe: Callable[[], Sequence[psycopg.Column] | None]) -> None:
        self._describe = describe

    @cached_property
    def _all(self) -> Sequence[psycopg.Column]:
        return self._describe() or ()

    def __getitem__(self, index: Any) -> Any:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)


class _Cursor(psycopg.Cursor[Any]):
    """A cursor that costs little where its columns are known.

    SQLAlchemy asks for their description after each statement, and looks at it after the first
    one of its kind alone. Psycopg calls a hundred functions for that of an assignment.
    """

    @property
    def description(self) -> Any:
        """See the DB-API: None for what has no columns."""
        if self.pgresult is None or not self.pgresult.nfields:
            return super().description
        return _Columns(lambda: super(_Cursor, self).description)


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that cancels what is late, and hangs up when even that does not help."""

    cancel_s: float
    """How long after the deadline a cancelled statement may take to end."""

    pooled = False
    """Whether a pooler stands between: no session outlasts a transaction there."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.cursor_factory = _Cursor
        self._warned = False
        self.add_notice_handler(self._note)

    def _note(self, notice: Diagnostic) -> None:
        # By its severity: the texts are in the server's language, and the code says little.
        if notice.severity_nonlocalized == "WARNING":
            self._warned = True

    def commit(self) -> None:
        """Commit; raise UnconfirmedCommit when the server warns of it."""
        self._warned = False
        super().commit()
        if self._warned:
            raise UnconfirmedCommit("the commit was not confirmed")

    def rollback(self) -> None:
        """Roll back, which costs nothing where nothing was begun."""
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().rollback()

    def has_news(self) -> bool:
        """Tell whether the server has sent what nobody asked for, such as that this is the end."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def wait(self, gen: Waiting, *arguments: Any, **named: Any) -> Any:
        """Wait for the server, until the deadline and a little longer."""
        bounded = gen if deadlines.remaining() == math.inf else self._bounded(gen)
        return super().wait(bounded, *arguments, **named)

    def _bounded(self, gen: Waiting) -> Waiting:
        cancelled = False
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                # Nothing has come for a tenth of a second.
                if not ready and deadlines.remaining() <= 0:
                    self._end(cancelled=cancelled)
                    cancelled = True
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _end(self, *, cancelled: bool) -> None:
        left = deadlines.remaining() + self.cancel_s
        if left <= 0:
            self._hang_up()
        elif not cancelled:
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=left)

    def _hang_up(self) -> None:
        with suppress(OSError), socket.socket(fileno=os.dup(self.fileno())) as connection:
            connection.shutdown(socket.SHUT_RDWR)

    # psycopg has no other way to keep connecting below two seconds for each host.
    @classmethod
    def _connect_gen(cls, *arguments: Any, **named: Any) -> Waiting:
        gen = super()._connect_gen(*arguments, **named)
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and deadlines.remaining() <= 0:
                    raise ConnectionTimeout("no connection before the deadline")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
