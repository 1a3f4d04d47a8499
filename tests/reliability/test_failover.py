"""PostgreSQL fails over under load: nothing that was acknowledged is lost, nobody is told off.

Each case first runs its callers against the service in front of a primary and a synchronous
standby, then brings the fault, and afterwards looks for every acknowledged write on the
server that is left. That the harness can see a loss is shown where a loss is sure.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from peermentor_server.rules.errors import DatabaseUnavailable
from peermentor_server.storage import assignments, counts
from peermentor_server.storage.engine.bounded_connection import BoundedConnection
from peermentor_server.storage.engine.database import Database
from support.health_watch import HealthWatch, watching
from support.load import Load, under_load
from support.moves import Moves
from support.replication import Node, Pair, Template, running_pair, running_single
from support.serving import Running, served
from support.torture import either, measured
from support.waiting import wait_until

WORKERS = 2
BEFORE_S = either(0.8, 2)
AFTER_S = either(1.2, 4)
ROUNDS = int(either(1, 10))
# What a test asserts of times; loaded machines are slow, the promise itself is measured.
PATIENCE_S = 8


@dataclass
class Service:
    """The running service, and what its workers say of their health."""

    running: Running
    health: HealthWatch

    def under_load(self) -> AbstractContextManager[Load]:
        """Let callers of the REST routes work until the end of the block."""
        return under_load(self.running.rest, self.running.grpc, rest_callers=6, grpc_callers=0)

    def report(self, load: Load, since: float, **more: float) -> None:
        """Say what was measured; times are counted from this moment."""
        figures = {
            "writing again after": load.first_after(since),
            "longest gap": load.longest_gap(),
            "longest hold": self.running.longest_hold(),
            "healthy after": self.health.healthy_after(since),
            **more,
        }
        seconds = ", ".join(f"{name} {value:.2f} s" for name, value in figures.items())
        measured(f"{load.summary}; {seconds}")

    def assert_unharmed(self, load: Load, left: Node, since: float) -> None:
        """Check that no caller and no write came to harm, and that no worker was replaced."""
        assert load.failures == []
        assert_kept(load, left)
        assert load.first_after(since) < PATIENCE_S
        self.assert_ran_on()

    def assert_ran_on(self) -> None:
        """Check that no call held its thread for long, and that no worker was replaced."""
        assert self.running.longest_hold() < PATIENCE_S
        assert self.running.lines("died") == []


def assert_kept(load: Load, left: Node) -> None:
    """Compare what was acknowledged with what the server that is left has stored."""
    with left.read() as connection:
        load.assert_nothing_lost_or_doubled(connection)


@pytest.fixture(params=range(ROUNDS), ids=str, autouse=True)
def round_number(request: pytest.FixtureRequest) -> int:
    """Which time it is that a test runs."""
    return int(request.param)


@pytest.fixture
def pair(servers: Template) -> Iterator[Pair]:
    """A primary and its synchronous standby."""
    with running_pair(servers) as started:
        yield started


@pytest.fixture
def service(pair: Pair, tmp_path: Path) -> Iterator[Service]:
    """The service on both of them."""
    with (
        served(pair.url, tmp_path, WORKERS) as running,
        watching(running.worker_addresses()) as health,
    ):
        yield Service(running, health)


# --- The harness sees losses ---


def test_a_standby_that_is_not_waited_for_loses_writes(pair: Pair, service: Service) -> None:
    pair.be_asynchronous()
    with service.under_load() as load:
        time.sleep(0.5)
        pair.cut_off()
        time.sleep(0.5)
        pair.primary.kill()
        pair.standby.promote()
        time.sleep(0.5)
    with pair.standby.read() as connection:
        found = load.lost(connection)
    measured(f"{len(found)} lost of {load.summary}")
    assert found != []


def _store_while_commits_are_cancelled(pair: Pair) -> tuple[list[str], list[DatabaseUnavailable]]:
    """Write while the standby is cut off, cancel the waits, and fail over to the standby.

    Returns what was acknowledged and is lost, and what was refused.
    """
    database = Database(pair.url)
    database.ping()
    stored: list[str] = []
    refused: list[DatabaseUnavailable] = []

    def write(mentee: str) -> None:
        try:
            with database.write() as connection:
                assignments.name_mentee(connection, "org_03", mentee, "")
        except DatabaseUnavailable as error:
            refused.append(error)
        else:
            stored.append(mentee)

    pair.cut_off()
    threads = [threading.Thread(target=write, args=[f"user_{number}"]) for number in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(pair.waiting_commits()) == 4, 20)
    pair.cancel_waiting_commits()
    for thread in threads:
        thread.join(20)
    pair.primary.kill()
    pair.standby.promote()
    database.close()
    kept = {mentee for (mentee,) in pair.standby.execute("SELECT mentee_id FROM mentees")}
    return [mentee for mentee in stored if mentee not in kept], refused


def test_commits_whose_wait_was_cancelled_are_lost_if_the_warning_is_not_heeded(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "commit", psycopg.Connection.commit)
    lost, refused = _store_while_commits_are_cancelled(pair)
    assert len(lost) > 0
    assert refused == []


def test_a_commit_whose_wait_was_cancelled_is_not_acknowledged(pair: Pair) -> None:
    moves = Moves()
    lost, refused = _store_while_commits_are_cancelled(pair)
    assert lost == []
    # The wait for the standby is measured.
    assert moves.of("peermentor_database_commit_seconds_count") == 4
    assert [error.unknown_outcome for error in refused] == [True] * 4
    assert all("UnconfirmedCommit 40003" in str(error.__cause__) for error in refused)


# --- The service loses none ---


def test_a_primary_that_is_killed(pair: Pair, service: Service) -> None:
    with service.under_load() as load:
        time.sleep(BEFORE_S)
        killed = time.monotonic()
        pair.primary.kill()
        time.sleep(1)
        promoted = pair.standby.promote()
        time.sleep(AFTER_S)
    service.report(load, promoted, detected=promoted - killed)
    service.assert_unharmed(load, pair.standby, promoted)
    assert service.health.was_unhealthy(killed)
    assert service.health.healthy_after(promoted) < PATIENCE_S


def test_a_primary_that_is_killed_after_commits_were_cancelled(
    pair: Pair, service: Service
) -> None:
    with service.under_load() as load:
        time.sleep(BEFORE_S)
        pair.cut_off()
        cancelled = _cancel_for(pair, 0.5)
        pair.primary.kill()
        promoted = pair.standby.promote()
        time.sleep(AFTER_S)
    service.report(load, promoted)
    measured(f"{cancelled} waits cancelled")
    assert cancelled > 0
    service.assert_unharmed(load, pair.standby, promoted)


def _cancel_for(pair: Pair, seconds: float) -> int:
    ends = time.monotonic() + seconds
    cancelled = 0
    while time.monotonic() < ends:
        cancelled += pair.cancel_waiting_commits()
    return cancelled


def test_a_standby_that_is_dead_lets_calls_end_and_acknowledges_none(
    pair: Pair, service: Service
) -> None:
    with service.under_load() as load:
        time.sleep(BEFORE_S)
        assert _standbys(pair) == 1
        pair.standby.kill()
        time.sleep(0.5)
        dead = time.monotonic()
        wait_until(lambda: _standbys(pair) == 0, 2)
        time.sleep(4.5)
        back = time.monotonic()
        unconfirmed = [when for when in load.acknowledged_at if dead < when < back]
        pair.standby.start()
        started = time.monotonic()
        time.sleep(AFTER_S)
    service.report(load, started)
    assert unconfirmed == []
    assert service.health.was_unhealthy(dead)
    wait_until(service.health.is_healthy, PATIENCE_S)
    assert {failure.status for failure in load.failures} <= {503}
    assert load.first_after(started) < PATIENCE_S
    service.assert_ran_on()
    assert_kept(load, pair.primary)
    wait_until(pair.is_caught_up, 10)
    assert_kept(load, pair.standby)


def _standbys(pair: Pair) -> int:
    with pair.primary.read() as connection:
        return counts.standbys(connection)


def test_a_primary_that_hangs_and_is_fenced(pair: Pair, service: Service) -> None:
    with service.under_load() as load:
        time.sleep(BEFORE_S)
        hung = time.monotonic()
        pair.primary.freeze()
        # Less than the 3.5 seconds for which the server runs a call again.
        time.sleep(2)
        pair.primary.kill()
        promoted = pair.standby.promote()
        time.sleep(AFTER_S)
    service.report(load, promoted, hung=promoted - hung)
    service.assert_unharmed(load, pair.standby, promoted)
    assert service.health.was_unhealthy(hung)


def test_a_planned_switchover(pair: Pair, service: Service) -> None:
    with service.under_load() as load:
        time.sleep(BEFORE_S)
        began = time.monotonic()
        promoted = _switch_over(pair)
        time.sleep(AFTER_S)
        # The old one is still there, and read-only.
        assert pair.primary.execute("SHOW transaction_read_only") == [("on",)]
    service.report(load, promoted, switching=promoted - began)
    service.assert_unharmed(load, pair.standby, promoted)


def _switch_over(pair: Pair) -> float:
    pair.primary.configure(default_transaction_read_only="on")
    # What began before may still write: it is broken off, and then nothing more comes.
    pair.primary.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name = 'peermentor'"
    )
    wait_until(pair.is_caught_up, 20)
    return pair.standby.promote()


def test_a_restart_of_the_only_server(servers: Template, tmp_path: Path) -> None:
    with (
        running_single(servers) as server,
        served(server.url, tmp_path, WORKERS) as running,
        watching(running.worker_addresses()) as health,
    ):
        service = Service(running, health)
        with service.under_load() as load:
            time.sleep(BEFORE_S)
            began = time.monotonic()
            server.stop()
            server.start()
            back = time.monotonic()
            time.sleep(AFTER_S)
        service.report(load, back, away=back - began)
        service.assert_unharmed(load, server, back)
