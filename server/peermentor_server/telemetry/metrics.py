"""What is counted and measured of this process, for Prometheus.

Metrics of calls have the names of go-grpc-prometheus, which dashboards know; all others begin with
`peermentor_`. No label names a person, and each has few values.
"""

import functools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

_Metric = TypeVar("_Metric", Counter, Histogram)
_CALL = ("grpc_type", "grpc_service", "grpc_method")
# From a read of SQLite's to the longest that a call may take, in seconds.
_CALL_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STATEMENT_S = (0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5)


class _Family:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str, mode: str = "livesum") -> Gauge:
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode=mode)  # type: ignore[arg-type]

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)


class Parts(_Family):
    """What `serve` counts of the processes that it watches over."""

    def __init__(self) -> None:
        super().__init__()
        self.starts = self._counter(
            "peermentor_part_starts", "Processes that serve has started.", "part"
        )
        self.deaths = self._counter(
            "peermentor_part_deaths",
            "Processes that died by themselves, or were killed for their hang, and how.",
            "part",
            "end",
        )

    @classmethod
    @functools.cache
    def of_this_process(cls) -> Self:
        """Return the only ones of a process, which it has once it knows where to keep them."""
        return cls()


class ByLabel(dict[str, _Metric]):
    """What is counted by a label. The metric itself takes as long to find it as to count."""

    def __init__(self, metric: _Metric) -> None:
        super().__init__()
        self._metric: _Metric = metric

    def __missing__(self, value: str) -> _Metric:
        found: _Metric = self._metric.labels(value)
        self[value] = found
        return found


class Metrics(_Family):
    """What a process that serves counts. The page of Prometheus shows these texts."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        """How many calls have begun and not ended: the event loop alone counts them."""
        self.in_flight = self._gauge("peermentor_calls_in_flight", "Calls that have not ended.")
        self.build_info = self._gauge(
            "peermentor_build_info",
            "The versions that workers run, as labels.",
            "version",
            "python",
            mode="livemax",
        )
        self._started = self._counter("grpc_server_started", "Calls that have begun.", *_CALL)
        self._handled = self._counter(
            "grpc_server_handled", "Calls that have ended, by their codes.", *_CALL, "grpc_code"
        )
        self._handling = self._histogram(
            "grpc_server_handling_seconds", "How long calls took, in seconds.", _CALL_S, *_CALL
        )
        self.shed = self._counter(
            "peermentor_calls_shed", "Calls that were refused: too many at once.", "lane"
        )
        self.late = self._counter(
            "peermentor_calls_late", "Calls whose turn came after their deadline.", "lane"
        )
        self.retries = self._counter(
            "peermentor_retries", "Transactions that were run again after the database broke off."
        )
        self.stalls = self._counter(
            "peermentor_stalls", "How often a worker noticed that it had stood still."
        )
        self.credentials = ByLabel(
            self._counter(
                "peermentor_credentials",
                "Calls by their credentials: key, jwt, certificate, missing, invalid, put_off.",
                "kind",
            )
        )
        self.key_set_read = self._gauge(
            "peermentor_key_set_read_timestamp_seconds",
            "When the keys of tokens were last read, by the worker that has not for longest, in"
            " seconds since 1970; 0 without tokens.",
            mode="livemin",
        )
        self.database_up = self._gauge(
            "peermentor_database_up", "1 if the database answers every worker.", mode="livemin"
        )
        self.connections = self._gauge(
            "peermentor_database_connections_in_use", "Connections of the pool that are in use."
        )
        self.connecting = self._histogram(
            "peermentor_database_connecting_seconds",
            "How long statements and transactions waited for a connection of the pool, in seconds.",
            _STATEMENT_S,
        )
        self.statements = ByLabel(
            self._histogram(
                "peermentor_database_statement_seconds",
                "How long statements took, by their kind, in seconds.",
                _STATEMENT_S,
                "kind",
            )
        )
        self.commits = self._histogram(
            "peermentor_database_commit_seconds",
            "How long commits took, in seconds; with standbys, the wait for them included.",
            _STATEMENT_S,
        )
        self.write_queue = self._histogram(
            "peermentor_write_queue_seconds",
            "How long writers of a SQLite file waited for their turn, in seconds.",
            _STATEMENT_S,
        )
        self.file_bytes = self._gauge(
            "peermentor_database_file_bytes",
            "Size of the SQLite file, and of the log beside it (wal), in bytes.",
            "file",
            mode="livemax",
        )
        self.backup = self._gauge(
            "peermentor_backup_timestamp_seconds",
            "When a SQLite file was last backed up, in seconds since 1970; 0 if it never was.",
            mode="livemax",
        )
        self.standbys = self._gauge(
            "peermentor_database_standbys",
            "Standbys that are connected to the PostgreSQL server, as last counted.",
            mode="livemax",
        )
        self.assignments = self._gauge(
            "peermentor_assignments",
            "Assignments of each organisation that are open, and overdue, as last counted.",
            "organization",
            "state",
            mode="livemax",
        )
        self.idempotency_keys = self._gauge(
            "peermentor_idempotency_keys",
            "Keys of creates that are held, as last counted.",
            "grpc_method",
            mode="livemax",
        )
        self.log_lines_dropped = self._counter(
            "peermentor_log_lines_dropped", "Log lines that nobody took."
        )
        self.cpu = self._gauge(
            "peermentor_worker_cpu_seconds",
            "Processor time of each worker, in seconds.",
            mode="liveall",
        )
        self.memory = self._gauge(
            "peermentor_worker_memory_bytes",
            "Memory that each worker has, in bytes.",
            mode="liveall",
        )

    def rpc(self, path: str) -> "Rpc":
        """Return the metrics of a method, such as /package.Service/Method."""
        _, service, method = path.split("/")
        return Rpc(
            self,
            self._started.labels("unary", service, method),
            self._handling.labels("unary", service, method),
            self._handled,
            {"grpc_type": "unary", "grpc_service": service, "grpc_method": method},
        )


class Rpc:
    """What is measured of the calls of one method."""

    def __init__(
        self,
        all_calls: Metrics,
        started: Counter,
        handling: Histogram,
        handled: Counter,
        labels: Mapping[str, str],
    ) -> None:
        self._all, self._started, self._handling = all_calls, started, handling
        self._handled, self._labels = handled, labels
        self._by_code: dict[str, Counter] = {}

    def begin(self) -> float:
        """Count a call that begins; return the time."""
        self._started.inc()
        self._all.running += 1
        return time.perf_counter()

    def end(self, began: float, code: str) -> None:
        """Count the end of a call, by its status code such as NOT_FOUND."""
        self._all.running -= 1
        self._handling.observe(time.perf_counter() - began)
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._handled.labels(
                **self._labels, grpc_code=_name_of(code)
            )
        counter.inc()


def _name_of(code: str) -> str:
    """Return what go-grpc-prometheus calls a status code."""
    if code == "OK":
        return code
    return "Canceled" if code == "CANCELLED" else code.title().replace("_", "")


# In memory, whatever the environment says: it is that of `serve` too, and of who started it.
values.ValueClass = values.MutexValue
current = Metrics()
"""Those of this process, if it serves."""


def keep_in(directory: Path, name: str) -> None:
    """Keep all metrics that are made from now on in files, by a name that no other process has.

    They go on from where the files are.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)  # noqa: TID251 - the library reads it
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: name)  # type: ignore[no-untyped-call]
