"""Connections to PostgreSQL that keep no thread past its deadline, and no commit for sure
that is not.

The thread that waits watches the clock itself. A watchdog in another thread could reach a
connection that has since gone to the next call, and cancel that.
"""

import math
import os
import select
import socket
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.errors import ConnectionTimeout, Diagnostic
from psycopg.pq import TransactionStatus

from peermentor_server.storage.engine import deadlines, limits
from peermentor_server.storage.engine.driver_errors import UNCONFIRMED_COMMIT

# What psycopg yields while it waits, and is sent once something has come, or nothing has.
Waiting = Generator[Any, Any, Any]


class UnconfirmedCommit(psycopg.OperationalError):
    """A commit of which the server does not say that it will survive.

    Such as one that no longer waits for the synchronous standby: it is stored on one server,
    and a failover may lose it.
    """

    sqlstate = UNCONFIRMED_COMMIT


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that cancels what is late, and hangs up when even that does not help."""

    pooled = False
    """Whether a pooler stands between: no session outlasts a transaction there."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
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
        left = deadlines.remaining() + limits.CANCEL_S
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
