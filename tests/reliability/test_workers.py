"""Workers that are replaced or killed while callers are at work: nothing fails, nothing is lost."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil

from peermentor_server.storage.engine.database import Database
from support.databases import Postgres, migrated, url_of
from support.load import Load, under_load
from support.serving import Running, served
from support.torture import LONG, either, measured
from support.waiting import wait_until

WORKERS = 3


def loaded(running: Running, *, keyed: bool = True) -> AbstractContextManager[Load]:
    return under_load(running.rest, running.grpc, keyed=keyed)


def compare(load: Load, database: Database) -> None:
    with database.read() as connection:
        load.assert_nothing_lost_or_doubled(connection)


def replace_all(running: Running, rounds: int) -> None:
    for _ in range(rounds):
        before = len(running.lines("workers replaced"))
        running.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(running.lines("workers replaced")) > before, 120, every=0.2)  # noqa: B023


@contextmanager
def both_cores_burning() -> Iterator[None]:
    burners = [psutil.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2)]
    try:
        yield
    finally:
        for each in burners:
            each.kill()
            each.wait()


def test_workers_are_replaced_without_a_failed_call(own: Database, tmp_path: Path) -> None:
    with served(url_of(own), tmp_path, int(either(2, WORKERS))) as running:
        with loaded(running, keyed=False) as load:
            replace_all(running, int(either(1, 10)))
            if LONG:
                with both_cores_burning():
                    replace_all(running, 3)
        assert load.failures == []
        assert load.calls > 50
        compare(load, own)
        assert running.lines("died") == []
    measured(load.summary)


def kill_workers(running: Running, seconds: float, pause: float, spared: int = 1) -> int:
    """Kill workers at random moments, while more than those that are spared serve.

    Returns how many were killed.
    """
    killed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(pause * random.uniform(0.5, 1.5))
        if running.serving_workers() > spared:
            random.choice(running.named("worker")).kill()
            killed += 1
    return killed


def test_killed_workers_fail_no_call_that_is_safe_to_repeat(own: Database, tmp_path: Path) -> None:
    with served(url_of(own), tmp_path, WORKERS) as running:
        with loaded(running) as load:
            killed = kill_workers(running, either(4, 300), pause=either(1.2, 2))
        assert load.failures == []
        assert killed >= 2
        assert load.calls > 50
        compare(load, own)
    measured(f"{killed} workers killed, {load.summary}")


def test_the_load_sees_calls_that_fail(own: Database, tmp_path: Path) -> None:
    """Creates that carry no id are not safe to repeat: some are lost with their workers."""
    with served(url_of(own), tmp_path, workers=1) as running:
        with loaded(running, keyed=False) as load:
            deadline = time.monotonic() + 60
            while not load.failures and time.monotonic() < deadline:
                kill_workers(running, 0.1, pause=0.5, spared=0)
        assert load.failures
        compare(load, own)


def test_a_worker_that_hangs_fails_no_call_that_is_safe_to_repeat(
    postgres: Postgres, tmp_path: Path
) -> None:
    # Not on SQLite, where one that hangs in a transaction keeps all writers out.
    with (
        migrated(postgres.new_migrated_database()) as database,
        served(url_of(database), tmp_path, workers=2) as running,
    ):
        with loaded(running) as load:
            time.sleep(1)
            frozen = running.named("worker")[0]
            frozen.suspend()
            time.sleep(7)
            frozen.resume()
            wait_until(lambda: running.lines("answers again") != [], 20)
        assert load.failures == []
        assert [line["pid"] for line in running.lines("does not answer")] == [frozen.pid]
        assert load.calls > 50
        compare(load, database)
    measured(load.summary)
