"""The times of server/peermentor_server/timing.py stand on each other, and on the gateway's."""

import re
from pathlib import Path
from typing import Any

import yaml

from peermentor_server.rpc.app import OPTIONS, THREADS
from peermentor_server.rpc.lanes import MAX_CALLS
from peermentor_server.rpc.retries import LONGEST_PAUSE_S
from peermentor_server.rpc.stalls import TICK_S
from peermentor_server.rpc.streams import MAX_STREAMS
from peermentor_server.storage.engine.database import POOL_SIZE
from peermentor_server.timing import USUAL

ROOT = Path(__file__).parents[1]
ENVOY = yaml.safe_load((ROOT / "envoy.yaml").read_text())
CLUSTERS = {each["name"]: each for each in ENVOY["static_resources"]["clusters"]}


def seconds(text: str) -> float:
    """Read a duration of Envoy's."""
    return float(text.removesuffix("s"))


def found(name: str, within: Any) -> Any:
    """Return what first bears this name in the configuration."""
    if isinstance(within, dict):
        if name in within:
            return within[name]
        within = list(within.values())
    if isinstance(within, list):
        for each in within:
            if (value := found(name, each)) is not None:
                return value
    return None


def attempt_s() -> float:
    """How long the gateway waits for one worker before it asks another one."""
    lua = (ROOT / "gateway/calls.lua").read_text()
    [milliseconds] = re.findall(r'"x-envoy-upstream-rq-per-try-timeout-ms", "(\d+)"', lua)
    return int(milliseconds) / 1000


def rest_s() -> float:
    """How long the gateway waits for the answer to a REST call."""
    routes: Any = found("routes", ENVOY)
    [rest] = [each for each in routes if each.get("name") == "rest"]
    return seconds(rest["route"]["timeout"])


HEALTH_CHECK: dict[str, Any] = CLUSTERS["peermentor"]["health_checks"][0]
CHECK_EVERY_S, CHECK_S = seconds(HEALTH_CHECK["interval"]), seconds(HEALTH_CHECK["timeout"])


# --- A call ---


def test_a_call_has_ended_before_the_gateway_asks_another_worker() -> None:
    # Else both could store something.
    assert USUAL.call_s + USUAL.cancel_s < attempt_s()
    # And the gateway's own limit, which workers are told, leaves a call all of its time.
    assert USUAL.call_s <= attempt_s() - USUAL.way_back_s
    assert USUAL.cancel_s < USUAL.way_back_s


def test_there_is_time_to_ask_a_second_worker() -> None:
    assert 2 * attempt_s() < rest_s()
    # And to tell the caller, before the connection counts as idle.
    assert rest_s() < seconds(found("stream_idle_timeout", ENVOY))


def test_a_stall_is_noticed_before_others_have_its_calls() -> None:
    assert USUAL.stall_s < attempt_s()
    # One look at the clock that comes late is none.
    assert USUAL.stall_s > 4 * TICK_S
    # A call that waits out the doubt has most of its time left.
    assert USUAL.doubt_s < USUAL.call_s / 2


def test_a_call_that_has_waited_for_a_thread_has_time_to_work() -> None:
    assert USUAL.lane_wait_s < USUAL.call_s


def test_a_call_that_is_run_again_has_time_for_it() -> None:
    assert USUAL.call_s > 2 * LONGEST_PAUSE_S


def test_a_call_learns_that_no_connection_is_to_be_had() -> None:
    # Rather than to be cut off, which tells nobody why.
    assert USUAL.pool_s < USUAL.call_s
    assert USUAL.connect_s < USUAL.call_s
    # Libpq knows whole seconds.
    assert USUAL.connect_s == int(USUAL.connect_s)


def test_a_call_s_own_end_comes_before_those_of_locks_and_of_postgresql() -> None:
    # Those end what the service has lost sight of, and work that is no call, such as an import.
    assert USUAL.call_s + USUAL.cancel_s < USUAL.lock_s
    assert USUAL.lock_s < USUAL.statement_s
    assert USUAL.call_s + USUAL.cancel_s < USUAL.idle_in_transaction_s


def test_a_migration_waits_for_another_one_longer_than_a_call_does() -> None:
    assert USUAL.migration_lock_s > 60 * USUAL.lock_s


def test_a_call_outlasts_the_turn_of_a_migration() -> None:
    # With time left for all who have waited with it.
    assert USUAL.migration_turn_s < USUAL.call_s / 2
    assert USUAL.migration_turn_s < USUAL.idle_in_transaction_s / 2


# --- Health ---


def test_a_worker_that_is_not_well_is_left_before_its_calls_are_given_up() -> None:
    assert attempt_s() > CHECK_EVERY_S + CHECK_S


def test_a_database_that_does_not_answer_is_noticed_soon_after_its_first_call() -> None:
    assert USUAL.ping_every_s + USUAL.ping_s < USUAL.call_s


# --- Who may call ---


def test_a_worker_starts_without_the_keys_of_tokens_when_they_are_not_to_be_had() -> None:
    assert USUAL.key_set_s < USUAL.start_s / 2


def test_unknown_keys_are_looked_for_sooner_than_others_but_not_all_the_time() -> None:
    assert USUAL.key_set_s < USUAL.key_set_pause_s < USUAL.key_set_every_s


# --- The end of a worker ---


def test_the_gateway_sees_that_a_worker_leaves() -> None:
    assert USUAL.drain_s > 3 * CHECK_EVERY_S


def test_the_gateway_sees_a_successor_before_the_next_worker_leaves() -> None:
    assert USUAL.settle_s > 2 * CHECK_EVERY_S


def test_calls_that_run_are_finished_when_a_worker_ends() -> None:
    assert USUAL.call_s + USUAL.cancel_s < USUAL.grace_s


def test_a_worker_ends_by_itself_before_it_is_killed() -> None:
    # What hangs all the same is waited for once more, see rpc/worker.
    end = USUAL.drain_s + USUAL.grace_s + USUAL.end_s + USUAL.last_words_s
    assert end < USUAL.stop_s
    # Whoever replaces a worker waits as long for both.
    assert USUAL.stop_s < USUAL.start_s


# --- Parts that are watched over ---


def test_a_worker_is_not_silent_for_a_pulse_that_is_late() -> None:
    assert 3 * USUAL.pulse_every_s < USUAL.silent_s


def test_a_worker_that_hangs_is_killed_long_after_others_took_its_calls() -> None:
    assert attempt_s() < USUAL.silent_s < USUAL.hung_s
    # One that starts has no pulse yet.
    assert USUAL.start_s <= USUAL.hung_s


def test_a_part_that_keeps_dying_waits_longer_and_longer() -> None:
    assert USUAL.first_restart_s < USUAL.last_restart_s
    # A worker that is started again is there while calls still look for one.
    retries: Any = found("retry_policy", ENVOY)
    longest_s = seconds(retries["retry_back_off"]["max_interval"])
    assert USUAL.first_restart_s < retries["num_retries"] * longest_s / 2


# --- Sizes ---


def test_each_thread_has_a_connection_and_so_has_the_health_check() -> None:
    threads = THREADS["postgresql"]
    assert threads.reads + threads.scans + threads.writes + 1 <= POOL_SIZE


def test_workers_refuse_before_the_gateway_does() -> None:
    # A worker says why, and to whom asks for most; the gateway knows no callers.
    [limits] = CLUSTERS["peermentor"]["circuit_breakers"]["thresholds"]
    lanes = 3
    assert lanes * MAX_CALLS < limits["max_requests"]
    [of_streams] = CLUSTERS["streams"]["circuit_breakers"]["thresholds"]
    assert of_streams["max_requests"] > MAX_STREAMS
    # All that the gateway lets through may come by one connection.
    assert limits["max_requests"] <= dict(OPTIONS)["grpc.max_concurrent_streams"]
