"""Servers of a test's own, in its process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from peermentor_server.rpc.app import App
from peermentor_server.rules.clock import Clock, system_clock
from peermentor_server.settings import Address, Settings
from peermentor_server.storage.engine.database import Database
from peermentor_server.timing import Timing
from peermentor_server.trace_export import TraceExport

# Tests are refused as often as they like.
PATIENT = Timing(attempts_s=0)


@contextmanager
def running_app(
    database: Database,
    clock: Clock = system_clock,
    timing: Timing = PATIENT,
    traces: TraceExport | None = None,
    **settings: Any,
) -> Iterator[App]:
    """Serve a database on a free port, until the end of the block."""
    configured = Settings(grpc_address=Address("127.0.0.1", 0), **settings)
    others = set(threading.enumerate())
    app = App(configured, database, clock, timing=timing, traces=traces)
    app.start()
    try:
        yield app
    finally:
        app.stop()
        _wait_for_spans(others)


def _wait_for_spans(others: set[threading.Thread]) -> None:
    """Let no thread that still tries to send spans outlive its server.

    It draws random numbers, for which Hypothesis would blame another test.
    """
    for thread in set(threading.enumerate()) - others:
        if thread.name.startswith("OtelBatch"):
            thread.join(60)


@contextmanager
def own_server(
    database: Database, clock: Clock = system_clock, timing: Timing = PATIENT, **settings: Any
) -> Iterator[grpc.Channel]:
    """Serve a database, and give a channel to that server."""
    with (
        running_app(database, clock, timing, **settings) as app,
        grpc.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        yield channel
