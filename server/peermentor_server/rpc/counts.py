"""Rows that are counted every minute for the metrics, by one worker for all.

Where there are more organisations than labels are good for, those that have most assignments when
they are first counted have labels of their own. All others are counted together.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

import structlog

from peermentor_server.rules.clock import Clock, overdue_cutoff
from peermentor_server.rules.errors import DomainError, diagnosis
from peermentor_server.settings import Settings
from peermentor_server.storage import counts
from peermentor_server.storage.counts import Assignments
from peermentor_server.storage.engine import deadlines
from peermentor_server.storage.engine.database import Database
from peermentor_server.telemetry import metrics
from peermentor_server.timing import USUAL, Timing

MAX_ORGANIZATIONS = 100
# No id has a space.
OTHERS = "all others"
_log = structlog.get_logger("peermentor_server")


class Counts:
    """Counts of the rows of a database, and of its standbys."""

    def __init__(
        self, database: Database, settings: Settings, clock: Clock, timing: Timing = USUAL
    ) -> None:
        self._database, self._clock = database, clock
        self._counts_rows = settings.metrics_counts == "on"
        self._overdue_after_days = settings.overdue_after_days
        self._every_s, self._patience_s = timing.count_every_s, timing.count_s
        self._named: set[str] = set()
        self._keys: Mapping[str, int] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="counts")
        self._counting: Future[None] | None = None

    async def watch(self) -> None:
        """Go on counting until cancelled."""
        while True:
            self._counting = self._pool.submit(self.take)
            await asyncio.wrap_future(self._counting)
            await asyncio.sleep(self._every_s)

    def close(self, patience_s: float) -> None:
        """Count no more; wait a little for what runs. A thread that hangs is left to itself."""
        self._pool.shutdown(wait=False)
        wait([self._counting] if self._counting else [], patience_s)

    def take(self) -> None:
        """Count once. While that fails, what was counted last stands."""
        try:
            with deadlines.within(self._patience_s):
                self._take()
        except DomainError as error:
            _log.warning("rows not counted", reason=diagnosis(error))

    def _take(self) -> None:
        if self._database.dialect == "postgresql":
            with self._database.read() as connection:
                metrics.current.standbys.set(counts.standbys(connection))
        if not self._counts_rows:
            return
        cutoff = overdue_cutoff(self._clock().date(), self._overdue_after_days)
        with self._database.snapshot() as connection:
            assignments = counts.by_organization(connection, cutoff)
            keys = counts.keys_by_rpc(connection)
        for label, found in self._labelled(assignments).items():
            metrics.current.assignments.labels(label, "open").set(found.open)
            metrics.current.assignments.labels(label, "overdue").set(found.overdue)
        # Who has none left is told as having none.
        self._keys = {**dict.fromkeys(self._keys, 0), **keys}
        for rpc, count in self._keys.items():
            metrics.current.idempotency_keys.labels(rpc).set(count)

    def _labelled(self, found: Mapping[str, Assignments]) -> Mapping[str, Assignments]:
        totals = {label: Assignments() for label in (OTHERS, *self._named)}
        for organization, its in sorted(found.items(), key=lambda each: -each[1].open):
            total = totals.setdefault(self._label(organization), Assignments())
            total.open += its.open
            total.overdue += its.overdue
        return totals

    def _label(self, organization: str) -> str:
        if organization not in self._named and len(self._named) >= MAX_ORGANIZATIONS:
            return OTHERS
        self._named.add(organization)
        return organization
