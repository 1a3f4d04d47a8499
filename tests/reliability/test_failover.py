"""PostgreSQL fails over under load: nothing that was acknowledged is lost, nobody is told off.

Each case first runs its callers against the service in front of a primary and a synchronous
standby, then brings the fault, and afterwards looks for every acknowledged write on the
server that is left. That the harness can see a loss is shown where a loss is sure.
"""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from peermentor_server.rules.errors import DatabaseUnavailable
from peermentor_server.storage import assignments
from peermentor_server.storage.bounded import BoundedConnection
from peermentor_server.storage.database import Database
from support import workload
from support.replication import Node, Pair, Template, running_pair, running_single, template
from support.stack import Stack, running_stack
from support.torture import either
from support.waiting import wait_until
from support.workload import Load

BEFORE_S = either(0.8, 5)
AFTER_S = either(1.2, 8)
ROUNDS = int(either(1, 10))
# What a test asserts of times; loaded machines are slow, the promise itself is measured.
PATIENCE_S = 8

Record = Callable[[str, object], None]


@pytest.fixture(params=range(ROUNDS), ids=str, autouse=True)
def round_number(request: pytest.FixtureRequest) -> int:
    """Which time it is that a test runs."""
    return int(request.param)


@pytest.fixture(scope="module")
def servers() -> Iterator[Template]:
    """What the servers of this module are copied from."""
    with template() as prepared:
        yield prepared


@pytest.fixture
def pair(servers: Template) -> Iterator[Pair]:
    """A primary and its synchronous standby."""
    with running_pair(servers) as started:
        yield started


@pytest.fixture
def stack(pair: Pair, tmp_path: Path) -> Iterator[Stack]:
    """The service on both of them."""
    with running_stack(pair.url, tmp_path) as started:
        yield started


def _report(record: Record, work: Load, stack: Stack, since: float, **more: float) -> None:
    figures = {
        "acknowledged": work.acknowledged,
        "errors": len(work.errors),
        "writing again after s": round(work.first_after(since), 2),
        "longest gap s": round(work.longest_gap(), 2),
        "slowest call s": round(work.slowest, 2),
        "longest hold s": round(stack.longest_hold(), 2),
        "healthy after s": round(stack.healthy_after(since), 2),
        **{name: round(value, 2) for name, value in more.items()},
    }
    print(figures)  # noqa: T201 - measured, not asserted
    for name, value in figures.items():
        record(name, value)


def _assert_kept(work: Load, left: Node) -> None:
    assert workload.lost(work.journals, left.execute) == []
    assert workload.doubled(left.execute) == []


def _assert_unharmed(work: Load, stack: Stack, left: Node, since: float) -> None:
    assert work.errors == []
    _assert_kept(work, left)
    assert work.first_after(since) < PATIENCE_S
    assert stack.longest_hold() < PATIENCE_S


# --- The harness sees losses ---


def test_a_standby_that_is_not_waited_for_loses_writes(
    pair: Pair, stack: Stack, record_property: Record
) -> None:
    pair.be_asynchronous()
    with workload.load(stack.rest) as work:
        time.sleep(0.5)
        pair.cut_off()
        time.sleep(0.5)
        pair.primary.kill()
        promoted = pair.standby.promote()
        time.sleep(0.5)
    found = workload.lost(work.journals, pair.standby.execute)
    _report(record_property, work, stack, promoted, lost=len(found))
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
                assignments.name_mentee(connection, mentee, "")
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
    lost, refused = _store_while_commits_are_cancelled(pair)
    assert lost == []
    assert [error.unknown_outcome for error in refused] == [True] * 4
    assert all("UnconfirmedCommit 40003" in str(error.__cause__) for error in refused)


# --- The service loses none ---


def test_a_primary_that_is_killed(pair: Pair, stack: Stack, record_property: Record) -> None:
    with workload.load(stack.rest) as work:
        time.sleep(BEFORE_S)
        killed = time.monotonic()
        pair.primary.kill()
        time.sleep(1)
        promoted = pair.standby.promote()
        time.sleep(AFTER_S)
    _report(record_property, work, stack, promoted, detected=promoted - killed)
    _assert_unharmed(work, stack, pair.standby, promoted)
    assert stack.was_unhealthy(killed)
    assert stack.healthy_after(promoted) < PATIENCE_S


def test_a_primary_that_is_killed_after_commits_were_cancelled(
    pair: Pair, stack: Stack, record_property: Record
) -> None:
    with workload.load(stack.rest) as work:
        time.sleep(BEFORE_S)
        pair.cut_off()
        cancelled = _cancel_for(pair, 0.5)
        pair.primary.kill()
        promoted = pair.standby.promote()
        time.sleep(AFTER_S)
    _report(record_property, work, stack, promoted, cancelled=cancelled)
    assert cancelled > 0
    _assert_unharmed(work, stack, pair.standby, promoted)


def _cancel_for(pair: Pair, seconds: float) -> int:
    ends = time.monotonic() + seconds
    cancelled = 0
    while time.monotonic() < ends:
        cancelled += pair.cancel_waiting_commits()
    return cancelled


def test_a_standby_that_is_dead_lets_calls_end_and_acknowledges_none(
    pair: Pair, stack: Stack, record_property: Record
) -> None:
    with workload.load(stack.rest) as work:
        time.sleep(BEFORE_S)
        pair.standby.kill()
        time.sleep(0.5)
        dead = time.monotonic()
        time.sleep(4.5)
        back = time.monotonic()
        unconfirmed = [when for when in work.acknowledged_at if dead < when < back]
        pair.standby.start()
        started = time.monotonic()
        time.sleep(AFTER_S)
    _report(record_property, work, stack, started, unconfirmed=len(unconfirmed))
    assert unconfirmed == []
    assert stack.was_unhealthy(dead)
    wait_until(stack.is_healthy, PATIENCE_S)
    assert {status for _, status, _ in work.errors} <= {503}
    assert stack.longest_hold() < PATIENCE_S
    assert work.first_after(started) < PATIENCE_S
    _assert_kept(work, pair.primary)
    wait_until(pair.is_caught_up, 10)
    _assert_kept(work, pair.standby)


def test_a_primary_that_hangs_and_is_fenced(
    pair: Pair, stack: Stack, record_property: Record
) -> None:
    with workload.load(stack.rest) as work:
        time.sleep(BEFORE_S)
        hung = time.monotonic()
        pair.primary.freeze()
        # Less than the 3.5 seconds for which the server runs a call again.
        time.sleep(2)
        pair.primary.kill()
        promoted = pair.standby.promote()
        time.sleep(AFTER_S)
    _report(record_property, work, stack, promoted, hung=promoted - hung)
    _assert_unharmed(work, stack, pair.standby, promoted)
    assert stack.was_unhealthy(hung)


def test_a_planned_switchover(pair: Pair, stack: Stack, record_property: Record) -> None:
    with workload.load(stack.rest) as work:
        time.sleep(BEFORE_S)
        began = time.monotonic()
        promoted = _switch_over(pair)
        time.sleep(AFTER_S)
        # The old one is still there, and read-only.
        assert pair.primary.execute("SHOW transaction_read_only") == [("on",)]
    _report(record_property, work, stack, promoted, switching=promoted - began)
    _assert_unharmed(work, stack, pair.standby, promoted)


def _switch_over(pair: Pair) -> float:
    pair.primary.configure(default_transaction_read_only="on")
    # What began before may still write: it is broken off, and then nothing more comes.
    pair.primary.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name = 'peermentor'"
    )
    wait_until(pair.is_caught_up, 20)
    return pair.standby.promote()


def test_a_restart_of_the_only_server(
    servers: Template, tmp_path: Path, record_property: Record
) -> None:
    with running_single(servers) as server:
        url = f"postgresql://postgres@{server.address}/peermentor"
        with running_stack(url, tmp_path) as stack:
            with workload.load(stack.rest) as work:
                time.sleep(BEFORE_S)
                began = time.monotonic()
                server.stop()
                server.start()
                back = time.monotonic()
                time.sleep(AFTER_S)
            _report(record_property, work, stack, back, away=back - began)
            _assert_unharmed(work, stack, server, back)
