"""Workers that are replaced or killed while callers are at work: nothing fails, nothing is lost."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from peermentor_server.storage.database import Database
from support.commands import run
from support.databases import Postgres
from support.load import Load, under_load
from support.ports import free_ports
from support.serving import Running, serving, settings_for
from support.torture import LONG, either, measured
from support.waiting import wait_until

WORKERS = 3


@contextmanager
def served(url: str, directory: Path, workers: int = WORKERS) -> Iterator[tuple[Running, Path]]:
    """Run `serve` on this database; give it and the file of its log."""
    run("migrate", PEERMENTOR_DATABASE_URL=url)
    environment = settings_for(url, free_ports(3)) | {"PEERMENTOR_WORKERS": str(workers)}
    file = directory / "log"
    with file.open("w") as log, serving(environment, log) as running:
        yield running, file


@contextmanager
def loaded(running: Running, *, keyed: bool = True) -> Iterator[Load]:
    environment = running.environment
    rest, grpc = environment["PEERMENTOR_REST_ADDRESS"], environment["PEERMENTOR_GRPC_ADDRESS"]
    with under_load(rest, grpc, keyed=keyed) as load:
        yield load


def compare(load: Load, url: str) -> None:
    database = Database(url)
    load.assert_nothing_lost_or_doubled(database)
    database.close()


def replace_all(running: Running, log: Path, rounds: int) -> None:
    before = log.read_text().count('"workers replaced"')
    for done in range(before, before + rounds):
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.read_text().count('"workers replaced"') > done, 120)  # noqa: B023


@contextmanager
def both_cores_burning() -> Iterator[None]:
    burners = [psutil.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2)]
    try:
        yield
    finally:
        for each in burners:
            each.kill()
            each.wait()


def test_workers_are_replaced_without_a_failed_call(empty_url: str, tmp_path: Path) -> None:
    with served(empty_url, tmp_path) as (running, log):
        with loaded(running, keyed=False) as load:
            replace_all(running, log, int(either(1, 10)))
            if LONG:
                with both_cores_burning():
                    replace_all(running, log, 3)
        assert load.failures == []
        assert load.calls > 50
        compare(load, empty_url)
        assert '"died"' not in log.read_text()
    measured(load.summary)


def kill_workers(running: Running, seconds: float, pause: float) -> int:
    """Kill one worker after the other, at random moments; return how many."""
    killed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(pause * random.uniform(0.5, 1.5))
        random.choice(running.named("worker")).kill()
        killed += 1
    return killed


def test_killed_workers_fail_no_call_that_is_safe_to_repeat(empty_url: str, tmp_path: Path) -> None:
    with served(empty_url, tmp_path) as (running, _):
        with loaded(running) as load:
            killed = kill_workers(running, either(12, 300), pause=3)
        assert load.failures == []
        assert killed >= 2
        assert load.calls > 50
        compare(load, empty_url)
    measured(f"{killed} workers killed, {load.summary}")


def test_the_load_sees_calls_that_fail(empty_url: str, tmp_path: Path) -> None:
    """Creates that carry no id are not safe to repeat: some are lost with their workers."""
    with served(empty_url, tmp_path, workers=1) as (running, _):
        with loaded(running, keyed=False) as load:
            deadline = time.monotonic() + 60
            while not load.failures and time.monotonic() < deadline:
                kill_workers(running, 1, pause=2)
        assert load.failures
        compare(load, empty_url)


def test_a_worker_that_hangs_fails_no_call_that_is_safe_to_repeat(
    postgres: Postgres, tmp_path: Path
) -> None:
    # Not on SQLite, where one that hangs in a transaction keeps all writers out.
    url = postgres.new_database()
    with served(url, tmp_path, workers=2) as (running, _):
        with loaded(running) as load:
            time.sleep(1)
            frozen = running.named("worker")[0]
            frozen.suspend()
            time.sleep(6)
            frozen.resume()
        assert load.failures == []
        assert load.calls > 50
        compare(load, url)
    measured(load.summary)
