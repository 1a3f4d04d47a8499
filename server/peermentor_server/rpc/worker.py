"""A process that serves: it starts, says that it is well, drains and ends."""

import contextlib
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import structlog

from peermentor import __version__
from peermentor_server import process
from peermentor_server.failures import CommandFailed
from peermentor_server.file_identity import FileIdentity
from peermentor_server.rpc import sockets
from peermentor_server.rpc.app import App, PortTaken
from peermentor_server.settings import Settings
from peermentor_server.storage import access_keys, opening
from peermentor_server.storage.engine.database import Database
from peermentor_server.telemetry import metrics, metrics_page
from peermentor_server.timing import USUAL, Timing
from peermentor_server.trace_export import TraceExport

_log = structlog.get_logger("peermentor_server")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve_grpc(
    configured: Settings,
    *,
    socket: Path | None = None,
    pulse_fd: int | None = None,
    file_identity: FileIdentity | None = None,
    counts_for_all: bool = True,
    timing: Timing = USUAL,
    traces: TraceExport | None = None,
) -> None:
    """Run the gRPC server until SIGTERM, before which it drains, or SIGINT.

    As a worker it is given the `socket` where the gateway finds it, and may take the place of
    another one there; `pulse_fd`, where it tells every second that it serves; and, where that one
    used a file of SQLite's, its `file_identity`: it uses no other. One worker `counts_for_all`.
    """
    if socket is None and configured.tls_client_ca is not None:
        raise CommandFailed("PEERMENTOR_TLS_CLIENT_CA: only the gateway looks at certificates")
    database = opening.open_database(configured, timing, file_identity)
    opening.require_schema(database)
    # Blocked in this thread and all that it starts, the signals wait for sigwait below:
    # a handler could run in a thread of gRPC's, and leave this one asleep.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    app = App(
        configured,
        database,
        socket=socket and sockets.own(socket),
        counts_for_all=counts_for_all,
        timing=timing,
        traces=traces,
    )
    try:
        app.start()
    except PortTaken as taken:
        raise CommandFailed(f"PEERMENTOR_GRPC_ADDRESS: {taken}") from None
    if socket is not None:
        sockets.take_over(socket)
    elif (address := configured.metrics_address) is not None:
        metrics_page.start(address, metrics.current.registry)
    python = ".".join(map(str, sys.version_info[:3]))
    metrics.current.build_info.labels(__version__, python).set(1)
    _log.info(
        "serving",
        version=__version__,
        address=app.address,
        database=database.location,
        access=configured.access,
    )
    if configured.access != "required" and opening.use(database, lambda: _has_keys(database)):
        _log.warning("there are keys, and PEERMENTOR_ACCESS does not ask for them")
    if pulse_fd is not None:
        beat = partial(_beat, pulse_fd, timing.pulse_every_s)
        threading.Thread(target=beat, name="pulse", daemon=True).start()
    process.keep_all()
    if signal.sigwait(STOP_SIGNALS) == signal.SIGTERM:
        _log.info("draining")
        app.drain()
        time.sleep(timing.drain_s)
    _log.info("stopping")
    app.stop(timing.grace_s)
    database.close()
    _end_hanging_threads(timing.last_words_s)


def _has_keys(database: Database) -> bool:
    with database.read() as connection:
        return any(key.revoked_at is None for key in access_keys.all_keys(connection))


def _beat(pulse_fd: int, every_s: float) -> None:
    # Nobody reads while the parent itself is held up, or has been killed: what does not fit is
    # not missed.
    os.set_blocking(pulse_fd, False)
    while True:
        with contextlib.suppress(OSError):
            os.write(pulse_fd, b".")
        time.sleep(every_s)


def _end_hanging_threads(patience_s: float) -> None:
    """Leave even while a call hangs in a database that does not answer.

    Python itself would wait for the call's thread for as long as it takes.
    """
    main = threading.main_thread()
    others = [each for each in threading.enumerate() if each is not main and not each.daemon]
    deadline = time.monotonic() + patience_s
    for thread in others:
        thread.join(max(0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        _log.warning("leaving calls unfinished")
        os._exit(0)
